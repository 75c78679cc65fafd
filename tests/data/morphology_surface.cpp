// SPDX-License-Identifier: Apache-2.0
// The areas against those of geometry; every error is also recorded, to be read in the test's XML.
#include "data/morphology/surface.h"

#include <cmath>
#include <numbers>

#include "data/morphology/components.h"
#include "data/phantom_pair.h"
#include "tests/data/volumes.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr double pi = std::numbers::pi;

struct Turned {  // coordinates turned about two axes, so that walls lie askew
  double z, y, x;
  Turned(double pz, double py, double px, double a, double b) {
    y = py * std::cos(a) - px * std::sin(a);
    const double t = py * std::sin(a) + px * std::cos(a);
    z = pz * std::cos(b) - t * std::sin(b);
    x = pz * std::sin(b) + t * std::cos(b);
  }
};

const Spacing spacings[] = {{1, 1, 1}, {0.6, 0.4, 0.4}, {1, 0.4, 0.4}};

Shape room_for(double um, const Spacing& s) {
  Shape shape;
  for (const double step : s) shape.push_back(static_cast<std::int64_t>(2 * um / step) + 6);
  return shape;
}

class Errors {
 public:
  void add(const std::string& what, double got, double expected, double allowed) {
    const double error = got / expected - 1;
    worst_ = std::max(worst_, std::abs(error));
    EXPECT_LT(std::abs(error), allowed) << what << ": " << got << " of " << expected;
    if (std::getenv("CUBOID_SHOW_ERRORS")) std::printf("%-40s %+.2f %%\n", what.c_str(), 100 * error);
  }
  ~Errors() { ::testing::Test::RecordProperty("worst", std::to_string(worst_)); }

 private:
  double worst_ = 0;
};

TEST(SurfaceArea, Spheres) {
  Errors errors;
  for (const auto& s : spacings)
    for (const double radius : {4.0, 5.3, 8.0, 12.0}) {
      const double r = radius * s[0], shift = 0.3 * s[0];
      const Tensor ball =
          solid(room_for(r + shift, s), s, [&](double z, double y, double x) { return std::hypot(z - shift, y, x) - r; });
      errors.add(join_text("sphere of ", radius, " voxels, z ", s[0]), surface_area(ball, s), 4 * pi * r * r, 0.03);
    }
}

TEST(SurfaceArea, Ellipsoids) {
  Errors errors;
  // Knud Thomsen's formula, at most 1.06 % off; p = 1.6075.
  const auto area = [](double a, double b, double c) {
    const double p = 1.6075;
    return 4 * pi * std::pow((std::pow(a * b, p) + std::pow(a * c, p) + std::pow(b * c, p)) / 3, 1 / p);
  };
  for (const auto& s : spacings)
    for (const double angle : {0.0, 0.5, 0.8}) {
      const double a = 12 * s[0], b = 7 * s[0], c = 5 * s[0];
      const Tensor body = solid(room_for(a, s), s, [&](double z, double y, double x) {
        const Turned t(z, y, x, angle, 0.7 * angle);
        return std::hypot(t.z / a, t.y / b, t.x / c) - 1;
      });
      errors.add(join_text("ellipsoid turned by ", angle, ", z ", s[0]), surface_area(body, s), area(a, b, c), 0.02);
    }
}

TEST(SurfaceArea, BoxesStraightAndTilted) {
  Errors errors;
  for (const auto& s : spacings)
    for (const double angle : {0.0, 0.2, 0.5, 0.7854}) {
      const double a = 8 * s[0], b = 11 * s[0], c = 14 * s[0];
      const Tensor box = solid(room_for(20 * s[0], s), s, [&](double z, double y, double x) {
        const Turned t(z, y, x, angle, 0.7 * angle);
        return std::max({std::abs(t.z) - a, std::abs(t.y) - b, std::abs(t.x) - c});
      });
      errors.add(join_text("box turned by ", angle, ", z ", s[0]), surface_area(box, s), 8 * (a * b + a * c + b * c), 0.055);
    }
}

