// SPDX-License-Identifier: Apache-2.0
#include "data/phantom.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "data/optics.h"
#include "data/phantom_shape.h"

namespace cuboid {
namespace {

enum Stream : std::uint64_t { cell_stream = 0x7068616e746f6d, patient_stream, voxel_stream, field_stream };

std::int64_t patients_of(const PhantomOptions& o, std::int64_t label) { return (o.patients + 1 - label) / 2; }
std::int64_t patient_index(const PhantomOptions& o, std::int64_t i) {
  const std::int64_t label = i % 2;
  return label + 2 * (i / 2 % patients_of(o, label));
}

void check_options(const PhantomOptions& o) {
  check(o.cells >= 1 && o.cells <= 1'000'000, "phantom: ", o.cells, " cells; 1 to 1000000 make sense");
  check(o.size >= 16 && o.size <= 128 && std::has_single_bit(static_cast<std::uint64_t>(o.size)), "phantom: size ", o.size,
        " is not 16, 32, 64 or 128");
  check(o.patients >= 2 && o.patients <= 1000, "phantom: ", o.patients, " patients; at least one per class");
  check(o.noise >= 0 && o.noise <= 100, "phantom: noise ", o.noise, " is not within 0..100");
}

/// What all cells of a patient share: without it, cells of one patient would say nothing about each other. Both classes get
/// the same values of each effect, in orders of their own, so that no class is larger or brighter by luck of few patients.
struct PatientEffects {
  double radius, cytoplasm, nucleus, droplets, lobing, texture;

  PatientEffects(const PhantomOptions& o, std::int64_t patient) {
    std::uint64_t effect = 0;
    const auto draw = [&] {
      const RandomKey key = RandomKey{o.seed, patient_stream, 0}.derive(effect++);
      const auto order = permutation(key.derive(static_cast<std::uint64_t>(patient % 2)), patients_of(o, 0));
      return random_normal(key, static_cast<std::uint64_t>(order[static_cast<std::size_t>(patient / 2)]));
    };
    radius = 0.18 * draw();
    cytoplasm = 0.0016 * draw();
    nucleus = 0.0010 * draw();
    droplets = std::exp(0.25 * draw());
    lobing = 0.10 * draw();
    texture = std::exp(0.2 * draw());
  }
};

/// Smooth random field: values on a coarse grid that repeats, interpolated.
class Texture {
 public:
  explicit Texture(Random& random) : values_(cells * cells * cells) {
    for (auto& v : values_) v = static_cast<float>(random.uniform(-1, 1));
  }
  /// At a point in units of the grid.
  float operator()(double z, double y, double x) const {
    const double fz = std::floor(z), fy = std::floor(y), fx = std::floor(x);
    const auto tz = static_cast<float>(z - fz), ty = static_cast<float>(y - fy), tx = static_cast<float>(x - fx);
    const auto wrap = [](double v, int step) { return (static_cast<std::size_t>(static_cast<std::int64_t>(v) + step)) % cells; };
    const std::size_t zs[] = {wrap(fz, 0), wrap(fz, 1)}, ys[] = {wrap(fy, 0), wrap(fy, 1)}, xs[] = {wrap(fx, 0), wrap(fx, 1)};
    const auto mix = [](float a, float b, float t) { return a + (b - a) * t; };
    const auto row = [&](std::size_t iz, std::size_t iy) {
      const float* p = values_.data() + (iz * cells + iy) * cells;
      return mix(p[xs[0]], p[xs[1]], tx);
    };
    return mix(mix(row(zs[0], ys[0]), row(zs[0], ys[1]), ty), mix(row(zs[1], ys[0]), row(zs[1], ys[1]), ty), tz);
  }

 private:
  static constexpr std::size_t cells = 16;
  std::vector<float> values_;
};

struct Blob {
  Point centre;
  double radius, delta;
};

/// A cell in µm: shapes and refractive indices, everything random already drawn.
struct CellModel {
  Surface surface;
  Nucleus nucleus;
  Point centre;  // of the cell, relative to the middle of the field
  double cytoplasm = 0, chromatin = 0, grain = 0;
  std::vector<Blob> nucleoli, droplets, debris;
  int lobes = 1;
  Texture texture;

