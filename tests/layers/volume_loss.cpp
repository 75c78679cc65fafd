// SPDX-License-Identifier: Apache-2.0
#include "layers/volume_loss.h"

#include "kernels/views/views.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

Tensor some_labels(const Shape& shape, std::int64_t classes, std::uint64_t seed = 1) {
  Random r(seed);
  std::vector<std::int64_t> all(static_cast<std::size_t>(shape.count()));
  for (auto& l : all) l = r.integer(0, classes - 1);
  return values(all, shape);
}

/// A target of N=1 whose distance is inside(z) in each plane z.
template <class F>
Tensor planes(std::int64_t depth, F inside) {
  std::vector<double> all;
  for (std::int64_t z = 0; z < depth; ++z)
    for (int i = 0; i < 11 * 11; ++i) all.push_back(inside(z));
  return values(all, {1, 1, depth, 11, 11});
}
/// In the middle of plane z.
double at(const Tensor& w, std::int64_t z) { return w.to_vector()[static_cast<std::size_t>((z * 11 + 5) * 11 + 5)]; }

TEST(EdgeWeights, AlongAWallAndBetweenTwo) {
  const Tensor wall = edge_weights(planes(12, [](std::int64_t z) { return z < 6 ? 0. : 3.; }));
  EXPECT_DOUBLE_EQ(at(wall, 6), 1 + 25 / 8.);
  EXPECT_DOUBLE_EQ(at(wall, 4), 1 + 25 / 8.);
  EXPECT_DOUBLE_EQ(at(wall, 8), 1 + 25 / 8.);
  EXPECT_DOUBLE_EQ(at(wall, 3), 1);
  EXPECT_DOUBLE_EQ(at(wall, 9), 1);
  const Tensor gap = edge_weights(planes(12, [](std::int64_t z) { return z < 5 ? -2. : z < 6 ? 0.05 : 2.; }));
  EXPECT_DOUBLE_EQ(at(gap, 5), 1 + 50 / 8.) << "both walls";
  const Tensor more = edge_weights(planes(12, [](std::int64_t z) { return z < 6 ? 0. : 3.; }), {.weight = 10, .reach = 1});
  EXPECT_DOUBLE_EQ(at(more, 6), 1 + 10 * 9.);
  EXPECT_DOUBLE_EQ(at(more, 8), 1);
}

TEST(EdgeWeights, AgainstPlainLoops) {
  const Shape shape{2, 1, 6, 5, 7};
  const Tensor target = random(shape, {.seed = 3, .lo = -0.2, .hi = 0.2});
  const auto t = target.to_vector();
  const std::int64_t d = 6, h = 5, w = 7;
  std::vector<double> shell(t.size(), 0), expected(t.size(), 1);
  const auto each = [&](std::int64_t reach, auto&& f) {
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t z = 0; z < d; ++z)
        for (std::int64_t y = 0; y < h; ++y)
          for (std::int64_t x = 0; x < w; ++x)
            for (std::int64_t k = std::max<std::int64_t>(0, z - reach); k <= std::min(d - 1, z + reach); ++k)
              for (std::int64_t j = std::max<std::int64_t>(0, y - reach); j <= std::min(h - 1, y + reach); ++j)
                for (std::int64_t i = std::max<std::int64_t>(0, x - reach); i <= std::min(w - 1, x + reach); ++i)
                  f(static_cast<std::size_t>(((n * d + z) * h + y) * w + x),
                    static_cast<std::size_t>(((n * d + k) * h + j) * w + i));
  };
  each(1, [&](std::size_t here, std::size_t there) {
    if (std::abs(t[here]) >= 0.1 && std::abs(t[there]) < 0.1) shell[here] = 1;
  });
  each(2, [&](std::size_t here, std::size_t there) { expected[here] += 3 * shell[there] / 8; });
  EXPECT_TRUE(close(edge_weights(target, {.weight = 3}), values(expected, shape), {.rtol = 1e-12}));
}

