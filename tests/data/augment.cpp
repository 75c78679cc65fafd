// SPDX-License-Identifier: Apache-2.0
#include "data/augment.h"

#include <cmath>
#include <numbers>

#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Step by step, as the original's transforms: rotate each slice about its centre, then flip x, then flip y, then z. Written
/// with points and a table of pixels, unlike the map in data/augment.cpp.
Tensor by_hand(const Tensor& volume, const AugmentDraw& draw, float outside, bool linear) {
  const std::int64_t c = volume.dim(0), d = volume.dim(1), h = volume.dim(2), w = volume.dim(3);
  const auto in = volume.to_vector();
  const auto pixel = [&](std::int64_t n, std::int64_t y, std::int64_t x) {
    return x < 0 || y < 0 || x >= w || y >= h ? static_cast<double>(outside) : in[static_cast<std::size_t>((n * h + y) * w + x)];
  };
  std::vector<double> rotated(in.size()), flipped(in.size());
  const double angle = draw.degrees * std::numbers::pi / 180;
  for (std::int64_t n = 0; n < c * d; ++n)
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t x = 0; x < w; ++x) {
        const double u = static_cast<double>(x) + 0.5 - static_cast<double>(w) / 2,
                     v = static_cast<double>(y) + 0.5 - static_cast<double>(h) / 2;
        const double from_x = std::cos(angle) * u - std::sin(angle) * v + static_cast<double>(w) / 2 - 0.5;
        const double from_y = std::sin(angle) * u + std::cos(angle) * v + static_cast<double>(h) / 2 - 0.5;
        double value = 0;
        if (linear) {
          const double x0 = std::floor(from_x), y0 = std::floor(from_y);
          for (int j = 0; j < 2; ++j)
            for (int i = 0; i < 2; ++i)
              value += (1 - std::abs(from_x - x0 - i)) * (1 - std::abs(from_y - y0 - j)) *
                       pixel(n, static_cast<std::int64_t>(y0) + j, static_cast<std::int64_t>(x0) + i);
        } else {
          value = pixel(n, std::lrint(from_y), std::lrint(from_x));
        }
        rotated[static_cast<std::size_t>((n * h + y) * w + x)] = value;
      }
  for (std::int64_t k = 0; k < c; ++k)
    for (std::int64_t z = 0; z < d; ++z)
      for (std::int64_t y = 0; y < h; ++y)
        for (std::int64_t x = 0; x < w; ++x) {
          const std::int64_t fz = draw.flip_z ? d - 1 - z : z, fy = draw.flip_y ? h - 1 - y : y, fx = draw.flip_x ? w - 1 - x : x;
          const double v = rotated[static_cast<std::size_t>(((k * d + fz) * h + fy) * w + fx)];
          flipped[static_cast<std::size_t>(((k * d + z) * h + y) * w + x)] = v * draw.scale + draw.shift;
        }
  const Tensor out = empty(volume.shape(), {.dtype = DType::f64});
  std::copy(flipped.begin(), flipped.end(), out.mutable_data<double>());
  return out;
}

TEST(Augment, EqualsTheStepsOneByOne) {
  for (const Shape& shape : {Shape{1, 5, 9, 9}, Shape{2, 3, 8, 12}, Shape{1, 4, 16, 7}})
    for (const double degrees : {0.0, 7.3, -20.0, 20.0, 90.0})
      for (int flips = 0; flips < 8; ++flips)
        for (const auto interpolation : {Interpolation::nearest, Interpolation::linear})
          for (const auto fill_with : {RotationFill::zero, RotationFill::background}) {
            if (degrees == 90.0 && interpolation == Interpolation::nearest)
              continue;  // halves of pixels: either neighbour will do
            const AugmentDraw draw{degrees, (flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0, 1.1, -0.05};
            const Tensor x = noise(shape, 11), y = empty(shape);
            augment(x, y, draw, {.fill = fill_with, .interpolation = interpolation});
            const float outside = fill_with == RotationFill::zero ? 0 : background_of(x);
            const auto got = y.to_vector(), want = by_hand(x, draw, outside, interpolation == Interpolation::linear).to_vector();
            for (std::size_t i = 0; i < got.size(); ++i)
              ASSERT_NEAR(got[i], want[i], 2e-6) << shape << ' ' << degrees << " degrees, flips " << flips << ", voxel " << i;
          }
}

TEST(Augment, AQuarterTurnIsATransposedFlip) {
  const Tensor x = noise({1, 2, 6, 6}, 3), y = empty(x.shape());
  augment(x, y, {.degrees = 90}, {.interpolation = Interpolation::linear});
  const auto in = x.to_vector(), out = y.to_vector();
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t r = 0; r < 6; ++r)
      for (std::size_t c = 0; c < 6; ++c) EXPECT_NEAR(out[(n * 6 + r) * 6 + c], in[(n * 6 + c) * 6 + 5 - r], 1e-6);
}