  CellModel(std::int64_t label, const PatientEffects& patient, Random& r) : texture(r) {
    const double radius = std::clamp(3.45 + patient.radius + r.normal(0, 0.2), 2.7, 4.1);
    surface = Surface(radius, 1, r);
    for (auto& c : centre) c = r.normal(0, 0.15);
    cytoplasm = 0.0150 + patient.cytoplasm + r.normal(0, 0.0012);
    chromatin = 0.0075 + patient.nucleus + r.normal(0, 0.0008);
    grain = 0.0042 * patient.texture;

    // Both kinds of nucleus have the same volume. Round ones are dented now and then, lobed ones nearly fused.
    const double volume = r.uniform(0.30, 0.40) * 4 / 3 * std::numbers::pi * std::pow(radius, 3);
    Point offset{};
    const Point shift = random_direction(r);
    for (std::size_t a = 0; a < 3; ++a) offset[a] = shift[a] * r.uniform(0, 0.12) * radius;
    if (label == 0) {
      lobes = r.chance(0.15) ? 2 : 1;
      nucleus = Nucleus(lobes, 0.22 * radius, std::max(0.3, 1.2 + patient.lobing), volume, offset, r);
    } else {
      const double kind = r.uniform();
      lobes = kind < 0.3 ? 2 : kind < 0.8 ? 3 : 4;
      const double arc = (0.46 + 0.3 * patient.lobing + r.normal(0, 0.03)) * radius;
      const double gap = lobes == 2 ? r.uniform(2.0, 2.8) : lobes == 3 ? r.uniform(1.25, 1.75) : r.uniform(1.1, 1.4);
      nucleus = Nucleus(lobes, std::clamp(arc, 0.36 * radius, 0.56 * radius), gap, volume, offset, r);
    }
    for (std::uint64_t i = 0, n = 1 + r.below(2); i < n; ++i)
      nucleoli.push_back({nucleus.random_inside(r), r.uniform(0.35, 0.6), r.uniform(0.006, 0.010)});

    const double rate = (label == 0 ? 4.0 : 7.5) * patient.droplets;
    const std::int64_t wanted = std::clamp<std::int64_t>(poisson(rate, r), 1, 24);
    for (int attempt = 0; attempt < 400 && static_cast<std::int64_t>(droplets.size()) < wanted; ++attempt) {
      const Point u = random_direction(r);
      const double at = radius * std::cbrt(r.uniform(0.05, 0.85)), size = r.uniform(0.18, 0.40), delta = r.uniform(0.040, 0.060);
      const Point p = {u[0] * at, u[1] * at, u[2] * at};
      if (surface.distance(p) < -size - 0.1 && nucleus.distance(p) > 0.6 * size) droplets.push_back({p, size, delta});
    }
    for (std::int64_t i = 0, n = poisson(0.7, r); i < n; ++i) {
      const Point u = random_direction(r);
      const double at = radius + r.uniform(0.6, 1.6);
      debris.push_back({{u[0] * at, u[1] * at, u[2] * at}, r.uniform(0.15, 0.35), r.uniform(0.006, 0.016)});
    }
  }

  static std::int64_t poisson(double rate, Random& r) {  // Knuth's product of uniforms
    std::int64_t n = 0;
    for (double product = r.uniform(), limit = std::exp(-rate); product > limit; product *= r.uniform()) ++n;
    return n;
  }
};

/// How much of a voxel of this size lies inside a surface at signed distance d.
double inside(double d, double voxel) { return std::clamp(0.5 - d / voxel, 0.0, 1.0); }

/// Adds a small ball. Balls of less than a voxel keep their total by the ramp's width.
void add_blob(const Blob& b, const Point& cell_centre, const std::array<double, 3>& spacing, std::int64_t n, float* ri,
              std::uint8_t* mask) {
  std::array<std::int64_t, 3> lo{}, hi{};
  Point middle{};
  for (std::size_t a = 0; a < 3; ++a) {
    middle[a] = (b.centre[a] + cell_centre[a]) / spacing[a] + static_cast<double>(n - 1) / 2;
    const double reach = b.radius / spacing[a] + 1.5;
    lo[a] = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(middle[a] - reach)));
    hi[a] = std::min(n - 1, static_cast<std::int64_t>(std::ceil(middle[a] + reach)));
  }
  constexpr int fine = 3;  // samples along each edge of a voxel
  for (std::int64_t z = lo[0]; z <= hi[0]; ++z)
    for (std::int64_t y = lo[1]; y <= hi[1]; ++y)
      for (std::int64_t x = lo[2]; x <= hi[2]; ++x) {
        int hits = 0;
        for (int k = 0; k < fine * fine * fine; ++k) {
          const auto at = [&](std::int64_t i, std::size_t a, int part) {
            return (static_cast<double>(i) + (part + 0.5) / fine - 0.5 - middle[a]) * spacing[a];
          };
          const double dz = at(z, 0, k / (fine * fine)), dy = at(y, 1, k / fine % fine), dx = at(x, 2, k % fine);
          hits += dz * dz + dy * dy + dx * dx < b.radius * b.radius;
        }
        const std::int64_t i = (z * n + y) * n + x;
        ri[i] += static_cast<float>(b.delta * hits / (fine * fine * fine));
        if (mask && 2 * hits > fine * fine * fine) mask[i] = phantom_droplet;
      }
}

