// SPDX-License-Identifier: Apache-2.0
// The geometry of phantom cells: signed distances in µm, negative inside, relative to the cell's centre.
#pragma once
#include <array>
#include <vector>

#include "core/random.h"

namespace cuboid {

using Point = std::array<double, 3>;  // z,y,x

inline Point operator-(const Point& a, const Point& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
inline double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
inline double length(const Point& a) { return std::sqrt(dot(a, a)); }
Point random_direction(Random& random);

/// A sphere with a few random bumps and a fine ruffle.
class Surface {
 public:
  Surface() = default;
  Surface(double radius, Random& random);
  double distance(const Point& p) const;
  double radius() const { return radius_; }

 private:
  double radius_ = 1;
  struct Bump {
    Point axis;
    double even, odd, ruffle;
  };
  std::array<Bump, 4> bumps_{};
};

/// A ball, or several fused balls along an arc: a kidney, a lobed nucleus.
class Nucleus {
 public:
  Nucleus() = default;
  /// `arc`: radius of the arc the lobes' centres lie on; `gap`: angle between neighbours, radians. The balls are scaled so that
  /// the volume is `volume`.
  Nucleus(int lobes, double arc, double gap, double volume, const Point& offset, Random& random);
  double distance(const Point& p) const;
  Point random_inside(Random& random) const;

 private:
  struct Ball {
    Point centre;
    double radius;
  };
  std::vector<Ball> balls_;
  std::array<Point, 3> axes_{};  // an ellipsoid's axes for the round kind
  Point stretch_ = {1, 1, 1};
  double fuse_ = 0.5;
};

}  // namespace cuboid