TEST(Augment, BackgroundIsTheMedianOfTheFaces) {
  const Tensor x = full({1, 8, 8, 8}, 0.25);
  float* p = x.mutable_data<float>();
  for (std::int64_t z = 1; z < 7; ++z)
    for (std::int64_t y = 1; y < 7; ++y)
      for (std::int64_t xx = 1; xx < 7; ++xx) p[(z * 8 + y) * 8 + xx] = 1;
  for (std::int64_t i = 0; i < 40; ++i) p[i] = 0;
  EXPECT_EQ(background_of(x), 0.25f);
  const Tensor y = empty(x.shape());
  augment(x, y, {.degrees = 20}, {});
  EXPECT_EQ(y.data<float>()[4 * 64], 0.25f) << "a corner";
  augment(x, y, {.degrees = 20}, AugmentOptions::paper());
  EXPECT_EQ(y.data<float>()[4 * 64], 0.0f);
}

TEST(Augment, DrawsAreSpreadAsAsked) {
  AugmentOptions o{.flip_z = 0.25, .jitter_scale = 0.1, .jitter_shift = 0.02};
  double degrees = 0, squares = 0, flips[3] = {}, least = 99, most = -99;
  constexpr int n = 20'000;
  for (int i = 0; i < n; ++i) {
    const AugmentDraw d = draw_augmentation(o, 5, i / 100, i % 100);
    degrees += d.degrees;
    squares += d.degrees * d.degrees;
    least = std::min(least, d.degrees);
    most = std::max(most, d.degrees);
    flips[0] += d.flip_x;
    flips[1] += d.flip_y;
    flips[2] += d.flip_z;
    EXPECT_LE(std::abs(d.scale - 1), 0.1);
    EXPECT_LE(std::abs(d.shift), 0.02);
  }
  EXPECT_NEAR(degrees / n, 0, 0.4);
  EXPECT_NEAR(squares / n, 400.0 / 3, 4);
  EXPECT_GE(least, -20);
  EXPECT_LE(most, 20);
  EXPECT_NEAR(flips[0] / n, 0.5, 0.015);
  EXPECT_NEAR(flips[1] / n, 0.5, 0.015);
  EXPECT_NEAR(flips[2] / n, 0.25, 0.015);
}

TEST(Augment, DrawsDependOnSeedEpochAndSampleOnly) {
  const AugmentOptions o;
  const auto degrees = [&](std::uint64_t seed, std::int64_t epoch, std::int64_t sample) {
    return draw_augmentation(o, seed, epoch, sample).degrees;
  };
  EXPECT_EQ(degrees(1, 2, 3), degrees(1, 2, 3));
  EXPECT_NE(degrees(1, 2, 3), degrees(2, 2, 3));
  EXPECT_NE(degrees(1, 2, 3), degrees(1, 3, 3));
  EXPECT_NE(degrees(1, 2, 3), degrees(1, 2, 4));
  AugmentOptions jittered = o;
  jittered.jitter_scale = 0.1;
  jittered.flip_z = 0.5;
  EXPECT_EQ(draw_augmentation(jittered, 1, 2, 3).degrees, degrees(1, 2, 3)) << "another option must not shift the numbers";
}

}  // namespace
