// SPDX-License-Identifier: Apache-2.0
// Holotomography cells made from numbers: two classes that differ in the shape of the nucleus and in their lipid
// droplets, several patients in each, seen through the missing cone of a tomographic microscope.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

struct PhantomOptions {
  std::int64_t cells = 200;
  std::int64_t size = 64;      // voxels along each edge, a power of two from 16 to 128; the field of view stays the same
  std::int64_t patients = 16;  // half of them in each class
  std::uint64_t seed = 1;
  double noise = 1;  // 1: the background's standard deviation is about 4e-4 RI
  bool missing_cone = true;
};

inline constexpr double phantom_medium_ri = 1.337;
inline constexpr std::array<double, 3> phantom_field_um = {12.8, 10.24, 10.24};  // z,y,x
const std::vector<std::string>& phantom_class_names();                           // round, lobed

/// Values of the ground-truth mask.
enum PhantomTissue : std::uint8_t { phantom_background, phantom_cytoplasm, phantom_nucleus, phantom_droplet };

struct PhantomCell {
  Tensor ri;    // f32 (z,y,x), refractive index
  Tensor mask;  // u8, PhantomTissue
  std::int64_t label = 0;
  std::string patient;  // P01 ...
  std::int64_t lobes = 1, droplets = 0;
  double radius_um = 0, volume_um3 = 0, mean_ri = 0;  // of the cell before the microscope
};

/// Class and patient of cell i: known without making it.
std::int64_t phantom_label(const PhantomOptions& options, std::int64_t i);
std::string phantom_patient(const PhantomOptions& options, std::int64_t i);

/// Cell i depends on (seed, i, the number of cells and patients) only.
PhantomCell phantom_cell(const PhantomOptions& options, std::int64_t i);

/// A field of several cells, as a raw tomogram.
struct PhantomField {
  Tensor ri;                                         // f32 (z,y,x)
  std::vector<std::array<std::int64_t, 3>> centres;  // z,y,x
  std::vector<std::int64_t> cells;                   // which phantom_cell is there
};

/// Pastes cells first ... first+count-1 into a volume of `shape`, apart from each other as far as space allows; some may
/// touch the border.
PhantomField phantom_field(const PhantomOptions& options, std::int64_t first, std::int64_t count, const Shape& shape);

}  // namespace cuboid
