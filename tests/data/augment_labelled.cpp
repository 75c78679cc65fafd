// SPDX-License-Identifier: Apache-2.0
#include "data/augment_labelled.h"

#include <cmath>
#include <map>
#include <numbers>
#include <set>

#include "core/parallel.h"
#include "data/augment_map.h"
#include "data/phantom_pair.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

const PairAugmentOptions linear_zero{.fill = RotationFill::zero};
const PairAugmentOptions cubic_zero{.fill = RotationFill::zero, .interpolation = ImageInterpolation::cubic};

ImageAndTruth random_pair(const Shape& shape, std::uint64_t seed, Spacing spacing = {0.5, 0.2, 0.2}, std::int64_t channels = 1) {
  ImageAndTruth p{.image = random({channels, shape[0], shape[1], shape[2]}, {.seed = seed, .dtype = DType::f32}),
                  .labels = random_blobs(shape, seed + 1, 5, 2, 0.4 * static_cast<double>(shape[1])),
                  .spacing = spacing};
  p.target = target_of(p.labels, spacing, TruthKind::signed_distance);
  return p;
}

/// Value of [..,D,H,W] at channel 0.
double at(const std::vector<double>& v, const Shape& n, std::int64_t z, std::int64_t y, std::int64_t x) {
  return v[static_cast<std::size_t>((z * n[1] + y) * n[2] + x)];
}

TEST(AugmentPair, EveryFlipIsExact) {
  const Shape n = {3, 4, 5};
  const ImageAndTruth from = random_pair(n, 3, {0.5, 0.3, 0.2}, 2);
  const auto image = from.image.to_vector(), labels = from.labels.to_vector(), target = from.target.to_vector();
  for (int k = 0; k < 8; ++k) {
    const PairDraw draw{.flip = {(k & 4) != 0, (k & 2) != 0, (k & 1) != 0}};
    const ImageAndTruth to = augment_pair(from, TruthKind::signed_distance, draw, {});
    const auto i = to.image.to_vector(), l = to.labels.to_vector(), t = to.target.to_vector();
    for (std::int64_t z = 0; z < 3; ++z)
      for (std::int64_t y = 0; y < 4; ++y)
        for (std::int64_t x = 0; x < 5; ++x) {
          const std::int64_t fz = k & 4 ? 2 - z : z, fy = k & 2 ? 3 - y : y, fx = k & 1 ? 4 - x : x;
          ASSERT_EQ(at(l, n, z, y, x), at(labels, n, fz, fy, fx));
          ASSERT_EQ(at(t, n, z, y, x), at(target, n, fz, fy, fx));
          for (std::int64_t c = 0; c < 2; ++c) ASSERT_EQ(at(i, n, z + 3 * c, y, x), at(image, n, fz + 3 * c, fy, fx));
        }
  }
}

TEST(AugmentPair, QuarterTurnsAreExact) {
  const Shape n = {2, 9, 9};
  const ImageAndTruth from = random_pair(n, 5);
  const auto image = from.image.to_vector(), labels = from.labels.to_vector();
  for (const auto& options : {linear_zero, cubic_zero}) {
    const ImageAndTruth to = augment_pair(from, TruthKind::labels, {.degrees = 90}, options);
    const auto i = to.image.to_vector(), l = to.labels.to_vector();
    for (std::int64_t z = 0; z < 2; ++z)
      for (std::int64_t y = 0; y < 9; ++y)
        for (std::int64_t x = 0; x < 9; ++x) {
          ASSERT_EQ(at(l, n, z, y, x), at(labels, n, z, x, 8 - y));
          ASSERT_NEAR(at(i, n, z, y, x), at(image, n, z, x, 8 - y), 1e-5);
        }
    const auto half = augment_pair(from, TruthKind::labels, {.degrees = 180}, options).labels.to_vector();
    for (std::int64_t y = 0; y < 9; ++y) EXPECT_EQ(at(half, n, 1, y, 2), at(labels, n, 1, 8 - y, 6));
  }
}

