// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/explain.h"

#include <algorithm>
#include <cmath>

#include "apps/options.h"
#include "kernels/random/random.h"
#include "kernels/views/views.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::deepis;

namespace {

Model small_model(Head head, std::int64_t outputs) {
  Model model;
  model.card.net = {.out_channels = outputs,
                    .features = {4, 6, 8, 8, 8},
                    .trans = 5,
                    .blocks = {1, 1, 1, 1},
                    .gcn_kernels = {3, 3, 3, 3},
                    .auxiliary = 0,
                    .seed = 7};
  model.card.head = head;
  if (outputs > 1) model.card.classes = {"background", "a", "b"};
  model.net = std::make_unique<GcnUnet>(model.card.net);
  model.net->eval();
  return model;
}

const Shape size = {12, 16, 18};
Tensor volume() { return uniform({1, 1, 12, 16, 18}, {4, 2, 3}, 0, 1); }

Tensor mask_where(const Tensor& values, bool (*inside)(double)) {
  Tensor mask = empty(size, {.dtype = DType::u8});
  const auto v = values.to_vector();
  for (std::size_t i = 0; i < v.size(); ++i) mask.mutable_data<std::uint8_t>()[i] = inside(v[i]);
  return mask;
}

std::vector<double> min_max(std::vector<double> v) {
  const auto [a, b] = std::minmax_element(v.begin(), v.end());
  const double low = *a, range = *b - *a;
  for (double& x : v) x = range > 0 ? (x - low) / range : 0;
  return v;
}

TEST(DeepisExplain, BeforeTheLastConvolutionTheMapHasAClosedForm) {
  // The output is b + sum_k w_k A_k, so the derivative of its sum over R is w_k there: weights |R| w_k / V, and the map is
  // relu(output - b) up to its scale. Where the answer is negative, its magnitude is what counts: the map is relu(b - output).
  Model model = small_model(Head::signed_distance, 1);
  const Tensor x = volume(), y = outputs_of(model, x);
  const auto out = y.to_vector();
  const double b = model.net->final.bias.to_vector().front();
  // so that both signs occur
  const double middle = (*std::min_element(out.begin(), out.end()) + *std::max_element(out.begin(), out.end())) / 2;
  fill(model.net->final.bias.detach(), b - middle);
  const Tensor shifted = outputs_of(model, x);
  for (const bool positive : {true, false}) {
    const Tensor region =
        positive ? mask_where(shifted, [](double v) { return v > 0; }) : mask_where(shifted, [](double v) { return v < 0; });
    const SegCam cam = explain_region(model, x, region, {.layer = "ConBR1"});
    EXPECT_EQ(cam.coarse, size);
    std::vector<double> expected;
    for (const double v : shifted.to_vector()) expected.push_back(std::max(0.0, positive ? v - (b - middle) : (b - middle) - v));
    expected = min_max(expected);
    const auto got = cam.map.to_vector();
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-4) << positive << " " << i;
  }
}

TEST(DeepisExplain, OfClassesThePredictedOnesLogitIsDerived) {
  Model model = small_model(Head::classes, 3);
  const Tensor x = volume();
  const auto y = outputs_of(model, x).to_vector();
  const auto n = static_cast<std::size_t>(size.count());
  Tensor region = empty(size, {.dtype = DType::u8});
  std::vector<std::size_t> best(n, 0);
  std::array<double, 3> votes{};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 1; c < 3; ++c)
      if (y[c * n + i] > y[best[i] * n + i]) best[i] = c;
    const bool in = i % 3 != 0;
    region.mutable_data<std::uint8_t>()[i] = in;
    if (in) votes[best[i]] += 1;
  }
  const SegCam cam = explain_region(model, x, region, {.layer = "ConBR1"});
  std::vector<double> expected(n, 0);
  const auto b = model.net->final.bias.to_vector();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < 3; ++c) expected[i] += votes[c] * (y[c * n + i] - b[c]);
    expected[i] = std::max(0.0, expected[i]);
  }
  expected = min_max(expected);
  const auto got = cam.map.to_vector();
  for (std::size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], expected[i], 1e-3) << i;
}

TEST(DeepisExplain, EveryLayerAndMethod) {
  Model model = small_model(Head::signed_distance, 1);
  const Tensor x = volume(), region = full(size, 1, {.dtype = DType::u8});
  for (const std::string& layer : GcnUnet::activation_names())
    for (const MapKind kind : {MapKind::gradcam, MapKind::gradcam_pp, MapKind::activation}) {
      const SegCam cam = explain_region(model, x, region, {.kind = kind, .layer = layer});
      ASSERT_EQ(cam.map.shape(), size) << layer;
      const auto v = cam.map.to_vector();
      const auto [low, high] = std::minmax_element(v.begin(), v.end());
      EXPECT_EQ(*low, 0) << layer;
      EXPECT_TRUE(*high == 1 || *high == 0) << layer;
      EXPECT_TRUE(kind != MapKind::activation || *high == 1) << layer;
    }
  EXPECT_THROW(explain_region(model, x, region, {.layer = "conv9"}), Error);
  EXPECT_THROW(explain_region(model, x, zeros({1, 2, 3}, {.dtype = DType::u8}), {}), Error);
}

TEST(DeepisExplain, TargetsAreWhatTheModelHas) {
  ModelCard card;
  card.classes = {"background", "cart19", "k562"};
  Tensor labels = zeros({1, 1, 4}, {.dtype = DType::u8});
  auto* v = labels.mutable_data<std::uint8_t>();
  v[0] = 1, v[1] = 2;
  EXPECT_EQ(region_of(labels, "k562", card, {1, 1, 1}).to_vector(), (std::vector<double>{0, 1, 0, 0}));
  EXPECT_EQ(region_of(labels, "1", card, {1, 1, 1}).to_vector(), (std::vector<double>{1, 0, 0, 0}));
  EXPECT_EQ(region_of(labels, "foreground", card, {1, 1, 1}).to_vector(), (std::vector<double>{1, 1, 0, 0}));
  EXPECT_EQ(region_of(labels, "synapse", card, {1, 1, 1}).to_vector(), (std::vector<double>{1, 1, 0, 0}));
  try {
    region_of(labels, "cart", card, {1, 1, 1});
    FAIL();
  } catch (const app::UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'cart19'"), std::string::npos) << e.what();
  }
  card.head = Head::instances;
  EXPECT_THROW(region_of(labels, "synapse", card, {1, 1, 1}), app::UsageError);
}

}  // namespace
