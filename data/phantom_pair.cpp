// SPDX-License-Identifier: Apache-2.0
#include "data/phantom_pair.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "data/optics.h"
#include "data/phantom.h"
#include "data/phantom_pair_model.h"

namespace cuboid {
namespace {

enum Stream : std::uint64_t { pair_stream = 0x70616972, encounter_stream, noise_stream };

/// Before the reconstruction, which then lacks the same frequencies as the cells, and after it.
constexpr double noise_before = 6e-4, noise_after = 2e-4;

void check_options(const PhantomPairOptions& o) {
  check(o.pairs >= 1 && o.pairs <= 1'000'000, "phantom: ", o.pairs, " pairs; 1 to 1000000 make sense");
  check(o.frames >= 1 && o.frames <= 10'000, "phantom: ", o.frames, " frames; 1 to 10000 make sense");
  check(o.size >= 32 && o.size <= 256 && std::has_single_bit(static_cast<std::uint64_t>(o.size)), "phantom: size ", o.size,
        " is not 32, 64, 128 or 256");
  check(o.noise >= 0 && o.noise <= 100, "phantom: noise ", o.noise, " is not within 0..100");
}

/// Single frames: four of five pairs touch. In a time-lapse the gap closes in the first quarter, then the contact grows as the
/// square root of time does: its area steadily.
struct Meeting {
  Encounter now, widest;
  Meeting(const PhantomPairOptions& o, std::int64_t i, std::int64_t frame) {
    Random random(RandomKey{o.seed, encounter_stream, 0}.derive(static_cast<std::uint64_t>(i)));
    const double gap = random.uniform(0.8, 2.0), contact = random.uniform(1.9, 3.3);
    if (o.frames == 1) {
      if (i % 5 == 4) now.gap = gap;
      else now.contact = contact;
      widest = now;
      return;
    }
    widest = {gap, contact};
    const double time = static_cast<double>(frame) / static_cast<double>(o.frames - 1), touch = 0.25;
    if (time < touch) now.gap = std::max(0.6, gap * (1 - time / touch));
    else now.contact = contact * std::sqrt(0.15 + 0.85 * (time - touch) / (1 - touch));
  }
};

}  // namespace

std::array<double, 3> phantom_pair_spacing(const PhantomPairOptions& o) {
  const auto n = static_cast<double>(o.size);
  return {2 * phantom_pair_field_um[0] / n, phantom_pair_field_um[1] / n, phantom_pair_field_um[2] / n};
}

const std::vector<std::string>& phantom_pair_class_names() {
  static const std::vector<std::string> names = {"background", "cart19", "k562"};
  return names;
}

PhantomPair phantom_pair(const PhantomPairOptions& o, std::int64_t i, std::int64_t frame) {
  check_options(o);
  check(i >= 0 && frame >= 0 && frame < o.frames, "phantom: pair ", i, ", frame ", frame, " of ", o.frames);
  const auto id = static_cast<std::uint64_t>(i);
  const Meeting meeting(o, i, frame);
  const PairModel model(RandomKey{o.seed, pair_stream, 0}.derive(id), meeting.now, meeting.widest);

  const Shape shape = {o.size / 2, o.size, o.size};
  const auto spacing = phantom_pair_spacing(o);
  const double volume = spacing[0] * spacing[1] * spacing[2], edge = std::cbrt(volume);
  PhantomPair pair{.ri = empty(shape), .labels = empty(shape, {.dtype = DType::u8}), .synapse_um2 = model.contact_area()};
  float* ri = pair.ri.mutable_data<float>();
  auto* label = pair.labels.mutable_data<std::uint8_t>();
  const auto place = [&](std::int64_t v, int axis) {
    return (static_cast<double>(v) - static_cast<double>(shape[axis] - 1) / 2) * spacing[static_cast<std::size_t>(axis)];
  };
  std::array<double, 2> inside{}, sum{};
  for (std::int64_t z = 0; z < shape[0]; ++z)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x) {
        const PairModel::Matter m = model.at({place(z, 0), place(y, 1), place(x, 2)}, edge);
        *ri++ = static_cast<float>(m.delta);
        *label++ = static_cast<std::uint8_t>(m.label);
        for (std::size_t k = 0; k < 2; ++k) {
          inside[k] += m.share[k];
          sum[k] += m.part[k];
        }
      }
  for (std::size_t k = 0; k < 2; ++k)
    pair.cells[k] = {.volume_um3 = inside[k] * volume,
                     .mean_ri = phantom_medium_ri + sum[k] / std::max(1e-9, inside[k]),
                     .dry_mass_pg = sum[k] * volume / dry_mass_um3_per_pg};

  const RandomKey noise = RandomKey{o.seed, noise_stream, static_cast<std::uint64_t>(o.frames == 1 ? 0 : frame)}.derive(id);
  if (o.missing_cone) {
    add_noise(pair.ri, noise_before * o.noise, noise);
    image_through(pair.ri, spacing);
  }
  add_noise(pair.ri, noise_after * o.noise, noise.derive(1));
  ri = pair.ri.mutable_data<float>();
  for (std::int64_t v = 0; v < pair.ri.size(); ++v) ri[v] += static_cast<float>(phantom_medium_ri);
  return pair;
}

}  // namespace cuboid