TEST(SurfaceArea, OneVoxelASheetAndNothing) {
  EXPECT_EQ(surface_area(zeros({4, 4, 4}), {1, 1, 1}), 0);
  const Tensor one = volume_of({5, 5, 5}, [](auto z, auto y, auto x) { return z == 2 && y == 2 && x == 2; });
  EXPECT_NEAR(surface_area(one, {3, 2, 1}), 2 * (6 + 3 + 2), 1e-3);
  // A sheet across the volume: two sides, and none where the border cuts it.
  const Tensor sheet = volume_of({9, 10, 12}, [](std::int64_t z, auto, auto) { return z == 4; });
  EXPECT_NEAR(surface_area(sheet, {3, 2, 1}), 2 * 10 * 12 * 2 * 1, 1e-3);
  EXPECT_EQ(surface_area(full({3, 3, 3}, 1), {1, 1, 1}), 0);
}

TEST(ContactArea, OfTwoHalvesOfABall) {
  Errors errors;
  for (const auto& s : spacings)
    for (const double angle : {0.0, 0.4, 0.7854}) {
      const double r = 10 * s[0];
      const Tensor halves =
          volume_of(room_for(r, s), [&, shape = room_for(r, s)](std::int64_t z, std::int64_t y, std::int64_t x) {
            const auto place = [&](std::int64_t i, int a) {
              return (static_cast<double>(i) - static_cast<double>(shape[a] - 1) / 2 + 0.13) * s[static_cast<std::size_t>(a)];
            };
            const Turned t(place(z, 0), place(y, 1), place(x, 2), angle, angle);
            return std::hypot(t.z, t.y, t.x) > r ? 0 : t.x < 0 ? 1 : 2;
          });
      errors.add(join_text("halves turned by ", angle, ", z ", s[0]), contact_area(halves, 1, 2, s), pi * r * r, 0.05);
    }
  const Tensor apart = volume_of({1, 1, 8}, [](auto, auto, std::int64_t x) { return x < 3 ? 1 : x > 4 ? 2 : 0; });
  EXPECT_EQ(contact_area(apart, 1, 2, {1, 1, 1}), 0);
  EXPECT_NEAR(contact_area(apart, 1, 2, {1, 1, 1}, 2), 1, 1e-6) << "with a gap of two voxels";
  EXPECT_EQ(contact_area(apart, 1, 3, {1, 1, 1}), 0);
  EXPECT_EQ(contact_area(apart, 1, 3, {1, 1, 1}, 2), 0);
  EXPECT_THROW(contact_area(apart, 1, 1, {1, 1, 1}), DataError);
}

TEST(ContactArea, OfPhantomPairsIsThatOfTheirGeometry) {
  Errors errors;
  double sum = 0;
  const PhantomPairOptions o{.pairs = 12, .size = 64, .noise = 0, .missing_cone = false};
  for (std::int64_t i = 0; i < o.pairs; ++i) {
    const PhantomPair pair = phantom_pair(o, i);
    const double got = contact_area(pair.labels, 1, 2, phantom_pair_spacing(o));
    if (pair.synapse_um2 == 0) {
      EXPECT_EQ(got, 0) << i;
      continue;
    }
    errors.add(join_text("pair ", i), got, pair.synapse_um2, 0.09);
    sum += got / pair.synapse_um2 - 1;
  }
  EXPECT_LT(std::abs(sum / 10), 0.03) << "no bias";
}

TEST(Boundary, VoxelsWithAFaceOutside) {
  const Tensor cube =
      volume_of({5, 5, 5}, [](auto z, auto y, auto x) { return z > 0 && z < 4 && y > 0 && y < 4 && x > 0 && x < 4; });
  EXPECT_EQ(label_sizes(boundary_voxels(cube))[1], 26);
  EXPECT_EQ(label_sizes(boundary_voxels(full({3, 3, 3}, 1)))[1], 26) << "the volume's border is outside";
  EXPECT_EQ(boundary_voxels(zeros({3, 3, 3})).to_vector(), std::vector<double>(27, 0));
}

}  // namespace
