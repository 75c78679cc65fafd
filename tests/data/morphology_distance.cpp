// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/distance.h"

#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// For every voxel that is not 0, the distance to the nearest one of another label: all pairs, in f64.
std::vector<double> by_all_pairs(const Tensor& labels, const Spacing& s) {
  const auto v = labels.to_vector();
  const Shape& n = labels.shape();
  std::vector<double> result(v.size(), 0);
  const auto place = [&](std::size_t i, int axis) {
    const auto at = static_cast<std::int64_t>(i);
    return static_cast<double>(axis == 0   ? at / (n[1] * n[2])
                               : axis == 1 ? at / n[2] % n[1]
                                           : at % n[2]) *
           s[static_cast<std::size_t>(axis)];
  };
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (v[i] == 0) continue;
    double nearest = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < v.size(); ++k) {
      if (v[k] == v[i]) continue;
      double squares = 0;
      for (int a = 0; a < 3; ++a) squares += std::pow(place(i, a) - place(k, a), 2);
      nearest = std::min(nearest, squares);
    }
    result[i] = std::sqrt(nearest);
  }
  return result;
}

const Spacing spacings[] = {{1, 1, 1}, {0.4, 0.2, 0.2}, {3, 0.1, 0.7}, {0.05, 2, 1}};
const Shape shapes[] = {{7, 8, 9}, {1, 20, 20}, {20, 1, 19}, {18, 17, 1}, {2, 3, 60}, {40, 2, 3}, {1, 1, 50}, {5, 33, 4}};

TEST(Distance, InstancesEqualAllPairs) {
  std::uint64_t seed = 0;
  for (const auto& shape : shapes)
    for (const auto& spacing : spacings)
      for (const double density : {0.3, 0.9, 0.995}) {
        const Tensor labels = ++seed % 2 ? random_labels(shape, seed, density, 1 + static_cast<int>(seed % 4), DType::i32)
                                         : random_blobs(shape, seed, 6, 3, 8);
        const auto expected = by_all_pairs(labels, spacing);
        if (std::find(expected.begin(), expected.end(), std::numeric_limits<double>::infinity()) != expected.end()) {
          EXPECT_THROW(instance_distance(labels, spacing), DataError);
          continue;
        }
        const auto got = instance_distance(labels, spacing).to_vector();
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], expected[i], 1e-6 * expected[i]) << shape << " seed " << seed << " voxel " << i;
      }
}

TEST(Distance, MasksAreLabelsOfOneKind) {
  const Spacing spacing = {0.5, 0.3, 0.2};
  const Tensor mask = random_blobs({12, 13, 14}, 3, 5, 1, 7);
  EXPECT_EQ(distance_transform(mask, spacing).to_vector(), instance_distance(mask, spacing).to_vector());
  // Any type is a mask; u8 of other values too.
  const Tensor other = volume_of(
      mask.shape(), [&, v = mask.to_vector(), i = std::size_t{0}](auto, auto, auto) mutable { return 7 * v[i++]; }, DType::u8);
  const Tensor reals = empty(mask.shape());
  copy(other, reals);
  EXPECT_EQ(distance_transform(other, spacing).to_vector(), distance_transform(mask, spacing).to_vector());
  EXPECT_EQ(distance_transform(reals, spacing).to_vector(), distance_transform(mask, spacing).to_vector());
}

TEST(Distance, ToAMaskIsThatOfItsComplement) {
  const Tensor mask = random_labels({9, 10, 11}, 5, 0.02);
  const Tensor complement =
      volume_of(mask.shape(), [&, v = mask.to_vector(), i = std::size_t{0}](auto, auto, auto) mutable { return v[i++] == 0; });
  const Spacing spacing = {2, 0.5, 0.25};
  const auto got = distance_to(mask, spacing).to_vector(), expected = by_all_pairs(complement, spacing);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-6 * expected[i]);
}

