// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/dilate.h"

#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// 1 where some voxel of `mask` for which near(dz,dy,dx) holds is `value`.
template <class Near>
std::vector<double> any_near(const Tensor& mask, double value, Near&& near) {
  const Shape& n = mask.shape();
  const auto v = mask.to_vector();
  std::vector<double> found(v.size(), 0);
  for (std::int64_t i = 0; i < mask.size(); ++i)
    for (std::int64_t k = 0; k < mask.size(); ++k)
      if (v[static_cast<std::size_t>(k)] == value &&
          near(i / (n[1] * n[2]) - k / (n[1] * n[2]), i / n[2] % n[1] - k / n[2] % n[1], i % n[2] - k % n[2]))
        found[static_cast<std::size_t>(i)] = 1;
  return found;
}
std::vector<double> inverted(std::vector<double> v) {
  for (auto& x : v) x = 1 - x;
  return v;
}

TEST(Dilate, EqualsEveryPair) {
  std::uint64_t seed = 0;
  for (const auto& shape : {Shape{6, 7, 9}, Shape{1, 10, 11}, Shape{12, 1, 1}})
    for (const double density : {0.0, 0.05, 0.9, 1.0}) {
      const Tensor mask = random_labels(shape, ++seed, density);
      for (const double radius : {0.0, 1.0, 1.5, 3.0}) {
        const Spacing s = {1, 0.5, 0.5};
        const auto ball = [&](std::int64_t z, std::int64_t y, std::int64_t x) {
          return static_cast<double>(z * z) + 0.25 * static_cast<double>(y * y + x * x) <= radius * radius;
        };
        EXPECT_EQ(dilate_ball(mask, radius, s).to_vector(), any_near(mask, 1, ball)) << shape << " radius " << radius;
        EXPECT_EQ(erode_ball(mask, radius, s).to_vector(), inverted(any_near(mask, 0, ball))) << shape << " radius " << radius;
      }
      for (const Reach& r : {Reach{0, 0, 0}, Reach{1, 1, 1}, Reach{2, 0, 1}, Reach{9, 3, 30}}) {
        const auto box = [&](std::int64_t z, std::int64_t y, std::int64_t x) {
          return std::abs(z) <= r[0] && std::abs(y) <= r[1] && std::abs(x) <= r[2];
        };
        EXPECT_EQ(dilate_box(mask, r).to_vector(), any_near(mask, 1, box)) << shape;
        EXPECT_EQ(erode_box(mask, r).to_vector(), inverted(any_near(mask, 0, box))) << shape;
      }
    }
}

TEST(Dilate, OpeningRemovesWhatIsThinClosingFillsWhatIsNarrow) {
  const Tensor blob = random_blobs({9, 24, 24}, 4, 3, 1, 9);
  const auto before = blob.to_vector(), opened = open_ball(blob, 2).to_vector(), closed = close_ball(blob, 2).to_vector();
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_LE(opened[i], before[i]);
    EXPECT_GE(closed[i], before[i]);
  }
  const Tensor line = volume_of({1, 9, 9}, [](auto, std::int64_t y, auto) { return y == 4; });
  EXPECT_EQ(open_ball(line, 1).to_vector(), std::vector<double>(81, 0));
  const Tensor gap = volume_of({1, 9, 9}, [](auto, std::int64_t y, auto) { return y != 4; });
  EXPECT_EQ(close_ball(gap, 1).to_vector(), std::vector<double>(81, 1));
}

TEST(Dilate, NonsenseIsRefused) {
  const Tensor mask = random_labels({2, 2, 2}, 1);
  EXPECT_THROW(dilate_ball(mask, -1), DataError);
  EXPECT_THROW(erode_ball(mask, std::nan("")), DataError);
  EXPECT_THROW(dilate_box(mask, {1, -1, 1}), DataError);
  EXPECT_THROW(dilate_ball(mask, 1, {0, 1, 1}), DataError);
}

}  // namespace
