// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/watershed.h"

#include <algorithm>
#include <cmath>

#include "data/morphology/components.h"
#include "data/morphology/distance.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Peaks by their definition: a voxel such that in the part of {map >= map[p] - prominence} around it (for the part of strictly
/// higher saddles) there is nothing higher, nor equally high and earlier.
std::vector<std::int64_t> by_definition(const Tensor& map, double min_height, double prominence) {
  const auto v = map.to_vector();
  std::vector<std::int64_t> peaks;
  for (std::size_t p = 0; p < v.size(); ++p) {
    if (v[p] <= min_height) continue;
    const Tensor level = volume_of(map.shape(), [&, i = std::size_t{0}](auto, auto, auto) mutable {
      const double x = v[i++];
      return x > min_height && x >= v[p] - prominence;
    });
    const auto part = connected_components(level, Connectivity::corners).labels.to_vector();
    bool highest = true;
    for (std::size_t q = 0; q < v.size(); ++q)
      if (part[q] == part[p] && (v[q] > v[p] || (v[q] == v[p] && q < p))) highest = false;
    if (highest) peaks.push_back(static_cast<std::int64_t>(p));
  }
  std::stable_sort(peaks.begin(), peaks.end(),
                   [&](auto a, auto b) { return v[static_cast<std::size_t>(a)] > v[static_cast<std::size_t>(b)]; });
  return peaks;
}

TEST(Peaks, AreThoseOfTheDefinition) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed)
    for (const double prominence : {0.0, 1.0, 3.0})
      for (const double lowest : {-1.0, 2.0}) {
        const Shape shape = seed % 3 == 0 ? Shape{1, 9, 10} : Shape{4, 5, 6};
        // Whole numbers: many ties and plateaus.
        const Tensor map = random(shape, {.seed = seed, .dtype = DType::f32, .lo = 0, .hi = 7, .integers = true});
        std::vector<std::int64_t> got;
        for (const auto& p : find_peaks(map, {1, 1, 1}, {.min_height = lowest, .prominence = prominence}))
          got.push_back((p.at[0] * shape[1] + p.at[1]) * shape[2] + p.at[2]);
        ASSERT_EQ(got, by_definition(map, lowest, prominence)) << "seed " << seed << " prominence " << prominence;
      }
}

TEST(Peaks, KeepTheirDistance) {
  const Tensor map = from_values<float>({1, 0, 5, 0, 4, 0, 0, 3}, {1, 1, 8});
  const auto places = [&](double distance) {
    std::vector<std::int64_t> at;
    for (const auto& p : find_peaks(map, {1, 1, 0.5}, {.min_distance = distance})) at.push_back(p.at[2]);
    return at;
  };
  EXPECT_EQ(places(0), (std::vector<std::int64_t>{2, 4, 7, 0}));
  EXPECT_EQ(places(1.0), (std::vector<std::int64_t>{2, 4, 7, 0})) << "not nearer than 1 µm";
  EXPECT_EQ(places(1.1), (std::vector<std::int64_t>{2, 7}));
  EXPECT_EQ(places(100), (std::vector<std::int64_t>{2}));
}

TEST(Peaks, NoneInAnEmptyMapOneInAFlatOne) {
  EXPECT_TRUE(find_peaks(zeros({3, 4, 5}), {1, 1, 1}).empty());
  const auto flat = find_peaks(full({3, 4, 5}, 2), {1, 1, 1});
  ASSERT_EQ(flat.size(), 1u);
  EXPECT_EQ(flat[0].at, (std::array<std::int64_t, 3>{0, 0, 0}));
  EXPECT_EQ(flat[0].height, 2);
  EXPECT_THROW(find_peaks(full({2, 2, 2}, std::nan("")), {1, 1, 1}), DataError);
}

