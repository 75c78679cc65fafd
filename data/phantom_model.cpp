// SPDX-License-Identifier: Apache-2.0
#include "data/phantom_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cuboid {
namespace {

constexpr std::uint64_t patient_stream = 0x70617469656e74;  // "patient"

std::int64_t poisson(double rate, Random& random) {  // Knuth's product of uniform numbers
  std::int64_t n = 0;
  for (double product = random.uniform(), limit = std::exp(-rate); product > limit; product *= random.uniform()) ++n;
  return n;
}

Point along(const Point& direction, double distance) {
  return {direction[0] * distance, direction[1] * distance, direction[2] * distance};
}

/// How much of a voxel of this edge lies inside a surface at signed distance d.
double share_inside(double d, double voxel) { return std::clamp(0.5 - d / voxel, 0.0, 1.0); }

}  // namespace

PatientEffects::PatientEffects(std::uint64_t seed, std::int64_t patient, std::int64_t patients_per_class) {
  std::uint64_t effect = 0;
  const auto draw = [&] {
    const RandomKey key = RandomKey{seed, patient_stream, 0}.derive(effect++);
    const auto order = permutation(key.derive(static_cast<std::uint64_t>(patient % 2)), patients_per_class);
    return random_normal(key, static_cast<std::uint64_t>(order[static_cast<std::size_t>(patient / 2)]));
  };
  radius = 0.18 * draw();
  cytoplasm = 0.0016 * draw();
  nucleus = 0.0010 * draw();
  droplets = std::exp(0.25 * draw());
  lobing = 0.10 * draw();
  texture = std::exp(0.2 * draw());
}

Texture::Texture(Random& random) : values_(cells * cells * cells) {
  for (auto& v : values_) v = static_cast<float>(random.uniform(-1, 1));
}

float Texture::operator()(const Point& p) const {
  std::size_t low[3], high[3];
  float t[3];
  for (std::size_t a = 0; a < 3; ++a) {
    const double whole = std::floor(p[a]);
    t[a] = static_cast<float>(p[a] - whole);
    low[a] = static_cast<std::size_t>(static_cast<std::int64_t>(whole)) % cells;
    high[a] = (low[a] + 1) % cells;
  }
  const auto mix = [](float a, float b, float share) { return a + (b - a) * share; };
  const auto row = [&](std::size_t z, std::size_t y) {
    const float* values = values_.data() + (z * cells + y) * cells;
    return mix(values[low[2]], values[high[2]], t[2]);
  };
  const auto plane = [&](std::size_t z) { return mix(row(z, low[1]), row(z, high[1]), t[1]); };
  return mix(plane(low[0]), plane(high[0]), t[0]);
}

CellModel::CellModel(std::int64_t label, const PatientEffects& patient, Random& random) : texture(random) {
  surface = Surface(std::clamp(3.45 + patient.radius + random.normal(0, 0.2), 2.7, 4.1), random);
  for (auto& c : centre) c = random.normal(0, 0.15);
  cytoplasm = 0.0150 + patient.cytoplasm + random.normal(0, 0.0012);
  chromatin = 0.0090 + patient.nucleus + random.normal(0, 0.0008);
  grain = 0.0042 * patient.texture;
  draw_nucleus(label, patient, random);
  draw_blobs(label, patient, random);
}

/// Both kinds of nucleus have the same volume. Round ones are dented now and then, lobed ones are sometimes nearly fused.
void CellModel::draw_nucleus(std::int64_t label, const PatientEffects& patient, Random& random) {
  const double radius = surface.radius();
  const double volume = random.uniform(0.24, 0.32) * 4 / 3 * std::numbers::pi * std::pow(radius, 3);
  const Point shift = random_direction(random), offset = along(shift, random.uniform(0, 0.08) * radius);
  double arc = 0.20 * radius, gap = std::max(0.3, 1.2 + patient.lobing);
  if (label == 0) {
    lobes = random.chance(0.12) ? 2 : 1;
  } else {
    const double kind = random.uniform();
    lobes = kind < 0.3 ? 2 : kind < 0.8 ? 3 : 4;
    arc = std::clamp(0.48 + 0.3 * patient.lobing + random.normal(0, 0.03), 0.40, 0.56) * radius;
    gap = lobes == 2 ? random.uniform(2.0, 2.8) : lobes == 3 ? random.uniform(1.5, 2.0) : random.uniform(1.3, 1.55);
  }
  nucleus = Nucleus(lobes, arc, gap, volume, offset, random);
}

/// Nucleoli and debris are the same in both classes; droplets differ in number, with much overlap.
void CellModel::draw_blobs(std::int64_t label, const PatientEffects& patient, Random& random) {
  const double radius = surface.radius();
  for (std::uint64_t i = 0, n = 1 + random.below(2); i < n; ++i)
    nucleoli.push_back({nucleus.random_inside(random), random.uniform(0.35, 0.6), random.uniform(0.006, 0.010)});
  const std::int64_t wanted = std::clamp<std::int64_t>(poisson((label == 0 ? 4.0 : 8.0) * patient.droplets, random), 1, 24);
  for (int attempt = 0; attempt < 400 && static_cast<std::int64_t>(droplets.size()) < wanted; ++attempt) {
    const Point direction = random_direction(random);
    const Point p = along(direction, radius * std::cbrt(random.uniform(0.05, 0.85)));
    const Blob drop{p, random.uniform(0.18, 0.40), random.uniform(0.040, 0.060)};
    if (surface.distance(p) < -drop.radius - 0.1 && nucleus.distance(p) > 0.6 * drop.radius) droplets.push_back(drop);
  }
  for (std::int64_t i = 0, n = poisson(0.7, random); i < n; ++i) {
    const Point direction = random_direction(random);
    const Point p = along(direction, radius + random.uniform(0.6, 1.6));
    debris.push_back({p, random.uniform(0.15, 0.35), random.uniform(0.006, 0.016)});
  }
}

CellModel::Matter CellModel::at(const Point& p, double voxel) const {
  const double border = surface.distance(p);
  Matter m{.inside_cell = share_inside(border, voxel)};
  if (m.inside_cell == 0) return m;
  m.nucleus = share_inside(std::max(nucleus.distance(p), border + 0.2), voxel);
  // The texture's grid is 0.5 µm in the cytoplasm, finer in the chromatin.
  const bool fine = m.nucleus > 0.5;
  const double pitch = fine ? 0.36 : 0.5, speckle = (fine ? 0.7 : 1.0) * static_cast<double>(texture(along(p, 1 / pitch)));
  const double depth = (border + 0.2) / 0.2, membrane = 0.002 * std::exp(-depth * depth);
  m.delta = m.inside_cell * (cytoplasm + m.nucleus * chromatin + grain * speckle + membrane);
  return m;
}

}  // namespace cuboid