TEST(EdgeWeights, LossAndGradient) {
  const Tensor t = random({2, 1, 4, 5, 3}, {.seed = 2, .lo = -1, .hi = 1}), p = random(t.shape(), {.seed = 3});
  const auto w = edge_weights(t).to_vector(), tv = t.to_vector(), pv = p.to_vector();
  double expected = 0;
  for (std::size_t i = 0; i < w.size(); ++i) expected += w[i] * std::abs(pv[i] - tv[i]) / static_cast<double>(w.size());
  EXPECT_NEAR(edge_weighted_l1(p, t).item(), expected, 1e-12);
  gradcheck([&](const Tensors& in) { return edge_weighted_l1(in[0], t); }, {p}, {.second_order = true});
  gradcheck([&](const Tensors& in) { return l1(in[0], t, {}, Reduction::sum); }, {p});
  EXPECT_NE(error_of([&] { l1(p, random({2, 1, 4, 5, 4})); }).find("target"), std::string::npos);
  EXPECT_THROW(edge_weights(random({2, 2, 4, 4, 4})), Error);
}

TEST(DistanceLabels, KeepTheSign) {
  const Tensor t = planes(9, [](std::int64_t z) { return z < 3 ? 2. : z < 6 ? 0.05 : -2.; });
  const Tensor same = distance_labels(t, {9, 11, 11});
  EXPECT_EQ(same.shape(), (Shape{1, 9, 11, 11}));
  EXPECT_EQ(at(same, 0), 1);
  EXPECT_EQ(at(same, 4), 0);
  EXPECT_EQ(at(same, 8), 2);
  // corners aligned: planes 0, 2, 4, 6, 8
  const auto coarse = distance_labels(t, {5, 1, 1}).to_vector();
  EXPECT_EQ(coarse, (std::vector<double>{1, 1, 0, 2, 2}));
}

TEST(VoxelCrossEntropy, IsThatOfTheVoxelsAsSamples) {
  const Tensor x = random({2, 3, 4, 2, 3}, {.lo = -3, .hi = 3}), y = some_labels({2, 4, 2, 3}, 3);
  const auto v = x.to_vector(), l = y.to_vector();
  double expected = 0;
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t i = 0; i < 24; ++i) {
      double total = 0;
      for (std::size_t c = 0; c < 3; ++c) total += std::exp(v[(n * 3 + c) * 24 + i]);
      expected += std::log(total) - v[(n * 3 + static_cast<std::size_t>(l[n * 24 + i])) * 24 + i];
    }
  for (const Lies way : every_way) EXPECT_NEAR(voxel_cross_entropy(laid(x, way), y).item(), expected / 48, 1e-12) << name_of(way);
  gradcheck([&](const Tensors& in) { return voxel_cross_entropy(in[0], y); }, {x}, {.second_order = true});
  EXPECT_NE(error_of([&] { voxel_cross_entropy(x, some_labels({2, 4, 2, 2}, 3)); }).find("[N,spatial]"), std::string::npos);
}

TEST(DiceLoss, AgainstPlainSums) {
  const Tensor x = random({2, 3, 4, 5}, {.lo = -3, .hi = 3}), y = some_labels({2, 4, 5}, 3, 7);
  const auto v = x.to_vector(), l = y.to_vector();
  for (const bool background : {false, true})
    for (const bool batch : {false, true}) {
      double both[2][3] = {}, all[2][3] = {};
      for (std::size_t n = 0; n < 2; ++n)
        for (std::size_t i = 0; i < 20; ++i) {
          double total = 0;
          for (std::size_t c = 0; c < 3; ++c) total += std::exp(v[(n * 3 + c) * 20 + i]);
          for (std::size_t c = 0; c < 3; ++c) {
            const double p = std::exp(v[(n * 3 + c) * 20 + i]) / total, t = l[n * 20 + i] == static_cast<double>(c);
            both[batch ? 0 : n][c] += p * t;
            all[batch ? 0 : n][c] += p + t;
          }
        }
      double dice = 0, count = 0;
      for (std::size_t n = 0; n < (batch ? 1 : 2); ++n)
        for (std::size_t c = background ? 0 : 1; c < 3; ++c) dice += (2 * both[n][c] + 1e-5) / (all[n][c] + 1e-5), ++count;
      const DiceOptions o{.background = background, .batch = batch};
      EXPECT_NEAR(dice_loss(x, y, o).item(), 1 - dice / count, 1e-12);
      gradcheck([&](const Tensors& in) { return dice_loss(in[0], y, o); }, {x}, {.second_order = batch});
    }
  EXPECT_THROW(dice_loss(random({1, 1, 4, 4}), some_labels({1, 4, 4}, 1)), Error);
}

