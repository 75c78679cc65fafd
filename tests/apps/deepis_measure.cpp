// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <functional>
#include <numbers>

#include "apps/deepis/measurement.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::deepis;

namespace {

using Point = std::array<double, 3>;  // z,y,x in um from the volume's middle
constexpr double pi = std::numbers::pi;

/// Labels 1 where first(p) < 0, else 2 where second(p) < 0.
Tensor two(const Shape& shape, const Spacing& s, const std::function<double(const Point&)>& first,
           const std::function<double(const Point&)>& second) {
  return test::volume_of(shape, [&](std::int64_t z, std::int64_t y, std::int64_t x) {
    const Point p = {s[0] * (static_cast<double>(z) - 0.5 * static_cast<double>(shape[0] - 1)),
                     s[1] * (static_cast<double>(y) - 0.5 * static_cast<double>(shape[1] - 1)),
                     s[2] * (static_cast<double>(x) - 0.5 * static_cast<double>(shape[2] - 1))};
    return first(p) < 0 ? 1 : second(p) < 0 ? 2 : 0;
  });
}

double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/// Two halves of a cylinder of this radius around `axis`, 2.5 um long each, that face each other across a cleft; shrunken by
/// `margin` on all sides.
Tensor halves(const Shape& shape, const Spacing& spacing, Point axis, double radius, double cleft, double margin = 0) {
  const double length = std::sqrt(dot(axis, axis));
  for (double& v : axis) v /= length;
  const auto half = [=](double sign) {
    return [=](const Point& p) {
      const double along = dot(p, axis);
      const double aside = std::sqrt(std::max(0.0, dot(p, p) - along * along));
      return std::max({aside - radius, cleft / 2 - sign * along, sign * along - 2.5}) + margin;
    };
  };
  return two(shape, spacing, half(1), half(-1));
}

TEST(DeepisMeasure, AFlatContactHasItsArea) {
  // whichever way it lies, whatever the voxels
  const Point axes[] = {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}, {0, 1, 1}, {1, 1, 1}, {0, 0.4, 1}, {0.3, -0.8, 1}, {1, 0.2, -0.5}};
  for (const auto& [shape, spacing] :
       {std::pair{Shape{60, 60, 60}, Spacing{0.125, 0.125, 0.125}}, {Shape{32, 60, 60}, Spacing{0.25, 0.125, 0.125}}}) {
    double mean = 0;
    for (const Point& axis : axes) {
      const Tensor labels = halves(shape, spacing, axis, 2, 0);
      const double area = contact_between(labels, 1, 2, spacing, -1), truth = 4 * pi;
      EXPECT_NEAR(area / truth, 1, 0.07) << axis[0] << " " << axis[1] << " " << axis[2] << " spacing " << spacing[0];
      mean += area / truth / static_cast<double>(std::size(axes));
    }
    EXPECT_NEAR(mean, 1, 0.035) << spacing[0];
  }
}

TEST(DeepisMeasure, ACleftThatIsClosedKeepsTheArea) {
  const Spacing spacing = {0.125, 0.125, 0.125};
  for (const Point& axis : {Point{0, 0, 1}, {0.3, -0.8, 1}})
    for (const double cleft : {0.0, 0.125, 0.2}) {
      const double area = contact_between(halves({60, 60, 60}, spacing, axis, 2, cleft), 1, 2, spacing, 0.3);
      EXPECT_NEAR(area / (4 * pi), 1, 0.06) << cleft;
    }
  // further apart than two balls reach, there is no contact
  EXPECT_EQ(contact_between(halves({60, 60, 60}, spacing, {0, 0, 1}, 2, 0.7), 1, 2, spacing, 0.3), 0);
}

TEST(DeepisMeasure, WhatAThresholdTakesFromAContactIsGivenBack) {
  // The distance map of a perfect net, cut at just under half a voxel: whichever way the contact lies, between voxels or through
  // them.
  const Point axes[] = {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}, {0, 1, 1}, {1, 1, 1}, {0, 0.4, 1}, {0.3, -0.8, 1}, {1, 0.2, -0.5}};
  const double threshold = 0.06, rim = 2 - threshold;
  for (const auto& [shape, spacing] : {std::pair{Shape{60, 60, 60}, Spacing{0.125, 0.125, 0.125}},
                                       {Shape{61, 61, 61}, Spacing{0.125, 0.125, 0.125}},
                                       {Shape{33, 61, 61}, Spacing{0.25, 0.125, 0.125}}})
    for (const Point& axis : axes)
      EXPECT_NEAR(contact_between(halves(shape, spacing, axis, 2, 0, threshold), 1, 2, spacing) / (pi * rim * rim), 1, 0.1)
          << axis[0] << " " << axis[1] << " " << axis[2] << " spacing " << spacing[0] << " shape " << shape[0];
}

TEST(DeepisMeasure, BallsThatAreCutByAPlaneTouchInADisc) {
  // Two balls of 3 um whose centres are 2h apart, each ending at the plane between them; the disc has the radius sqrt(9 - h²).
  // The wedge at its rim closes over less than a voxel of the cleft.
  const Spacing spacing = {0.15, 0.15, 0.15};
  for (const double h : {1.2, 1.8, 2.1}) {
    const auto ball = [h](double sign) {
      return [=](const Point& p) { return std::max(std::hypot(p[0], p[1], p[2] - sign * h) - 3, -sign * p[2]); };
    };
    const Tensor labels = two({46, 46, 80}, spacing, ball(-1), ball(1));
    const double truth = pi * (9 - h * h);
    EXPECT_NEAR(contact_between(labels, 1, 2, spacing, 0.3) / truth, 1, 0.08) << h;
  }
}

