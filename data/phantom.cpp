// SPDX-License-Identifier: Apache-2.0
#include "data/phantom.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "data/optics.h"
#include "data/phantom_model.h"

namespace cuboid {
namespace {

enum Stream : std::uint64_t { cell_stream = 0x7068616e746f6d, noise_stream, field_stream, field_noise_stream };

/// Standard deviations of the noise before the reconstruction, which then lacks the same frequencies as the cell, and after it.
constexpr double noise_before = 6e-4, noise_after = 2e-4, noise_of_fields = 4e-4;

std::int64_t patients_of(const PhantomOptions& o, std::int64_t label) { return (o.patients + 1 - label) / 2; }
std::int64_t patient_index(const PhantomOptions& o, std::int64_t i) {
  const std::int64_t label = phantom_label(o, i);
  return label + 2 * (i / 2 % patients_of(o, label));
}

void check_options(const PhantomOptions& o) {
  check(o.cells >= 1 && o.cells <= 1'000'000, "phantom: ", o.cells, " cells; 1 to 1000000 make sense");
  check(o.size >= 16 && o.size <= 128 && std::has_single_bit(static_cast<std::uint64_t>(o.size)), "phantom: size ", o.size,
        " is not 16, 32, 64 or 128");
  check(o.patients >= 2 && o.patients <= 1000, "phantom: ", o.patients, " patients; at least one per class");
  check(o.noise >= 0 && o.noise <= 100, "phantom: noise ", o.noise, " is not within 0..100");
}

/// The voxels of a cube round the field's middle, and where they are.
struct Grid {
  std::int64_t n;
  std::array<double, 3> spacing{};
  Point centre;  // of the cell

  Grid(std::int64_t size, const Point& cell_centre) : n(size), centre(cell_centre) {
    for (std::size_t a = 0; a < 3; ++a) spacing[a] = phantom_field_um[a] / static_cast<double>(n);
  }
  double voxel_um3() const { return spacing[0] * spacing[1] * spacing[2]; }
  /// Of slice, row or column v, relative to the cell, in µm.
  double place(double v, std::size_t axis) const { return (v - static_cast<double>(n - 1) / 2) * spacing[axis] - centre[axis]; }
  double index_of(double um, std::size_t axis) const {
    return (um + centre[axis]) / spacing[axis] + static_cast<double>(n - 1) / 2;
  }
};

/// Adds a small ball, sampled 3x3x3 times a voxel. mask may be nullptr.
void add_blob(const Blob& b, const Grid& grid, float* ri, std::uint8_t* mask) {
  std::array<std::int64_t, 3> lo{}, hi{};
  for (std::size_t a = 0; a < 3; ++a) {
    const double reach = b.radius + grid.spacing[a];
    lo[a] = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(grid.index_of(b.centre[a] - reach, a))));
    hi[a] = std::min(grid.n - 1, static_cast<std::int64_t>(std::ceil(grid.index_of(b.centre[a] + reach, a))));
  }
  constexpr int fine = 3, samples = fine * fine * fine;
  for (std::int64_t z = lo[0]; z <= hi[0]; ++z)
    for (std::int64_t y = lo[1]; y <= hi[1]; ++y)
      for (std::int64_t x = lo[2]; x <= hi[2]; ++x) {
        int hits = 0;
        for (int k = 0; k < samples; ++k) {
          const auto sample = [&](std::int64_t v, std::size_t a, int part) {
            return grid.place(static_cast<double>(v) + (part + 0.5) / fine - 0.5, a);
          };
          const Point p = {sample(z, 0, k / (fine * fine)), sample(y, 1, k / fine % fine), sample(x, 2, k % fine)};
          const Point d = p - b.centre;
          hits += dot(d, d) < b.radius * b.radius;
        }
        const std::int64_t at = (z * grid.n + y) * grid.n + x;
        ri[at] += static_cast<float>(b.delta * hits / samples);
        if (mask && 2 * hits > samples) mask[at] = phantom_droplet;
      }
}

/// Fills cell.ri (above the medium), its mask and its figures.
void render(const CellModel& model, std::int64_t size, PhantomCell& cell) {
  const Grid grid(size, model.centre);
  const double voxel = std::cbrt(grid.voxel_um3());
  cell.ri = zeros({size, size, size});
  cell.mask = zeros({size, size, size}, {.dtype = DType::u8});
  float* ri = cell.ri.mutable_data<float>();
  auto* mask = cell.mask.mutable_data<std::uint8_t>();
  double inside = 0, sum = 0;
  std::int64_t at = 0;
  for (std::int64_t z = 0; z < size; ++z)
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t x = 0; x < size; ++x, ++at) {
        const Point p = {grid.place(static_cast<double>(z), 0), grid.place(static_cast<double>(y), 1),
                         grid.place(static_cast<double>(x), 2)};
        const CellModel::Matter m = model.at(p, voxel);
        ri[at] = static_cast<float>(m.delta);
        if (m.inside_cell > 0.5) mask[at] = m.nucleus > 0.5 ? phantom_nucleus : phantom_cytoplasm;
        inside += m.inside_cell;
      }
  for (const auto& b : model.nucleoli) add_blob(b, grid, ri, nullptr);
  for (const auto& b : model.droplets) add_blob(b, grid, ri, mask);
  for (std::int64_t v = 0; v < at; ++v) sum += mask[v] ? static_cast<double>(ri[v]) : 0;
  for (const auto& b : model.debris) add_blob(b, grid, ri, nullptr);
  cell.volume_um3 = inside * grid.voxel_um3();
  cell.mean_ri = phantom_medium_ri + sum / std::max(1.0, inside);
}

}  // namespace

