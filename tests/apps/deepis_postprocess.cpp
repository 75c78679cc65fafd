// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/postprocess.h"

#include <map>

#include "data/morphology/distance.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::deepis;

namespace {

double from(const Tensor& t, std::int64_t z, std::int64_t y, std::int64_t x) {
  return t.to_vector()[static_cast<std::size_t>((z * t.dim(1) + y) * t.dim(2) + x)];
}

std::map<int, int> counts(const Tensor& t) {
  std::map<int, int> n;
  for (const double v : t.to_vector()) ++n[static_cast<int>(v)];
  return n;
}

/// Two balls side by side, of labels 1 and 2, and a speck of each.
Tensor pair_of_balls() {
  return test::volume_of({24, 24, 40}, [](auto z, auto y, auto x) {
    const auto far = [&](double cx) {
      return std::hypot(static_cast<double>(z) - 12, static_cast<double>(y) - 12, static_cast<double>(x) - cx);
    };
    if (z < 2 && y < 2 && x < 2) return 1;
    if (z > 21 && y > 21 && x > 36) return 2;
    return far(11) < 8.5 && x < 20 ? 1 : far(28) < 8.5 ? 2 : 0;
  });
}

TEST(DeepisPostprocess, TheTargetBecomesTheLabelsItWasMadeOf) {
  for (const Spacing& spacing : {Spacing{1, 1, 1}, {0.4, 0.2, 0.2}, {0.1, 0.3, 0.2}}) {
    const Tensor labels = test::random_blobs({14, 18, 20}, 3, 9, 2, 6);
    const Tensor back = labels_of_signed(signed_distance(labels, spacing), spacing, {.keep_largest = false, .fill_holes = false});
    EXPECT_EQ(back.to_vector(), labels.to_vector());
    EXPECT_EQ(back.dtype(), DType::u8);
  }
}

TEST(DeepisPostprocess, OfEachClassTheLargestPartStays) {
  const Tensor labels = pair_of_balls(), target = signed_distance(labels, {1, 1, 1});
  const auto all = counts(labels), kept = counts(labels_of_signed(target, {1, 1, 1}));
  EXPECT_EQ(kept.at(1), all.at(1) - 8);
  EXPECT_EQ(kept.at(2), all.at(2) - 2 * 2 * 3);
  // without that rule small parts go by their volume: 8 voxels of 0.5 um³ are 4, 12 are 6
  const Spacing half = {0.5, 1, 1};
  const auto sized = [&](double volume) {
    return counts(labels_of_signed(signed_distance(labels, half), half, {.keep_largest = false, .min_volume_um3 = volume}));
  };
  EXPECT_EQ(sized(4), all);
  EXPECT_EQ(sized(4.1).at(1), all.at(1) - 8);
  EXPECT_EQ(sized(4.1).at(2), all.at(2));
  EXPECT_EQ(sized(6.1).at(2), all.at(2) - 12);
}

TEST(DeepisPostprocess, HolesAreFilledByTheLabelAroundThem) {
  Tensor labels = pair_of_balls();
  auto* v = labels.mutable_data<std::uint8_t>();
  const auto set = [&](std::int64_t z, std::int64_t y, std::int64_t x, int label) {
    v[(z * 24 + y) * 40 + x] = static_cast<std::uint8_t>(label);
  };
  set(12, 12, 11, 0);
  set(12, 12, 12, 0);
  set(12, 12, 28, 0);
  clean_classes(labels, {1, 1, 1}, {.keep_largest = false});
  EXPECT_EQ(from(labels, 12, 12, 11), 1);
  EXPECT_EQ(from(labels, 12, 12, 12), 1);
  EXPECT_EQ(from(labels, 12, 12, 28), 2);
  set(12, 12, 11, 0);
  clean_classes(labels, {1, 1, 1}, {.keep_largest = false, .fill_holes = false});
  EXPECT_EQ(from(labels, 12, 12, 11), 0);
}

TEST(DeepisPostprocess, TheThresholdIsHalfTheSmallestSpacingUnlessToldOtherwise) {
  EXPECT_EQ(resolved({}, {0.4, 0.2, 0.3}).threshold_um, 0.1);
  EXPECT_EQ(resolved({.threshold_um = 0}, {0.4, 0.2, 0.3}).threshold_um, 0);
  Tensor d = from_values<float>({0.05F, 0.11F, -0.05F, -0.3F, 0, 0.1F}, {1, 1, 6});
  const PostprocessOptions plain{.keep_largest = false, .fill_holes = false};
  EXPECT_EQ(labels_of_signed(d, {0.4, 0.2, 0.2}, plain).to_vector(), (std::vector<double>{0, 1, 0, 2, 0, 0}));
  EXPECT_THROW(resolved({}, {0, 1, 1}), Error);
}

TEST(DeepisPostprocess, ScoresBecomeTheLargestClass) {
  test::Random r(5);
  Tensor scores = empty({4, 5, 6, 7}, {.dtype = DType::f32});
  for (std::int64_t i = 0; i < scores.size(); ++i) scores.mutable_data<float>()[i] = static_cast<float>(r.uniform(-1, 1));
  const Tensor labels = labels_of_scores(scores, {1, 1, 1}, {.keep_largest = false, .fill_holes = false});
  const auto s = scores.to_vector(), l = labels.to_vector();
  const std::size_t n = l.size();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t c = 0; c < 4; ++c) ASSERT_LE(s[c * n + i], s[static_cast<std::size_t>(l[i]) * n + i]);
  EXPECT_THROW(labels_of_scores(zeros({1, 2, 2, 2}), {1, 1, 1}), Error);
}

