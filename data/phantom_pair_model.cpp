// SPDX-License-Identifier: Apache-2.0
#include "data/phantom_pair_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/phantom_pair.h"

namespace cuboid {
namespace {

constexpr double pi = std::numbers::pi;

Point along(const Point& direction, double distance) {
  return {direction[0] * distance, direction[1] * distance, direction[2] * distance};
}
Point operator+(const Point& a, const Point& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
double share_inside(double d, double voxel) { return std::clamp(0.5 - d / voxel, 0.0, 1.0); }

/// Radius of the ball that keeps the volume of one of `radius` when a wall cuts it along a circle of radius `contact`.
double spread_radius(double radius, double contact) {
  double r = radius;
  for (int round = 0; round < 20; ++round) {
    const double height = r - std::sqrt(std::max(0.0, r * r - contact * contact));
    const double cap = pi * height * height * (3 * r - height) / 3;
    r = std::cbrt(radius * radius * radius + 3 * cap / (4 * pi));
  }
  return r;
}

/// How much of a voxel at p a small ball fills.
double ball_share(const Blob& b, const Point& p, double voxel) {
  const double d = length(p - b.centre) - b.radius;
  if (d > voxel) return 0;
  if (d < -voxel) return 1;
  int hits = 0;
  for (int k = 0; k < 27; ++k) {
    const auto part = [&](int i) { return voxel * (i - 1) / 3.0; };
    const Point sample = p + Point{part(k / 9), part(k / 3 % 3), part(k % 3)};
    hits += length(sample - b.centre) < b.radius;
  }
  return hits / 27.0;
}

/// How far a surface reaches from its centre along each axis.
struct Extent {
  Point below{}, above{};
  Extent() = default;
  explicit Extent(const Surface& surface) {
    constexpr int directions = 600;  // on a Fibonacci spiral
    for (int i = 0; i < directions; ++i) {
      const double z = 1 - (2 * i + 1.0) / directions, r = std::sqrt(1 - z * z), angle = i * pi * (3 - std::sqrt(5.0));
      const Point p = along({z, r * std::sin(angle), r * std::cos(angle)}, surface.radius());
      const double reach = 1 - surface.distance(p) / surface.radius();
      for (std::size_t a = 0; a < 3; ++a) {
        above[a] = std::max(above[a], reach * p[a]);
        below[a] = std::max(below[a], -reach * p[a]);
      }
    }
  }
};

}  // namespace

PairCell::PairCell(int kind, Random& random) : texture(random) {
  const bool k562 = kind == 1;
  radius = k562 ? std::clamp(random.normal(5.9, 0.35), 5.2, 6.6) : std::clamp(random.normal(3.9, 0.25), 3.4, 4.4);
  cytoplasm = k562 ? random.normal(0.0165, 0.0014) : random.normal(0.0190, 0.0014);
  chromatin = k562 ? random.normal(0.0060, 0.0008) : random.normal(0.0070, 0.0008);
  grain = (k562 ? 0.0046 : 0.0032) * random.uniform(0.8, 1.2);
  pitch = k562 ? 0.75 : 0.45;
  const double volume = 4 / 3.0 * pi * radius * radius * radius;
  const Point offset = along(random_direction(random), random.uniform(0, 0.08) * radius);
  const int lobes = k562 && random.chance(0.5) ? 2 : 1;
  nucleus = Nucleus(lobes, 0.25 * radius, 1.2, volume * (k562 ? random.uniform(0.26, 0.34) : random.uniform(0.36, 0.46)), offset,
                    random);
  const auto wanted = static_cast<std::size_t>(k562 ? 7 + random.below(9) : random.below(3));
  for (int attempt = 0; attempt < 600 && droplets.size() < wanted; ++attempt) {
    const Point p = along(random_direction(random), radius * std::cbrt(random.uniform(0.1, 0.8)));
    const Blob drop{p, k562 ? random.uniform(0.30, 0.60) : random.uniform(0.22, 0.35), random.uniform(0.030, 0.050)};
    if (length(p) + drop.radius < 0.85 * radius && nucleus.distance(p) > 0.5 * drop.radius) droplets.push_back(drop);
  }
}

double PairCell::matter(const Point& p, double depth, double voxel) const {
  const double in_nucleus = share_inside(std::max(nucleus.distance(p), 0.4 - depth), voxel);
  const double speckle = static_cast<double>(texture(along(p, 1 / (in_nucleus > 0.5 ? 0.7 * pitch : pitch))));
  const double membrane = 0.0022 * std::exp(-(depth - 0.2) * (depth - 0.2) / (0.2 * 0.2));
  double delta = cytoplasm + in_nucleus * chromatin + grain * speckle + membrane;
  for (const auto& b : droplets) delta += b.delta * ball_share(b, p, voxel);
  return delta;
}

PairModel::PairModel(const RandomKey& key, const Encounter& now, const Encounter& widest)
    : cells_([&] {
        Random first(key.derive(0)), second(key.derive(1));
        return std::array<PairCell, 2>{PairCell(0, first), PairCell(1, second)};
      }()),
      now_(now) {
  Random random(key.derive(2));
  const double azimuth = random.uniform(0, 2 * pi), lift = random.uniform(-0.4, 0.4), flat = std::sqrt(1 - lift * lift);
  towards_ = {lift, flat * std::sin(azimuth), flat * std::cos(azimuth)};
  curvature_ = random.uniform(-0.02, 0.03);
  const auto spread_surface = [&](std::size_t k, double contact) {
    Random bumps(key.derive(3 + k));
    const double radius = cells_[k].radius;
    return Surface(spread_radius(radius, std::min(contact, 0.9 * radius)), bumps);
  };
  std::array<double, 2> to_wall{};
  double apart = widest.gap;  // between the centres, at most
  std::array<Extent, 2> extents;
  for (std::size_t k = 0; k < 2; ++k) {
    cells_[k].surface = spread_surface(k, now.contact);
    to_wall[k] = wall_distance(cells_[k].surface, k, now.contact) + now.gap / 2;
    const Surface wide = spread_surface(k, widest.contact);
    apart += wall_distance(wide, k, widest.gap > 0 ? 0 : widest.contact);
    extents[k] = Extent(wide);
  }
  // The pair lies anywhere in the field that leaves room for its widest frame; cell 1 keeps its place.
  for (std::size_t a = 0; a < 3; ++a) {
    const double half = phantom_pair_field_um[a] / 2 - 0.6, other = -towards_[a] * apart;  // cell 0 relative to cell 1
    const double low = std::max(extents[1].below[a], extents[0].below[a] - other);
    const double high = std::max(extents[1].above[a], extents[0].above[a] + other);
    const double room = std::max(0.0, 2 * half - low - high), share = random.uniform();
    cells_[1].centre[a] = room > 0 ? low - half + share * room : (low - high) / 2;
  }
  wall_ = cells_[1].centre + along(towards_, -to_wall[1]);
  cells_[0].centre = wall_ + along(towards_, -to_wall[0]);
  for (std::uint64_t i = 0, n = random.below(4); i < n; ++i) {
    const double away = 1.15 * cells_[1].radius + random.uniform(0.8, 3.0);
    const Point p = cells_[1].centre + along(random_direction(random), away);
    const Blob b{p, random.chance(0.3) ? random.uniform(0.6, 1.1) : random.uniform(0.2, 0.45), random.uniform(0.006, 0.016)};
    if (length(p - cells_[0].centre) > 1.25 * cells_[0].radius + b.radius + 0.4) debris_.push_back(b);
  }
}

std::array<Point, 2> PairModel::across() const {
  Point a = {towards_[2], 0, -towards_[0]};
  if (length(a) < 0.1) a = {0, -towards_[2], towards_[1]};
  a = along(a, 1 / length(a));
  const Point b = {towards_[1] * a[2] - towards_[2] * a[1], towards_[2] * a[0] - towards_[0] * a[2],
                   towards_[0] * a[1] - towards_[1] * a[0]};
  return {a, b};
}

double PairModel::wall_distance(const Surface& surface, std::size_t k, double contact) const {
  const Point ahead = along(towards_, k == 0 ? 1 : -1);
  const auto [a, b] = across();
  constexpr int rays = 24;
  const auto halved = [](double low, double high, auto&& below) {
    for (int round = 0; round < 16; ++round) {
      const double middle = (low + high) / 2;
      (below(middle) ? low : high) = middle;
    }
    return low;
  };
  // Radius of the disc whose area is that of the cell's section with the wall at this height.
  const auto section = [&](double height) {
    double squares = 0;
    for (int i = 0; i < rays; ++i) {
      const double angle = 2 * pi * i / rays;
      const Point out = along(a, std::cos(angle)) + along(b, std::sin(angle));
      const double reach = halved(0, 1.5 * surface.radius(), [&](double r) {
        const double at = height + (k == 0 ? bulge(r * r) : -bulge(r * r));
        return surface.distance(along(ahead, at) + along(out, r)) < 0;
      });
      squares += reach * reach / rays;
    }
    return std::sqrt(squares);
  };
  return halved(0.3 * surface.radius(), 1.4 * surface.radius(), [&](double height) { return section(height) > contact + 1e-3; });
}

double PairModel::bulge(double squared_radius) const {
  constexpr double reach = 36;  // µm²: flat far from the contact
  return curvature_ * std::min(squared_radius, reach);
}

double PairModel::beyond_wall(const Point& p) const {
  const Point q = p - wall_;
  const double height = dot(q, towards_);
  return height - bulge(dot(q, q) - height * height);
}

double PairModel::groove(const Point& p, double wall) const {
  if (now_.gap > 0) return std::min(0.3, now_.gap / 2);
  constexpr double deep = 0.6, steep = 4;
  if (std::abs(wall) > deep) return 0;
  const Point foot = p + along(towards_, -wall);
  double beyond = 0;  // how far outside of one of the cells the wall is here
  for (const auto& c : cells_) beyond = std::max(beyond, c.surface.distance(foot - c.centre));
  return std::min(deep, steep * beyond);
}

PairModel::Matter PairModel::at(const Point& p, double voxel) const {
  Matter m;
  const double wall = beyond_wall(p), half_gap = groove(p, wall);
  for (std::size_t k = 0; k < 2; ++k) {
    const Point q = p - cells_[k].centre;
    const double border = std::max(cells_[k].surface.distance(q), (k == 0 ? wall : -wall) + half_gap);
    if (border < 0 || (border == 0 && k == 0)) m.label = static_cast<int>(k) + 1;
    m.share[k] = share_inside(border, voxel);
    if (m.share[k] > 0) m.part[k] = m.share[k] * cells_[k].matter(q, -border, voxel);
    m.delta += m.part[k];
  }
  if (m.share[0] + m.share[1] == 0)
    for (const auto& b : debris_) m.delta += b.delta * ball_share(b, p, voxel);
  return m;
}

double PairModel::contact_area() const {
  if (now_.gap > 0 || now_.contact == 0) return 0;
  const auto [a, b] = across();
  constexpr double step = 0.04;
  const auto reach = static_cast<int>(1.3 * cells_[0].surface.radius() / step);
  double area = 0;
  for (int i = -reach; i <= reach; ++i)
    for (int j = -reach; j <= reach; ++j) {
      const double u = i * step, v = j * step, squares = u * u + v * v;
      const Point p = wall_ + along(a, u) + along(b, v) + along(towards_, bulge(squares));
      bool inside = true;
      for (const auto& c : cells_) inside = inside && c.surface.distance(p - c.centre) < 0;
      if (inside) area += step * step * std::sqrt(1 + 4 * curvature_ * curvature_ * squares);
    }
  return area;
}

}  // namespace cuboid