TEST(DiceLoss, PerfectAndHopeless) {
  const Tensor y = some_labels({1, 6, 6, 6}, 4);
  const Tensor sure = permute(one_hot(y, 4, DType::f32), {0, 4, 1, 2, 3}) * 50;
  EXPECT_NEAR(dice_loss(sure, y).item(), 0, 1e-5);
  EXPECT_NEAR(dice_loss(-sure, y).item(), 1, 0.01);
  EXPECT_NEAR(dice_cross_entropy(sure, y).item(), 0, 1e-5);
  const Tensor x = random({1, 4, 6, 6, 6});
  EXPECT_NEAR(dice_cross_entropy(x, y, {.dice_weight = 2, .cross_entropy_weight = 3}).item(),
              2 * dice_loss(x, y).item() + 3 * voxel_cross_entropy(x, y).item(), 1e-12);
}

TEST(ResizedLabels, NearestAndWhole) {
  const Tensor y = values<std::int64_t>({0, 1, 2, 3, 4, 5, 6, 7, 1'000'003, 9, 10, 11, 12, 13, 14, 15}, {1, 4, 4});
  const Tensor half = resized_labels(y, {2, 2});
  EXPECT_EQ(half.dtype(), DType::i64);
  EXPECT_EQ(half.to_vector(), (std::vector<double>{0, 2, 1'000'003, 10}));
}

TEST(DeepSupervision, ScheduleAndSum) {
  const double expected[][4] = {{0, 0.2, 0.4, 0.4},   {49, 0.2, 0.4, 0.4},  {50, 0.4, 0.3, 0.3},  {99, 0.4, 0.3, 0.3},
                                {100, 0.6, 0.2, 0.2}, {149, 0.6, 0.2, 0.2}, {150, 0.8, 0.1, 0.1}, {1499, 0.8, 0.1, 0.1}};
  for (const auto& [epoch, main, aux3, aux4] : expected) {
    const Supervision w = deepis_supervision(static_cast<std::int64_t>(epoch));
    EXPECT_EQ(w.main, main) << epoch;
    EXPECT_EQ(w.aux3, aux3) << epoch;
    EXPECT_EQ(w.aux4, aux4) << epoch;
  }
  const Tensor t = random({2, 1, 8, 8, 8}, {.lo = -1, .hi = 1}), p = random({2, 1, 8, 8, 8}, {.seed = 2});
  const Tensor a3 = random({2, 3, 2, 2, 2}, {.seed = 3}), a4 = random({2, 3, 1, 1, 1}, {.seed = 4});
  const Supervision w{0.4, 0.35, 0.25};
  const auto loss = [&](const Tensors& in) { return supervised_by_distance(edge_weighted_l1(in[0], t), in[1], in[2], t, w); };
  EXPECT_NEAR(loss({p, a3, a4}).item(),
              0.4 * edge_weighted_l1(p, t).item() + 0.35 * voxel_cross_entropy(a3, distance_labels(t, {2, 2, 2})).item() +
                  0.25 * voxel_cross_entropy(a4, distance_labels(t, {1, 1, 1})).item(),
              1e-12);
  gradcheck(loss, {p, a3, a4});
  EXPECT_EQ(supervised_by_distance(l1(p, t), {}, {}, t, {}).item(), l1(p, t).item());
  const Tensor y = some_labels({2, 8, 8, 8}, 3);
  EXPECT_NEAR(supervised_by_labels(l1(p, t), a3, {}, y, w).item(),
              0.4 * l1(p, t).item() + 0.35 * voxel_cross_entropy(a3, resized_labels(y, {2, 2, 2})).item(), 1e-12);
}

}  // namespace