TEST(DeepisPostprocess, TouchingInstancesComeBackFromTheirDistances) {
  for (const Spacing& spacing : {Spacing{1, 1, 1}, {0.5, 0.25, 0.25}}) {
    // nine touching columns of balls, of different sizes
    const Tensor labels = test::volume_of(
        {16, 48, 48},
        [](std::int64_t z, std::int64_t y, std::int64_t x) {
          const std::int64_t row = y / 16, column = x / 16;
          const double far =
              std::hypot(static_cast<double>(z) - 8, static_cast<double>(y % 16) - 8, static_cast<double>(x % 16) - 8);
          return far < 8.9 ? 1 + row * 3 + column : 0;
        },
        DType::i32);
    const Tensor map = instance_distance(labels, spacing);
    const Tensor found = labels_of_instances(map, spacing);
    std::map<std::pair<int, int>, int> pairs;
    const auto a = labels.to_vector(), b = found.to_vector();
    for (std::size_t i = 0; i < a.size(); ++i) ++pairs[{static_cast<int>(a[i]), static_cast<int>(b[i])}];
    EXPECT_EQ(pairs.size(), 10U);  // one to one, and the background
    EXPECT_EQ(found.dtype(), DType::i32);
    int before = 1 << 30;
    for (const auto& [label, n] : counts(found)) {
      if (label == 0) continue;
      EXPECT_LE(n, before) << "numbered by falling volume";
      before = n;
    }
  }
}

TEST(DeepisPostprocess, NothingComesOfNothing) {
  const Tensor empty_map = zeros({4, 5, 6});
  EXPECT_EQ(counts(labels_of_signed(empty_map, {1, 1, 1})), (std::map<int, int>{{0, 120}}));
  EXPECT_EQ(counts(labels_of_instances(empty_map, {1, 1, 1})), (std::map<int, int>{{0, 120}}));
  EXPECT_EQ(counts(labels_of_signed(full({4, 5, 6}, 3), {1, 1, 1})), (std::map<int, int>{{1, 120}}));
  EXPECT_EQ(counts(labels_of_instances(full({4, 5, 6}, 3), {1, 1, 1})), (std::map<int, int>{{1, 120}}));
}

TEST(DeepisPostprocess, OptionsSurviveTheirFile) {
  const PostprocessOptions o{.threshold_um = 0.3, .keep_largest = false, .min_volume_um3 = 2, .prominence_um = 1.5};
  const PostprocessOptions back = postprocess_of(Json::parse(to_json(o).dump()));
  EXPECT_EQ(to_json(back), to_json(o));
  EXPECT_EQ(to_json(postprocess_of(Json::object())), to_json(PostprocessOptions{}));
  try {
    postprocess_of(Json::object({{"treshold_um", 0.2}}));
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'threshold_um'"), std::string::npos) << e.what();
  }
}

}  // namespace