/// Nearly normal numbers (sums of four uniform ones), four voxels a block.
void add_noise(float* values, std::int64_t count, double deviation, const RandomKey& key) {
  const auto scale = static_cast<float>(deviation * std::sqrt(3.0) / 65536.0);
  for (std::int64_t i = 0; i < count; i += 4) {
    const Words4 words = key.block(static_cast<std::uint64_t>(i / 4));
    for (std::int64_t k = 0; k < std::min<std::int64_t>(4, count - i); ++k) {
      const std::uint64_t w = words.word[k];
      const auto sum = static_cast<std::int32_t>((w & 0xffff) + (w >> 16 & 0xffff) + (w >> 32 & 0xffff) + (w >> 48));
      values[i + k] += scale * static_cast<float>(sum - 131070);
    }
  }
}

}  // namespace

const std::vector<std::string>& phantom_class_names() {
  static const std::vector<std::string> names = {"round", "lobed"};
  return names;
}

std::int64_t phantom_label(const PhantomOptions&, std::int64_t i) { return i % 2; }

std::string phantom_patient(const PhantomOptions& o, std::int64_t i) {
  const std::string number = std::to_string(patient_index(o, i) + 1);
  return "P" + std::string(number.size() < 2 ? 1 : 0, '0') + number;
}

PhantomCell phantom_cell(const PhantomOptions& o, std::int64_t i) {
  check_options(o);
  check(i >= 0, "phantom: cell ", i);
  Random random(RandomKey{o.seed, cell_stream, 0}.derive(static_cast<std::uint64_t>(i)));
  PhantomCell cell;
  cell.label = phantom_label(o, i);
  cell.patient = phantom_patient(o, i);
  const CellModel model(cell.label, PatientEffects(o, patient_index(o, i)), random);
  cell.lobes = model.lobes;
  cell.droplets = static_cast<std::int64_t>(model.droplets.size());
  cell.radius_um = model.surface.radius();

  const std::int64_t n = o.size;
  std::array<double, 3> spacing{};
  for (std::size_t a = 0; a < 3; ++a) spacing[a] = phantom_field_um[a] / static_cast<double>(n);
  const double voxel = std::cbrt(spacing[0] * spacing[1] * spacing[2]);
  cell.ri = zeros({n, n, n});
  cell.mask = zeros({n, n, n}, {.dtype = DType::u8});
  float* ri = cell.ri.mutable_data<float>();
  auto* mask = cell.mask.mutable_data<std::uint8_t>();
  double volume = 0, sum = 0;
  for (std::int64_t z = 0, at = 0; z < n; ++z)
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x, ++at) {
        const auto place = [&](std::int64_t v, std::size_t a) {
          return (static_cast<double>(v) - static_cast<double>(n - 1) / 2) * spacing[a] - model.centre[a];
        };
        const Point p = {place(z, 0), place(y, 1), place(x, 2)};
        const double border = model.surface.distance(p), share = inside(border, voxel);
        if (share == 0) continue;
        const double nucleus = inside(std::max(model.nucleus.distance(p), border + 0.2), voxel);
        // The texture's grid is 0.5 µm in the cytoplasm, finer in the chromatin.
        const double grain =
            model.grain * static_cast<double>(nucleus > 0.5 ? 0.7f * model.texture(p[0] / 0.36 + 7, p[1] / 0.36, p[2] / 0.36)
                                                            : model.texture(p[0] / 0.5, p[1] / 0.5, p[2] / 0.5));
        const double membrane = 0.002 * std::exp(-std::pow((border + 0.2) / 0.2, 2));
        ri[at] = static_cast<float>(share * (model.cytoplasm + nucleus * model.chromatin + grain + membrane));
        if (share > 0.5) mask[at] = nucleus > 0.5 ? phantom_nucleus : phantom_cytoplasm;
        volume += share;
      }
  for (const auto& b : model.nucleoli) add_blob(b, model.centre, spacing, n, ri, nullptr);
  for (const auto& b : model.droplets) add_blob(b, model.centre, spacing, n, ri, mask);
  for (std::int64_t v = 0; v < n * n * n; ++v) sum += mask[v] ? static_cast<double>(ri[v]) : 0;
  for (const auto& b : model.debris) add_blob(b, model.centre, spacing, n, ri, nullptr);
  cell.volume_um3 = volume * voxel * voxel * voxel;
  cell.mean_ri = phantom_medium_ri + sum / std::max(1.0, volume);

  const RandomKey noise = RandomKey{o.seed, voxel_stream, 0}.derive(static_cast<std::uint64_t>(i));
  if (o.missing_cone) {  // most noise comes before the reconstruction and lacks the same frequencies
    add_noise(ri, n * n * n, 6e-4 * o.noise, noise);
    image_through(cell.ri, spacing);
  }
  add_noise(ri, n * n * n, 2e-4 * o.noise, noise.derive(1));
  for (std::int64_t v = 0; v < n * n * n; ++v) ri[v] += static_cast<float>(phantom_medium_ri);
  return cell;
}

