// SPDX-License-Identifier: Apache-2.0
// Volumes on another grid that covers the same space.
#pragma once
#include <vector>

#include "core/tensor.h"

namespace cuboid {

/// linear: f32; where the new voxels are larger, all old ones under a triangle as wide as two new ones count, so that nothing
/// aliases. nearest: any dtype, kept; for labels.
enum class Resampling : std::uint8_t { linear, nearest };

/// What a voxel of the new grid is made of, along one axis: weights of old ones from `first` on.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weight;
};
/// For each of `to` new voxels over `from` old ones.
std::vector<Taps> resample_taps(std::int64_t from, std::int64_t to, Resampling how);

/// x [D,H,W] or [C,D,H,W] to `size` (D,H,W). Corners of the volume, not centres of its first voxels, keep their place. Axis by
/// axis, z first.
Tensor resample(const Tensor& x, const Shape& size, Resampling how);

}  // namespace cuboid
