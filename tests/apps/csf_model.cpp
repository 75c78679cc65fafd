// SPDX-License-Identifier: Apache-2.0
// What a prediction averages over.
#include "apps/csf/model.h"

#include <gtest/gtest.h>

#include "apps/app.h"
#include "kernels/views/views.h"
#include "tests/files.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::csf;

namespace {

using Probabilities = std::vector<std::vector<double>>;

double distance(const Probabilities& a, const Probabilities& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t c = 0; c < a[i].size(); ++c) largest = std::max(largest, std::abs(a[i][c] - b[i][c]));
  return largest;
}

TEST(Tta, AveragesMakeThePredictionBlindToOrientation) {
  DenseNet net(named_net("tiny", 3));
  const Tensor x = test::random({2, 1, 16, 16, 16}, {.dtype = DType::f32});
  const Tensor mirrored = flip(x, {3}), turned = flip(permute(x, {0, 1, 2, 4, 3}), {3}), upside_down = flip(x, {2});
  const auto moves = [&](const Tensor& y, Tta tta) {
    return distance(predict(net, x, {.tta = tta}), predict(net, y, {.tta = tta}));
  };
  for (const Tensor& y : {mirrored, turned, upside_down}) EXPECT_GT(moves(y, Tta::none), 1e-4);
  EXPECT_LT(moves(mirrored, Tta::flips), 1e-6);
  EXPECT_GT(moves(turned, Tta::flips), 1e-5);
  for (const Tensor& y : {mirrored, turned, upside_down}) EXPECT_LT(moves(y, Tta::turns), 1e-6);
  for (const auto& row : predict(net, x, {.tta = Tta::turns})) EXPECT_NEAR(row[0] + row[1] + row[2], 1, 1e-9);
}

TEST(Tta, IsRememberedByTheModel) {
  const test::TempFolder folder;
  ModelCard card{.net = named_net("tiny", 2), .classes = {"a", "b"}, .tta = Tta::turns};
  DenseNet net(card.net);
  save_model(folder / "m.safetensors", net, card);
  const Model model = load_model(folder / "m.safetensors");
  EXPECT_EQ(model.card.tta, Tta::turns);
  const Tensor x = test::random({1, 1, 16, 16, 16}, {.dtype = DType::f32});
  EXPECT_EQ(predict(model, x), predict(*model.net, x, {.tta = Tta::turns}));
  EXPECT_EQ(predict(model, x, {.tta = Tta::none}), predict(*model.net, x));
  EXPECT_THROW(tta_of("mirror"), app::UsageError);
}

}  // namespace