TEST(Distance, KnownValues) {
  // A ball of radius 10 µm: its centre is that far from the outside, whatever the voxels are.
  const Spacing spacing = {0.5, 0.25, 1};
  const Tensor ball = solid({45, 89, 25}, spacing, [](double z, double y, double x) { return std::hypot(z, y, x) - 10; });
  const auto d = distance_transform(ball, spacing).to_vector();
  EXPECT_NEAR(d[(22 * 89 + 44) * 25 + 12], 10, 0.3);
  // A wall of 4 voxels in x: 1, 2, 2, 1 spacings.
  const Tensor wall = volume_of({3, 3, 8}, [](auto, auto, std::int64_t x) { return x >= 2 && x < 6; });
  const auto w = distance_transform(wall, {9, 9, 0.25}).to_vector();
  EXPECT_EQ((std::vector<double>{w[0], w[1], w[2], w[3], w[4], w[5], w[6]}),
            (std::vector<double>{0, 0, 0.25, 0.5, 0.5, 0.25, 0}));
  // The volume's border is not outside.
  const Tensor half = volume_of({1, 1, 6}, [](auto, auto, std::int64_t x) { return x < 4; });
  EXPECT_EQ(distance_transform(half, {1, 1, 2}).to_vector(), (std::vector<double>{8, 6, 4, 2, 0, 0}));
}

TEST(Distance, SignedIsPositiveInOneNegativeInTwo) {
  const Spacing spacing = {0.4, 0.2, 0.2};
  const Tensor labels = random_blobs({14, 20, 20}, 8, 6, 2, 8);
  const auto l = labels.to_vector(), d = signed_distance(labels, spacing).to_vector(), all = by_all_pairs(labels, spacing);
  for (std::size_t i = 0; i < l.size(); ++i) ASSERT_NEAR(d[i], all[i] * (l[i] == 1 ? 1 : -1), 1e-6 * all[i]);
  EXPECT_EQ(labels_of_signs(signed_distance(labels, spacing)).to_vector(), l);
  EXPECT_EQ(labels_of_signs(signed_distance(labels, spacing), 100).to_vector(), std::vector<double>(l.size(), 0));
  EXPECT_THROW(signed_distance(random_labels({4, 4, 4}, 1, 0.9, 3), spacing), DataError);
}

TEST(Distance, FullAndEmpty) {
  const Spacing spacing = {1, 1, 1};
  const Tensor none = zeros({4, 5, 6}, {.dtype = DType::u8}), all = full({4, 5, 6}, 1, {.dtype = DType::u8});
  EXPECT_EQ(distance_transform(none, spacing).to_vector(), none.to_vector());
  EXPECT_THROW(distance_transform(all, spacing), DataError);
  EXPECT_EQ(distance_transform(all, spacing, {.limit = 3}).to_vector(), std::vector<double>(120, 3));
  EXPECT_THROW(distance_to(none, spacing), DataError);
  EXPECT_EQ(distance_to(none, spacing, {.limit = 2}).to_vector(), std::vector<double>(120, 2));
  EXPECT_EQ(distance_to(all, spacing).to_vector(), none.to_vector());
  const Tensor one = full({1, 1, 1}, 1, {.dtype = DType::u8});
  EXPECT_THROW(distance_transform(one, spacing), DataError);
  EXPECT_EQ(distance_to(one, spacing).to_vector(), std::vector<double>{0});
}

TEST(Distance, NonsenseIsRefused) {
  const Tensor mask = random_labels({4, 4, 4}, 1);
  EXPECT_THROW(distance_transform(mask, {1, 0, 1}), DataError);
  EXPECT_THROW(distance_transform(mask, {1, std::nan(""), 1}), DataError);
  EXPECT_THROW(distance_transform(zeros({4, 4}), {1, 1, 1}), DataError);
  EXPECT_THROW(distance_transform(zeros({0, 4, 4}), {1, 1, 1}), DataError);
  EXPECT_THROW(instance_distance(full({2, 2, 2}, 0.5), {1, 1, 1}), DataError);
  EXPECT_THROW(instance_distance(full({2, 2, 2}, std::nan("")), {1, 1, 1}), DataError);
}

TEST(Distance, SameBitsForAnyThreadsAndLayout) {
  const Tensor labels = random_blobs({20, 37, 41}, 11, 8, 3, 12, DType::i32);
  const int before = thread_count();
  set_thread_count(1);
  const auto expected = instance_distance(labels, {0.3, 0.2, 0.1}).to_vector();
  set_thread_count(3);
  EXPECT_EQ(instance_distance(labels, {0.3, 0.2, 0.1}).to_vector(), expected);
  set_thread_count(before);
  EXPECT_EQ(instance_distance(laid(labels, Lies::view), {0.3, 0.2, 0.1}).to_vector(), expected);
}

}  // namespace
