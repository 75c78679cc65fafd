// SPDX-License-Identifier: Apache-2.0
#include "data/phantom_shape.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cuboid {
namespace {

Point cross(const Point& a, const Point& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
Point scaled(const Point& a, double s) { return {a[0] * s, a[1] * s, a[2] * s}; }

/// Three perpendicular directions.
std::array<Point, 3> random_axes(Random& random) {
  const Point a = random_direction(random);
  Point b = cross(a, random_direction(random));
  for (double n = length(b); n < 0.1; n = length(b)) b = cross(a, random_direction(random));
  b = scaled(b, 1 / length(b));
  return {a, b, cross(a, b)};
}

}  // namespace

Point random_direction(Random& random) {
  const double z = random.uniform(-1, 1), angle = random.uniform(0, 2 * std::numbers::pi), r = std::sqrt(1 - z * z);
  return {z, r * std::sin(angle), r * std::cos(angle)};
}

Surface::Surface(double radius, Random& random) : radius_(radius) {
  for (auto& b : bumps_)
    b = {random_direction(random), random.normal(0, 0.045), random.normal(0, 0.03), random.uniform(-0.016, 0.016)};
}

double Surface::distance(const Point& p) const {
  const double r = length(p);
  if (r < 0.65 * radius_ || r > 1.4 * radius_) return r - radius_;  // far from the surface its shape does not matter
  double relative = 1;
  for (const auto& b : bumps_) {
    const double t = dot(p, b.axis) / r;
    // Legendre and Chebyshev polynomials of the angle to the axis: smooth all over the sphere.
    const double s = t * t;
    relative += b.even * (3 * s - 1) + b.odd * (5 * s - 3) * t + b.ruffle * (((64 * s - 112) * s + 56) * s - 7) * t;
  }
  return r - radius_ * relative;
}

Nucleus::Nucleus(int lobes, double arc, double gap, double volume, const Point& offset, Random& random)
    : axes_(random_axes(random)) {
  double total = 0;
  for (int i = 0; i < lobes; ++i) {
    const double angle = gap * (i - (lobes - 1) / 2.0) * random.uniform(0.9, 1.1),
                 lift = random.normal(0, 0.15) * (lobes > 1 ? arc : 0);
    Point centre = offset;
    for (std::size_t a = 0; a < 3; ++a)
      centre[a] += lobes > 1 ? arc * (std::cos(angle) * axes_[0][a] + std::sin(angle) * axes_[1][a]) + lift * axes_[2][a] : 0;
    const double radius = lobes > 1 ? random.uniform(0.85, 1.15) : 1;
    balls_.push_back({centre, radius});
    total += radius * radius * radius;
  }
  if (lobes == 1)
    for (auto& s : stretch_) s = random.uniform(0.88, 1.12);
  for (auto& b : balls_) b.radius *= std::cbrt(volume / (total * 4 / 3 * std::numbers::pi));
  // Overlap and fusing change the volume: measure it on a coarse grid and correct the radii.
  for (int round = 0; round < 3 && lobes > 1; ++round) {
    const double reach = arc + 2.5, step = 2 * reach / 24;
    double measured = 0;
    for (int z = 0; z < 24; ++z)
      for (int y = 0; y < 24; ++y)
        for (int x = 0; x < 24; ++x) {
          const Point p = {offset[0] - reach + (z + 0.5) * step, offset[1] - reach + (y + 0.5) * step,
                           offset[2] - reach + (x + 0.5) * step};
          measured += std::clamp(0.5 - distance(p) / step, 0.0, 1.0);
        }
    for (auto& b : balls_) b.radius *= std::cbrt(volume / std::max(1e-3, measured * step * step * step));
  }
}

double Nucleus::distance(const Point& p) const {
  if (balls_.size() == 1) {
    const Point q = p - balls_[0].centre;
    double squares = 0;
    for (std::size_t a = 0; a < 3; ++a) {
      const double t = dot(q, axes_[a]) / stretch_[a];
      squares += t * t;
    }
    return std::sqrt(squares) - balls_[0].radius;
  }
  double d = 1e9;
  for (const auto& b : balls_) {  // polynomial smooth minimum (Quilez)
    const double e = length(p - b.centre) - b.radius, h = std::max(fuse_ - std::abs(d - e), 0.0) / fuse_;
    d = std::min(d, e) - h * h * fuse_ / 4;
  }
  return d;
}

Point Nucleus::random_inside(Random& random) const {
  const auto& ball = balls_[random.below(balls_.size())];
  const Point u = random_direction(random);
  const double r = 0.55 * ball.radius * std::cbrt(random.uniform());
  return {ball.centre[0] + r * u[0], ball.centre[1] + r * u[1], ball.centre[2] + r * u[2]};
}

}  // namespace cuboid
