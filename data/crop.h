// SPDX-License-Identifier: Apache-2.0
// A cube of voxels round a cell, and what is wrong with it.
#pragma once
#include <array>
#include <cstdint>

#include "core/tensor.h"

namespace cuboid {

/// Where the voxels go that a crop at the volume's edge lacks. They are filled with the median of the whole volume.
enum class CropPadding { append, centred };

struct Crop {
  Tensor voxels;                          // f32 size^3, (z,y,x)
  std::array<std::int64_t, 3> missing{};  // voxels padded along z, y, x
  bool clipped() const { return missing[0] || missing[1] || missing[2]; }
};

/// start = max(0, c - size/2), end = min(extent, c + size/2) along each axis. `volume` is (D,H,W), `centre` (z,y,x).
/// DataError when the centre lies outside the volume.
Crop crop_cube(const Tensor& volume, std::array<std::int64_t, 3> centre, std::int64_t size,
               CropPadding padding = CropPadding::append);

/// (v - min) / (max - min) in place; a constant volume becomes 0. f32.
void rescale_minmax(const Tensor& volume);

/// The lower median is averaged with the upper one for an even count, as numpy does. f32, contiguous.
double median_of(const Tensor& volume);

struct VoxelStats {
  double mean = 0, min = 0, max = 0;  // of the finite voxels
  std::int64_t not_finite = 0;
};
VoxelStats voxel_stats(const Tensor& volume);

}  // namespace cuboid
