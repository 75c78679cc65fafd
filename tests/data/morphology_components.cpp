// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/components.h"

#include <map>

#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Numbers by flooding from each voxel in turn; neighbours by how many coordinates differ.
std::vector<double> flooded(const Tensor& labels, int connectivity) {
  const Shape& n = labels.shape();
  const auto v = labels.to_vector();
  std::vector<double> number(v.size(), 0);
  const int most = connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3;
  double count = 0;
  for (std::size_t start = 0; start < v.size(); ++start) {
    if (v[start] == 0 || number[start] != 0) continue;
    number[start] = ++count;
    std::vector<std::size_t> open = {start};
    while (!open.empty()) {
      const auto at = static_cast<std::int64_t>(open.back());
      open.pop_back();
      const std::int64_t z = at / (n[1] * n[2]), y = at / n[2] % n[1], x = at % n[2];
      for (int k = 0; k < 27; ++k) {
        const std::int64_t dz = k / 9 - 1, dy = k / 3 % 3 - 1, dx = k % 3 - 1;
        if (std::abs(dz) + std::abs(dy) + std::abs(dx) > most) continue;
        if (z + dz < 0 || z + dz >= n[0] || y + dy < 0 || y + dy >= n[1] || x + dx < 0 || x + dx >= n[2]) continue;
        const auto next = static_cast<std::size_t>(((z + dz) * n[1] + y + dy) * n[2] + x + dx);
        if (number[next] != 0 || v[next] != v[start]) continue;
        number[next] = count;
        open.push_back(next);
      }
    }
  }
  return number;
}

TEST(Components, EqualFloodFill) {
  std::uint64_t seed = 0;
  for (const auto& shape : {Shape{6, 7, 8}, Shape{1, 12, 13}, Shape{15, 1, 9}, Shape{9, 8, 1}, Shape{1, 1, 40}, Shape{1, 1, 1}})
    for (const auto connectivity : {Connectivity::faces, Connectivity::edges, Connectivity::corners})
      for (const double density : {0.1, 0.3, 0.6, 1.0}) {
        ++seed;
        const Tensor labels =
            random_labels(shape, seed, density, 1 + static_cast<int>(seed % 3), seed % 2 ? DType::u8 : DType::i64);
        const Components c = connected_components(labels, connectivity);
        const auto expected = flooded(labels, static_cast<int>(connectivity));
        ASSERT_EQ(c.labels.to_vector(), expected) << shape << " seed " << seed;
        std::map<double, std::int64_t> sizes = {{0, 0}};
        for (const double e : expected) ++sizes[e];
        for (const auto& [number, size] : sizes) EXPECT_EQ(c.sizes[static_cast<std::size_t>(number)], size);
        EXPECT_EQ(c.count() + 1, static_cast<std::int64_t>(sizes.size()));
      }
}

TEST(Components, ASpiralIsOnePart) {
  // A line that winds through the plane: provisional numbers meet again and again.
  const Tensor comb = volume_of({1, 9, 9}, [](auto, std::int64_t y, std::int64_t x) { return y == 8 || x % 2 == 0; });
  EXPECT_EQ(connected_components(comb).count(), 1);
  EXPECT_EQ(connected_components(volume_of({1, 9, 9}, [](auto, std::int64_t, std::int64_t x) { return x % 2 == 0; })).count(), 5);
}

TEST(Components, LargestAndSmall) {
  const Tensor mask = volume_of({1, 3, 9}, [](auto, std::int64_t y, std::int64_t x) {
    return (y == 0 && x < 2) || (y == 2 && x < 4) || (x > 6 && y > 0);  // 2, 4 and 4 voxels
  });
  const Components c = connected_components(mask);
  EXPECT_EQ(c.sizes, (std::vector<std::int64_t>{17, 2, 4, 4}));
  EXPECT_EQ(c.largest(), 2) << "the first of the largest";
  const auto largest = largest_component(mask).to_vector();
  for (std::size_t i = 0; i < largest.size(); ++i) EXPECT_EQ(largest[i], c.labels.to_vector()[i] == 2);
  EXPECT_EQ(connected_components(without_small(mask, 3)).sizes, (std::vector<std::int64_t>{19, 4, 4}));
  EXPECT_EQ(connected_components(without_small(mask, 5)).count(), 0);
  const Tensor none = zeros({2, 2, 2}, {.dtype = DType::u8});
  EXPECT_EQ(largest_component(none).to_vector(), none.to_vector());
  EXPECT_EQ(connected_components(none).largest(), 0);
}

TEST(Components, HolesAreFilledAndBaysAreNot) {
  const Tensor shell = volume_of({5, 5, 5}, [](std::int64_t z, std::int64_t y, std::int64_t x) {
    const bool within = z > 0 && z < 4 && y > 0 && y < 4 && x > 0 && x < 4;
    return within && !(z == 2 && y == 2 && x == 2);
  });
  EXPECT_EQ(label_sizes(fill_holes(shell))[1], 27);
  const Tensor cup = volume_of({1, 5, 5}, [](auto, std::int64_t y, std::int64_t x) { return x == 0 || x == 4 || y == 4; });
  EXPECT_EQ(fill_holes(cup).to_vector(), cup.to_vector());
}

TEST(Components, LabelsAreCountedAndNumbered) {
  const Tensor labels =
      volume_of({1, 1, 6}, [](auto, auto, std::int64_t x) { return std::array{0, 7, 7, 3, 0, 9}[static_cast<std::size_t>(x)]; });
  EXPECT_EQ(labels_present(labels), (std::vector<std::int32_t>{3, 7, 9}));
  EXPECT_EQ(relabelled(labels).to_vector(), (std::vector<double>{0, 2, 2, 1, 0, 3}));
  EXPECT_EQ(mask_of(labels, 7).to_vector(), (std::vector<double>{0, 1, 1, 0, 0, 0}));
  EXPECT_THROW(label_sizes(full({1, 1, 2}, -1, {.dtype = DType::i32})), DataError);
  EXPECT_THROW(label_sizes(full({1, 1, 2}, 1 << 25, {.dtype = DType::i32})), DataError);
}

}  // namespace
