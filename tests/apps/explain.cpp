// SPDX-License-Identifier: Apache-2.0
#include "apps/explain.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"
#include "kernels/random/random.h"
#include "kernels/resize/resize.h"
#include "kernels/views/views.h"

using namespace cuboid;

namespace {

DenseNet small_net() {
  DenseNetOptions o = csf_densenet(3);
  o.blocks = {1, 2};
  o.growth = 4;
  o.init_features = 6;
  o.seed = 5;
  return DenseNet(o);
}

TEST(Explain, BehindTheLastNormTheMapHasAClosedForm) {
  // logit_c = b_c + sum_k w_ck mean(A_k), so the gradient is w_ck / V and the map relu(sum_k w_ck A_k) up to its scale.
  DenseNet net = small_net();
  net.eval();
  const Tensor x = uniform({1, 1, 16, 16, 16}, {1, 2, 3}, 0, 1);
  for (const std::int64_t target : {0, 1, 2}) {
    const Cam cam = explain(net, x, {.target = target});
    EXPECT_EQ(cam.target, target);
    const Tensor a = net.forward_features(x).detach();
    const auto values = a.to_vector(), w = net.classifier.weight.to_vector();
    const std::int64_t channels = a.dim(1), voxels = a.size() / channels;
    std::vector<float> coarse;
    for (std::int64_t v = 0; v < voxels; ++v) {
      double sum = 0;
      for (std::int64_t k = 0; k < channels; ++k)
        sum += w[static_cast<std::size_t>(target * channels + k)] * values[static_cast<std::size_t>(k * voxels + v)];
      coarse.push_back(static_cast<float>(std::max(0.0, sum)));
    }
    const Tensor fine = resize(from_values(coarse, {1, 1, a.dim(2), a.dim(3), a.dim(4)}), {16, 16, 16}, {.mode = Resize::linear});
    auto expected = fine.to_vector();
    const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
    const double least = *low, range = *high - *low;
    const auto got = cam.map.to_vector();
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], range > 0 ? (expected[i] - least) / range : 0, 2e-4) << target << " " << i;
  }
}

TEST(Explain, EveryLayerAndBothMethods) {
  DenseNet net = small_net();
  const Tensor x = uniform({1, 1, 16, 16, 16}, {4, 2, 3}, 0, 1);
  for (const std::string& layer : net.activation_names())
    for (const CamMethod method : {CamMethod::gradcam, CamMethod::gradcam_pp}) {
      const Cam cam = explain(net, x, {.method = method, .layer = layer});
      EXPECT_EQ(cam.map.shape(), (Shape{16, 16, 16})) << layer;
      for (const double v : cam.map.to_vector()) ASSERT_TRUE(v >= 0 && v <= 1) << layer << " " << v;
      EXPECT_NEAR(cam.probabilities[0] + cam.probabilities[1] + cam.probabilities[2], 1, 1e-12);
    }
  EXPECT_THROW(explain(net, x, {.layer = "norm6"}), Error);
  EXPECT_THROW(explain(net, x, {.target = 3}), Error);
}

TEST(Explain, MassOnTheCell) {
  Tensor map = zeros({2, 2, 2}), mask = zeros({2, 2, 2}, {.dtype = DType::u8});
  EXPECT_TRUE(std::isnan(mass_inside(map, mask)));
  float* m = map.mutable_data<float>();
  m[0] = 3, m[7] = 1;
  mask.mutable_data<std::uint8_t>()[0] = 2;
  EXPECT_DOUBLE_EQ(mass_inside(map, mask), 0.75);
}

TEST(Explain, OtsuFindsTheGapBetweenTwoLevels) {
  Tensor volume = zeros({4, 4, 4});
  Random random({1, 1, 1});
  float* v = volume.mutable_data<float>();
  for (int i = 0; i < 64; ++i) v[i] = static_cast<float>((i < 20 ? 1.37 : 1.337) + 0.002 * random.uniform());
  const auto mask = otsu_mask(volume).to_vector();
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(mask[i], i < 20) << i;
  EXPECT_EQ(otsu_mask(full({2, 2, 2}, 5)).to_vector(), std::vector<double>(8, 0));
}

TEST(Explain, OverlayShowsThePlanesOfTheStrongestVoxel) {
  Tensor volume = full({8, 8, 8}, 0.5), map = zeros({8, 8, 8});
  map.mutable_data<float>()[(2 * 8 + 5) * 8 + 6] = 1;
  const Tensor picture = overlay(volume, map, {.spacing_um = {0.2, 0.1, 0.1}, .height = 64});
  EXPECT_EQ(picture.rank(), 3);
  EXPECT_EQ(picture.dim(2), 3);
  EXPECT_GT(picture.dim(1), picture.dim(0));
  const Tensor flat = overlay(volume, zeros({8, 8, 8}), {.height = 64});  // an empty map is a picture, too
  EXPECT_EQ(flat.dim(2), 3);
  EXPECT_THROW(overlay(volume, zeros({8, 8, 4})), Error);
}

}  // namespace
