// SPDX-License-Identifier: Apache-2.0
// Phantom pairs of cells as a holotomographic microscope sees them: a T cell (CART19) and a leukaemia cell (K562) that touch
// along a wall, the immunological synapse, whose area is known from their geometry; every fifth pair stays apart. K562 are
// larger, a little less dense, coarser and hold lipid droplets; T cells are small with a large nucleus. In a time-lapse the T
// cell approaches, touches and spreads, at constant volumes.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

struct PhantomPairOptions {
  std::int64_t pairs = 40;
  std::int64_t frames = 1;  // of each pair; more than one: a time-lapse
  std::int64_t size = 64;  // voxels along x and y, a power of two from 32 to 256; half as many along z. The field stays the same.
  std::uint64_t seed = 1;
  double noise = 1;  // 1: the background's standard deviation is about 4e-4 RI
  bool missing_cone = true;
};

inline constexpr std::array<double, 3> phantom_pair_field_um = {19.2, 25.6, 25.6};  // z,y,x
inline constexpr double dry_mass_um3_per_pg = 0.2;  // refractive index above the medium per (pg/µm³), that is 0.2 mL/g
/// Voxel size, z,y,x.
std::array<double, 3> phantom_pair_spacing(const PhantomPairOptions& options);
/// background, cart19, k562: the names of labels 0, 1, 2.
const std::vector<std::string>& phantom_pair_class_names();

struct PhantomPair {
  Tensor ri;      // f32 (z,y,x), refractive index
  Tensor labels;  // u8 (z,y,x): 0, 1 = CART19, 2 = K562
  /// Before the microscope, of the geometry and not of the labels.
  struct Cell {
    double volume_um3 = 0, mean_ri = 0, dry_mass_pg = 0;
  };
  std::array<Cell, 2> cells;  // CART19, K562
  double synapse_um2 = 0;     // area of the wall between them
};

/// Pair i at one of its frames depends on (seed, i, frame, frames) only.
PhantomPair phantom_pair(const PhantomPairOptions& options, std::int64_t i, std::int64_t frame = 0);

}  // namespace cuboid