TEST(DeepisMeasure, TheSynapseIsWhatBothReach) {
  const Spacing spacing = {0.4, 0.2, 0.2};
  const Tensor labels = test::random_blobs({9, 14, 15}, 4, 6, 2, 5);
  for (const double radius : {0.2, 0.4, 0.65}) {
    const Tensor mask = synapse_mask(labels, 1, 2, spacing, radius);
    const auto v = labels.to_vector(), m = mask.to_vector();
    const auto near = [&](std::int64_t i, int label) {
      const auto place = [](std::int64_t k) {
        return Point{static_cast<double>(k / 210), static_cast<double>(k / 15 % 14), static_cast<double>(k % 15)};
      };
      const Point a = place(i);
      for (std::int64_t k = 0; k < labels.size(); ++k) {
        if (v[static_cast<std::size_t>(k)] != label) continue;
        const Point b = place(k);
        if (std::hypot(0.4 * (a[0] - b[0]), 0.2 * (a[1] - b[1]), 0.2 * (a[2] - b[2])) <= radius + 1e-9) return true;
      }
      return false;
    };
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < labels.size(); ++i) {
      ASSERT_EQ(m[static_cast<std::size_t>(i)] != 0, near(i, 1) && near(i, 2)) << i;
      count += m[static_cast<std::size_t>(i)] != 0;
    }
    EXPECT_GT(count, 5);
    EXPECT_EQ(measure(labels, {}, {}, spacing, {}, std::array<std::int32_t, 2>{1, 2}, {.dilate_um = radius}).synapse->voxels,
              count);
  }
}

TEST(DeepisMeasure, ABallHasItsVolumeSurfaceAndMass) {
  const Spacing spacing = {0.3, 0.2, 0.2};
  const auto ball = [](const Point& p) { return std::hypot(p[0], p[1], p[2]) - 3; };
  const Tensor labels = two({26, 40, 40}, spacing, ball, [](const Point&) { return 1.0; });
  Tensor image = empty(labels.shape(), {.dtype = DType::f32});
  const auto v = labels.to_vector();
  for (std::int64_t i = 0; i < image.size(); ++i)
    image.mutable_data<float>()[i] = v[static_cast<std::size_t>(i)] != 0 ? 1.377F : 1.337F;
  const auto scale = ri_scale_of(image);
  ASSERT_TRUE(scale.has_value());
  const FrameMeasure m = measure(labels, image, scale, spacing, {1, 2}, std::array<std::int32_t, 2>{1, 2});
  const CellMeasure& c = m.cells[0];
  const double volume = 4.0 / 3 * pi * 27;
  EXPECT_NEAR(c.volume_um3 / volume, 1, 0.01);
  EXPECT_NEAR(c.surface_um2 / (36 * pi), 1, 0.02);
  EXPECT_NEAR(c.sphericity, 1, 0.03);
  EXPECT_NEAR(c.mean_ri, 1.377, 1e-5);
  EXPECT_NEAR(c.density, 0.2, 1e-4);  // (1.377 - 1.337) / 0.2 mL/g = 0.2 g/mL
  EXPECT_NEAR(c.dry_mass_pg / volume, 0.2, 0.003);
  EXPECT_EQ(c.parts, 1);
  EXPECT_FALSE(c.cut);
  EXPECT_NEAR(c.centre_um[0], 0.3 * 12.5, 1e-9);
  EXPECT_NEAR(c.centre_um[2], 0.2 * 19.5, 1e-9);
  EXPECT_EQ(m.cells[1].voxels, 0);
  EXPECT_TRUE(std::isnan(m.cells[1].mean_ri) && std::isnan(m.cells[1].sphericity));
  EXPECT_EQ(m.synapse->voxels, 0);
  EXPECT_EQ(m.synapse->area_um2, 0);
}

TEST(DeepisMeasure, WhatTheBorderCutsIsSaid) {
  const Spacing spacing = {1, 1, 1};
  const Tensor labels = test::volume_of({6, 6, 6}, [](auto z, auto, auto x) {
    return x < 2 ? 1 : (x == 4 && z > 0 && z < 5) ? 2 : 0;
  });
  EXPECT_TRUE(measure(labels, {}, {}, spacing, {1}, std::nullopt).cells[0].cut);
  const Tensor inside = test::volume_of(
      {6, 6, 6}, [](auto z, auto y, auto x) { return z > 0 && y > 0 && x > 0 && z < 5 && y < 5 && x < 5 ? 3 : 0; });
  EXPECT_FALSE(measure(inside, {}, {}, spacing, {3}, std::nullopt).cells[0].cut);
}

TEST(DeepisMeasure, RefractiveIndicesAreToldByTheirValues) {
  const auto of = [](std::vector<float> v) { return ri_scale_of(from_values(v, {1, 1, static_cast<std::int64_t>(v.size())})); };
  EXPECT_EQ(of({1.33F, 1.4F})->slope, 1);
  EXPECT_EQ(of({13300, 14000})->slope, 1e-4);
  EXPECT_FALSE(of({0, 255}).has_value());
  EXPECT_FALSE(of({-1.2F, 1.5F}).has_value());
  EXPECT_NEAR(ri_window(1.34, 1.39).offset + 51 * ri_window(1.34, 1.39).slope, 1.35, 1e-12);
}

}  // namespace