const std::vector<std::string>& phantom_class_names() {
  static const std::vector<std::string> names = {"round", "lobed"};
  return names;
}

std::int64_t phantom_label(const PhantomOptions&, std::int64_t i) { return i % 2; }

std::string phantom_patient(const PhantomOptions& o, std::int64_t i) {
  const std::int64_t number = patient_index(o, i) + 1;
  return join_text(number < 10 ? "P0" : "P", number);
}

PhantomCell phantom_cell(const PhantomOptions& o, std::int64_t i) {
  check_options(o);
  check(i >= 0, "phantom: cell ", i);
  Random random(RandomKey{o.seed, cell_stream, 0}.derive(static_cast<std::uint64_t>(i)));
  PhantomCell cell{.label = phantom_label(o, i), .patient = phantom_patient(o, i)};
  const CellModel model(cell.label, PatientEffects(o.seed, patient_index(o, i), patients_of(o, 0)), random);
  cell.lobes = model.lobes;
  cell.droplets = static_cast<std::int64_t>(model.droplets.size());
  cell.radius_um = model.surface.radius();
  render(model, o.size, cell);

  const RandomKey noise = RandomKey{o.seed, noise_stream, 0}.derive(static_cast<std::uint64_t>(i));
  if (o.missing_cone) {
    add_noise(cell.ri, noise_before * o.noise, noise);
    image_through(cell.ri, Grid(o.size, {}).spacing);
  }
  add_noise(cell.ri, noise_after * o.noise, noise.derive(1));
  float* ri = cell.ri.mutable_data<float>();
  for (std::int64_t v = 0; v < cell.ri.size(); ++v) ri[v] += static_cast<float>(phantom_medium_ri);
  return cell;
}

// ---- fields -----------------------------------------------------------------------------------
namespace {

using Place = std::array<std::int64_t, 3>;

/// Of many places the one farthest from the cells that are there already.
Place find_place(const std::vector<Place>& taken, const Shape& shape, std::int64_t margin, Random& random) {
  Place best{};
  std::int64_t widest = -1;
  for (int attempt = 0; attempt < 100; ++attempt) {
    Place place{};
    for (int a = 0; a < 3; ++a) {
      const std::int64_t room = shape[a] - 2 * margin;
      place[static_cast<std::size_t>(a)] =
          room > 0 ? margin + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(room))) : shape[a] / 2;
    }
    std::int64_t nearest = std::int64_t{1} << 60;
    for (const auto& other : taken) {
      std::int64_t squares = 0;
      for (std::size_t a = 0; a < 3; ++a) squares += (place[a] - other[a]) * (place[a] - other[a]);
      nearest = std::min(nearest, squares);
    }
    if (nearest > widest) {
      widest = nearest;
      best = place;
    }
  }
  return best;
}

/// Adds what the cube has above the medium, its middle at `place`; what sticks out of the field is lost.
void paste(const Tensor& cube, const Tensor& field, const Place& place) {
  const float* in = cube.data<float>();
  float* out = field.mutable_data<float>();
  const std::int64_t n = cube.dim(0);
  for (std::int64_t z = 0; z < n; ++z)
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x) {
        const Place to = {place[0] - n / 2 + z, place[1] - n / 2 + y, place[2] - n / 2 + x};
        bool within = true;
        for (int a = 0; a < 3; ++a)
          within &= to[static_cast<std::size_t>(a)] >= 0 && to[static_cast<std::size_t>(a)] < field.dim(a);
        if (within)
          out[(to[0] * field.dim(1) + to[1]) * field.dim(2) + to[2]] +=
              in[(z * n + y) * n + x] - static_cast<float>(phantom_medium_ri);
      }
}

}  // namespace

PhantomField phantom_field(const PhantomOptions& o, std::int64_t first, std::int64_t count, const Shape& shape) {
  check_options(o);
  check(shape.rank() == 3 && count >= 1 && count <= 1000, "phantom: ", count, " cells in a field of shape ", shape);
  for (const auto n : shape)
    check(n >= o.size / 2 && n <= 1024, "phantom: a field of ", shape, " for cells of ", o.size, " voxels");
  PhantomOptions quiet = o;
  quiet.noise = 0;
  const auto id = static_cast<std::uint64_t>(first);
  Random random(RandomKey{o.seed, field_stream, 0}.derive(id));
  PhantomField field;
  field.ri = full(shape, phantom_medium_ri);
  for (std::int64_t i = first; i < first + count; ++i) {
    field.centres.push_back(find_place(field.centres, shape, o.size * 3 / 8, random));
    field.cells.push_back(i);
    paste(phantom_cell(quiet, i).ri, field.ri, field.centres.back());
  }
  add_noise(field.ri, noise_of_fields * o.noise, RandomKey{o.seed, field_noise_stream, 0}.derive(id));
  return field;
}

}  // namespace cuboid