TEST(AugmentPair, SlopesSurviveRotationAndZoom) {
  // Linear interpolation keeps an image that is linear in y and x, splines do so away from the mirrored border.
  const Shape n = {12, 25, 31};
  const Spacing spacing = {0.6, 0.4, 0.3};
  const Tensor image = empty({1, n[0], n[1], n[2]});
  for (std::int64_t k = 0; k < image.size(); ++k)
    image.mutable_data<float>()[k] =
        static_cast<float>(2.0 * static_cast<double>(k / (n[1] * n[2])) + 3 * static_cast<double>(k / n[2] % n[1]) -
                           static_cast<double>(k % n[2]) + 100);
  const ImageAndTruth from{.image = image, .labels = zeros(n, {.dtype = DType::u8}), .spacing = spacing};
  for (const auto& options : {linear_zero, cubic_zero})
    for (const double degrees : {0.0, 33.0, -110.0})
      for (const double zoom : {1.0, 1.25}) {
        const PairDraw draw{.flip = {true, false, true}, .degrees = degrees, .zoom = zoom, .part = {0.1, 0.5, 0.9}};
        const auto got = augment_pair(from, TruthKind::labels, draw, options).image.to_vector();
        const double c = std::cos(degrees * std::numbers::pi / 180), s = std::sin(degrees * std::numbers::pi / 180);
        int compared = 0;
        for (std::int64_t z = 0; z < n[0]; ++z)
          for (std::int64_t y = 0; y < n[1]; ++y)
            for (std::int64_t x = 0; x < n[2]; ++x) {
              const auto source = [&](std::int64_t i, int a) {
                return (static_cast<double>(i) + 0.5 +
                        draw.part[static_cast<std::size_t>(a)] * static_cast<double>(n[a]) * (zoom - 1)) /
                           zoom -
                       0.5;
              };
              const double uy = (source(y, 1) - 12) * 0.4, ux = (source(x, 2) - 15) * 0.3;
              const double sy = (ux * s + uy * c) / 0.4 + 12, sx = 30 - ((ux * c - uy * s) / 0.3 + 15), sz = 11 - source(z, 0);
              const double edge = &options == &linear_zero ? 0 : 5;
              if (sy < edge || sx < edge || sy > 24 - edge || sx > 30 - edge || sz < edge || sz > 11 - edge) continue;
              ASSERT_NEAR(at(got, n, z, y, x), 2 * sz + 3 * sy - sx + 100, 0.02) << degrees << ' ' << zoom;
              ++compared;
            }
        EXPECT_GT(compared, 100);
      }
}

TEST(AugmentPair, TheTargetIsTheDistanceOfTheMovedLabels) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const ImageAndTruth from = random_pair({10, 28, 28}, seed);
    PairDraw draw = draw_pair_augmentation({.rotate = 1, .elastic = 1, .zoom = 1}, seed, 0, 0);
    const ImageAndTruth to = augment_pair(from, TruthKind::signed_distance, draw, {});
    EXPECT_EQ(to.target.to_vector(), target_of(to.labels, from.spacing, TruthKind::signed_distance).to_vector());
    EXPECT_EQ(to.image.shape(), from.image.shape());
    EXPECT_EQ(to.labels.dtype(), DType::u8);
    // A margin: the middle of the same, measured beyond the edge.
    const ImageAndTruth kept = augment_pair(from, TruthKind::signed_distance, draw, {}, {6, 20, 17});
    const auto all = to.target.to_vector(), some = kept.target.to_vector(), image = to.image.to_vector(),
               part = kept.image.to_vector();
    for (std::int64_t z = 0; z < 6; ++z)
      for (std::int64_t y = 0; y < 20; ++y)
        for (std::int64_t x = 0; x < 17; ++x) {
          ASSERT_EQ(at(some, {6, 20, 17}, z, y, x), at(all, {10, 28, 28}, z + 2, y + 4, x + 5));
          ASSERT_EQ(at(part, {6, 20, 17}, z, y, x), at(image, {10, 28, 28}, z + 2, y + 4, x + 5));
        }
    // Without labels the distance's signs are the labels.
    ImageAndTruth bare = from;
    bare.labels = {};
    EXPECT_EQ(augment_pair(bare, TruthKind::signed_distance, draw, {}).target.to_vector(), all);
  }
}