TEST(Watershed, TwoTouchingBallsAreCutBetweenTheirCentres) {
  const Shape shape = {21, 24, 44};
  const auto in = [](double z, double y, double x, double cx) { return std::hypot(z, y, x - cx) < 9.5; };
  const Tensor mask =
      solid(shape, {1, 1, 1}, [&](double z, double y, double x) { return in(z, y, x, -8) || in(z, y, x, 8) ? -1 : 1; });
  const Tensor map = distance_transform(mask, {1, 1, 1});
  const auto peaks = find_peaks(map, {1, 1, 1}, {.prominence = 1});
  ASSERT_EQ(peaks.size(), 2u);
  const auto labels = watershed(map, seeds_of(peaks, shape), mask).to_vector(), m = mask.to_vector();
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    EXPECT_EQ(labels[i] != 0, m[i] != 0);
    const auto x = static_cast<std::int64_t>(i % 44);
    const double left = peaks[0].at[2] < 22 ? 1 : 2;
    if (m[i] != 0 && (x < 21 || x > 22)) wrong += labels[i] != (x < 22 ? left : 3 - left);
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(instances_of(map, 0, {1, 1, 1}, {.prominence = 1}).to_vector(), labels);
  EXPECT_EQ(connected_components(instances_of(map, 0, {1, 1, 1}, {.prominence = 100})).count(), 1);
}

TEST(Watershed, FollowsTheMapNotTheDistance) {
  // Heights 9 8 7 1 2 3 9: the pass lies at 1, next to the left seed's third voxel.
  const Tensor map = from_values<float>({9, 8, 7, 1, 2, 3, 9}, {1, 1, 7});
  const Tensor seeds = from_values<std::int32_t>({5, 0, 0, 0, 0, 0, 8}, {1, 1, 7}),
               all = full({1, 1, 7}, 1, {.dtype = DType::u8});
  EXPECT_EQ(watershed(map, seeds, all).to_vector(), (std::vector<double>{5, 5, 5, 5, 8, 8, 8}));
  // Parts without a seed stay empty; seeds outside of the mask do not count.
  const Tensor mask = from_values<std::uint8_t>({1, 1, 0, 1, 1, 1, 0}, {1, 1, 7});
  EXPECT_EQ(watershed(map, seeds, mask).to_vector(), (std::vector<double>{5, 5, 0, 0, 0, 0, 0}));
  EXPECT_THROW(watershed(map, seeds, full({1, 7, 1}, 1)), DataError);
}

TEST(Watershed, EveryVoxelIsReachedAndLabelsStayConnected) {
  const Tensor mask = random_blobs({12, 20, 20}, 21, 9, 1, 7);
  const Tensor map = distance_transform(mask, {1, 1, 1});
  const auto seeds = seeds_of(find_peaks(map, {1, 1, 1}), map.shape());
  const Tensor labels = watershed(map, seeds, mask);
  const auto l = labels.to_vector(), m = mask.to_vector();
  for (std::size_t i = 0; i < l.size(); ++i) EXPECT_EQ(l[i] != 0, m[i] != 0);
  EXPECT_EQ(connected_components(labels).count(), static_cast<std::int64_t>(labels_present(seeds).size()));
}

TEST(Watershed, SmallInstancesAreLeftOutAndTheOthersNumbered) {
  const Tensor map = from_values<float>({2, 0, 3, 3, 3, 0, 5, 1, 1}, {1, 1, 9});
  EXPECT_EQ(instances_of(map, 0.5, {1, 1, 1}).to_vector(), (std::vector<double>{3, 0, 2, 2, 2, 0, 1, 1, 1}));
  EXPECT_EQ(instances_of(map, 0.5, {1, 1, 1}, {}, 2).to_vector(), (std::vector<double>{0, 0, 2, 2, 2, 0, 1, 1, 1}));
  EXPECT_EQ(instances_of(map, 2.5, {1, 1, 1}).to_vector(), (std::vector<double>{0, 0, 2, 2, 2, 0, 1, 0, 0}));
}

}  // namespace
