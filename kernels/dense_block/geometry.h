// SPDX-License-Identifier: Apache-2.0
// The sizes of a dense block.
#pragma once
#include <algorithm>

#include "kernels/conv/winograd_maps.h"

namespace cuboid::dense {

using winograd::Tiling;

struct Geometry {
  std::int64_t n, d, h, w;                  // 2D has d = 1
  std::int64_t first, growth, mid, layers;  // channels of x, new ones per layer, of the bottleneck
  std::int64_t depth_taps;                  // of conv2: 3, or 1 in 2D
  std::int64_t plane() const { return h * w; }
  std::int64_t voxels() const { return n * d * plane(); }
  std::int64_t channels(std::int64_t layer) const { return first + layer * growth; }  // what a layer reads
  std::int64_t width() const { return channels(layers); }
  /// Multiplications and additions of one layer's convolutions; of conv2 only the taps that lie inside the volume.
  double flops1(std::int64_t layer) const { return 2. * static_cast<double>(voxels() * channels(layer) * mid); }
  double flops2() const {
    const std::int64_t deep = depth_taps == 3 ? 3 * d - 2 : d, taps = deep * (3 * h - 2) * (3 * w - 2);
    return 2. * static_cast<double>(n * taps * mid * growth);
  }
  double flops_of_moments() const { return 4. * static_cast<double>(voxels() * first); }
  /// Bytes of so many f32 per voxel.
  double bytes(std::int64_t per_voxel) const { return 4. * static_cast<double>(voxels() * per_voxel); }
  Tiling tiling() const { return Tiling::of_plane(h, w); }
  /// A plane is worked on in bands of so many lines.
  std::int64_t band_lines() const { return tiling().lines_at_a_time(); }
  std::int64_t bands() const { return (h + band_lines() - 1) / band_lines(); }
  std::int64_t point_floats() const { return tiling().points() * depth_taps * mid * growth; }  // conv2's weights as points
};

}  // namespace cuboid::dense