TEST(AugmentPair, AZoomedCellIsLargerInMicrometres) {
  const Shape n = {33, 41, 41};
  const Spacing spacing = {0.5, 0.4, 0.4};
  ImageAndTruth from{.image = zeros({1, n[0], n[1], n[2]}),
                     .labels = solid(n, spacing, [](double z, double y, double x) { return std::hypot(z, y, x) - 4; }),
                     .spacing = spacing};
  from.target = target_of(from.labels, spacing, TruthKind::instance_distance);
  const auto deepest = [](const Tensor& t) {
    const auto v = t.to_vector();
    return *std::max_element(v.begin(), v.end());
  };
  const PairDraw draw{.zoom = 1.3, .part = {0.5, 0.5, 0.5}};
  EXPECT_NEAR(deepest(from.target), 4, 0.35);
  EXPECT_NEAR(deepest(augment_pair(from, TruthKind::instance_distance, draw, {}).target), 5.2, 0.35);
  EXPECT_NEAR(deepest(augment_pair(from, TruthKind::instance_distance, draw, PairAugmentOptions::paper()).target), 5.2, 0.5);
}

TEST(AugmentPair, LegacyCarriesTheDistanceAlong) {
  const ImageAndTruth from = random_pair({6, 24, 24}, 9);
  const PairDraw draw{.degrees = 37, .zoom = 1.2, .part = {0.3, 0.2, 0.8}};
  const auto paper = PairAugmentOptions::paper();
  const ImageAndTruth to = augment_pair(from, TruthKind::signed_distance, draw, paper);
  // The target goes the way an image of its values would.
  const ImageAndTruth as_image{
      .image = Tensor(from.target.storage(), 0, {1, 6, 24, 24}, dense_strides({1, 6, 24, 24}), DType::f32),
      .labels = from.labels,
      .spacing = from.spacing};
  const auto image = augment_pair(as_image, TruthKind::labels, draw, paper).image.to_vector(), target = to.target.to_vector();
  for (std::size_t i = 0; i < image.size(); ++i) ASSERT_NEAR(target[i], 1.2 * image[i], 1e-5);
  EXPECT_NE(target, target_of(to.labels, from.spacing, TruthKind::signed_distance).to_vector());
}

TEST(AugmentPair, CornersAreFilledAsAsked) {
  ImageAndTruth from{
      .image = full({2, 2, 16, 16}, 5), .labels = full({2, 16, 16}, 2, {.dtype = DType::i32}), .spacing = {1, 1, 1}};
  const PairDraw draw{.degrees = 45};
  const auto background = augment_pair(from, TruthKind::labels, draw, {});
  EXPECT_EQ(background.image.to_vector(), from.image.to_vector());
  EXPECT_EQ(background.labels.to_vector()[0], 0);
  EXPECT_EQ(background.labels.dtype(), DType::i32);
  for (const auto& options : {linear_zero, cubic_zero}) {
    const auto zero = augment_pair(from, TruthKind::labels, draw, options).image.to_vector();
    EXPECT_EQ(zero[0], 0);
    EXPECT_NEAR(zero[8 * 16 + 8], 5, 1e-5);
  }
}