PhantomField phantom_field(const PhantomOptions& o, std::int64_t first, std::int64_t count, const Shape& shape) {
  check_options(o);
  check(shape.rank() == 3 && count >= 1 && count <= 1000, "phantom: ", count, " cells in a field of shape ", shape);
  for (const auto n : shape)
    check(n >= o.size / 2 && n <= 1024, "phantom: a field of ", shape, " for cells of ", o.size, " voxels");
  PhantomOptions quiet = o;
  quiet.noise = 0;
  Random random(RandomKey{o.seed, field_stream, 0}.derive(static_cast<std::uint64_t>(first)));
  PhantomField field;
  field.ri = full(shape, phantom_medium_ri);
  float* out = field.ri.mutable_data<float>();
  for (std::int64_t c = 0; c < count; ++c) {
    // Of many places the one farthest from the cells that are there already.
    std::array<std::int64_t, 3> best{};
    double widest = -1;
    for (int attempt = 0; attempt < 100; ++attempt) {
      std::array<std::int64_t, 3> place{};
      for (std::size_t a = 0; a < 3; ++a) {
        const std::int64_t margin = o.size * 3 / 8, room = shape[static_cast<int>(a)] - 2 * margin;
        place[a] = room > 0 ? margin + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(room)))
                            : shape[static_cast<int>(a)] / 2;
      }
      double nearest = 1e9;
      for (const auto& other : field.centres) {
        double squares = 0;
        for (std::size_t a = 0; a < 3; ++a) squares += std::pow(static_cast<double>(place[a] - other[a]), 2);
        nearest = std::min(nearest, squares);
      }
      if (nearest > widest) {
        widest = nearest;
        best = place;
      }
    }
    const PhantomCell cell = phantom_cell(quiet, first + c);
    const float* in = cell.ri.data<float>();
    for (std::int64_t z = 0; z < o.size; ++z)
      for (std::int64_t y = 0; y < o.size; ++y)
        for (std::int64_t x = 0; x < o.size; ++x) {
          const std::int64_t to[3] = {best[0] - o.size / 2 + z, best[1] - o.size / 2 + y, best[2] - o.size / 2 + x};
          if (to[0] < 0 || to[1] < 0 || to[2] < 0 || to[0] >= shape[0] || to[1] >= shape[1] || to[2] >= shape[2]) continue;
          out[(to[0] * shape[1] + to[1]) * shape[2] + to[2]] +=
              in[(z * o.size + y) * o.size + x] - static_cast<float>(phantom_medium_ri);
        }
    field.centres.push_back(best);
    field.cells.push_back(first + c);
  }
  add_noise(out, field.ri.size(), 4e-4 * o.noise, RandomKey{o.seed, voxel_stream, 1}.derive(static_cast<std::uint64_t>(first)));
  return field;
}

}  // namespace cuboid