TEST(AugmentPair, ElasticFieldsAreOneForAllSlicesAndSmall) {
  cuboid::Random random(RandomKey{1, 2, 3});
  const auto field = smooth_field(64, 80, 2, 2, random);
  double squares = 0, steps = 0;
  for (std::size_t i = 1; i < field.size(); ++i) {
    squares += field[i] * field[i];
    steps += (field[i] - field[i - 1]) * (field[i] - field[i - 1]);
  }
  // Variance of alpha * uniform +-1 after a Gaussian of two dimensions: alpha^2 / 3 / (4 pi sigma^2).
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(field.size())), 2 * std::sqrt(1 / 3.0 / (4 * std::numbers::pi * 4)), 0.02);
  EXPECT_LT(steps, 0.3 * squares) << "smooth";

  const Tensor image = empty({1, 3, 32, 32});
  const Tensor plane = random_blobs({1, 32, 32}, 2, 9, 9, 8);
  for (std::int64_t i = 0; i < image.size(); ++i)
    image.mutable_data<float>()[i] = static_cast<float>(plane.data<std::uint8_t>()[i % 1024]);
  const ImageAndTruth from{.image = image, .labels = zeros({3, 32, 32}, {.dtype = DType::u8}), .spacing = {1, 1, 1}};
  const auto to = augment_pair(from, TruthKind::labels, {.alpha = 30, .sigma = 2, .field = {7, 8, 9}}, {}).image.to_vector();
  EXPECT_NE(to, image.to_vector());
  for (std::size_t i = 0; i < 1024; ++i) EXPECT_EQ(to[i], to[i + 2048]);
}

TEST(AugmentPair, Draws) {
  const PairAugmentOptions o{.jitter_scale = 0.1};
  std::map<std::array<bool, 3>, int> flips;
  int turned = 0, bent = 0, zoomed = 0;
  for (std::int64_t sample = 0; sample < 4000; ++sample) {
    const PairDraw d = draw_pair_augmentation(o, 1, 2, sample), again = draw_pair_augmentation(o, 1, 2, sample);
    EXPECT_EQ(d.degrees, again.degrees);
    EXPECT_EQ(d.field, again.field);
    ++flips[d.flip];
    turned += d.degrees > 0;
    bent += d.alpha != 0;
    zoomed += d.zoom != 1;
    EXPECT_TRUE(d.zoom == 1 || (d.zoom >= 1.1 && d.zoom <= 1.3));
    EXPECT_LE(std::abs(d.degrees), 180);
    EXPECT_LE(std::abs(d.scale - 1), 0.1);
  }
  EXPECT_EQ(flips.size(), 8u);
  for (const auto& [flip, count] : flips) EXPECT_NEAR(count, 500, 100);
  EXPECT_NEAR(turned, 2000, 150);
  EXPECT_NEAR(bent, 2000, 150);
  EXPECT_NEAR(zoomed, 1600, 150);
  std::set<double> zooms;
  for (std::int64_t sample = 0; sample < 200; ++sample) {
    const PairDraw d = draw_pair_augmentation(PairAugmentOptions::paper(), 1, 2, sample);
    EXPECT_EQ(d.degrees, std::round(d.degrees));
    EXPECT_TRUE(d.degrees >= 10 && d.degrees <= 350) << d.degrees;
    zooms.insert(std::round(d.zoom * 1000));
  }
  EXPECT_EQ(zooms, (std::set<double>{1000, 1100, 1200, 1300}));
  EXPECT_FALSE(draw_pair_augmentation(PairAugmentOptions::none(), 1, 2, 3).moves());
  EXPECT_NE(draw_pair_augmentation(o, 1, 2, 3).degrees, draw_pair_augmentation(o, 1, 3, 3).degrees);
  EXPECT_NE(draw_pair_augmentation(o, 1, 2, 3).degrees, draw_pair_augmentation(o, 2, 2, 3).degrees);
}

TEST(AugmentPair, SameBitsForAnyThreads) {
  const ImageAndTruth from = random_pair({9, 30, 26}, 12);
  const PairDraw draw = draw_pair_augmentation({.rotate = 1, .elastic = 1, .zoom = 1}, 3, 4, 5);
  const int before = thread_count();
  for (const auto& options : {linear_zero, cubic_zero}) {
    set_thread_count(1);
    const ImageAndTruth expected = augment_pair(from, TruthKind::signed_distance, draw, options);
    set_thread_count(3);
    const ImageAndTruth got = augment_pair(from, TruthKind::signed_distance, draw, options);
    EXPECT_EQ(got.image.to_vector(), expected.image.to_vector());
    EXPECT_EQ(got.target.to_vector(), expected.target.to_vector());
  }
  set_thread_count(before);
}

TEST(AugmentPair, ThinVolumesAndFullOnes) {
  for (const auto& n : {Shape{1, 1, 1}, Shape{1, 5, 1}, Shape{4, 1, 3}, Shape{2, 2, 2}}) {
    const ImageAndTruth from{.image = random({1, n[0], n[1], n[2]}, {.dtype = DType::f32}),
                             .labels = full(n, 1, {.dtype = DType::u8}),
                             .spacing = {1, 2, 3}};
    for (const auto& options : {linear_zero, cubic_zero, PairAugmentOptions::paper()}) {
      const PairDraw draw{.flip = {true, true, true}, .degrees = 20, .alpha = 3, .sigma = 1, .zoom = 1.2, .scale = 2, .shift = 1};
      const ImageAndTruth to = augment_pair(from, TruthKind::signed_distance, draw, options);
      for (const double v : to.image.to_vector()) EXPECT_TRUE(std::isfinite(v));
      for (const double v : to.target.to_vector()) EXPECT_TRUE(std::isfinite(v));
    }
  }
}

TEST(AugmentPair, NothingDrawnIsTheSameAgain) {
  const ImageAndTruth from = random_pair({4, 8, 8}, 2);
  const auto before = from.image.to_vector();
  const ImageAndTruth to = augment_pair(from, TruthKind::signed_distance, {}, {});
  EXPECT_EQ(to.image.to_vector(), before);
  EXPECT_EQ(to.target.to_vector(), from.target.to_vector());
  const ImageAndTruth brighter = augment_pair(from, TruthKind::signed_distance, {.scale = 2, .shift = 1}, {});
  EXPECT_EQ(from.image.to_vector(), before) << "the input stays as it is";
  EXPECT_NEAR(brighter.image.to_vector()[5], 2 * before[5] + 1, 1e-6);
}

TEST(AugmentPair, NonsenseIsRefused) {
  const ImageAndTruth from = random_pair({4, 8, 8}, 2);
  const auto broken = [&](auto&& change) {
    ImageAndTruth p = from;
    change(p);
    EXPECT_THROW(augment_pair(p, TruthKind::signed_distance, {.degrees = 5}, {}), Error);
  };
  broken([](ImageAndTruth& p) { p.image = zeros({4, 8, 8}); });
  broken([](ImageAndTruth& p) { p.labels = zeros({4, 8, 7}, {.dtype = DType::u8}); });
  broken([](ImageAndTruth& p) { p.labels = zeros({4, 8, 8}); });
  broken([](ImageAndTruth& p) { p.target = zeros({4, 8, 7}); });
  broken([](ImageAndTruth& p) { p.labels = p.target = {}; });
  broken([](ImageAndTruth& p) { p.spacing = {0, 1, 1}; });
  EXPECT_THROW(augment_pair(from, TruthKind::signed_distance, {}, {}, {5, 8, 8}), Error);
  EXPECT_THROW(draw_pair_augmentation({.zoom_low = 0.5}, 1, 1, 1), Error);
}

TEST(Spline, CoefficientsGoThroughTheValues) {
  for (const std::int64_t n : {1, 2, 3, 5, 15, 16, 17, 40}) {
    const Tensor values = random({n, 3}, {.seed = static_cast<std::uint64_t>(n), .dtype = DType::f32});
    const auto v = values.to_vector();
    std::vector<float> c(v.begin(), v.end());
    spline_coefficients(c.data(), n, 3, 3);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t l = 0; l < 3; ++l) {
        const auto of = [&](std::int64_t k) {
          k = k < 0 ? -k : k >= n ? 2 * n - 2 - k : k;
          return static_cast<double>(c[static_cast<std::size_t>(k * 3 + l)]);
        };
        const double got = n == 1 ? of(0) : (of(i - 1) + 4 * of(i) + of(i + 1)) / 6;
        ASSERT_NEAR(got, v[static_cast<std::size_t>(i * 3 + l)], 2e-6) << n << ' ' << i;
      }
  }
}

}  // namespace
