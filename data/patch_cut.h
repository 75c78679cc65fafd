// SPDX-License-Identifier: Apache-2.0
// Which patch of a volume, and the patch itself.
#pragma once
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/random.h"
#include "data/labelled.h"

namespace cuboid {

/// The labels of a volume and how many voxels each has, in order. Where there is a target only: 1 where it is positive, 2 where
/// it is negative.
using LabelCounts = std::vector<std::pair<std::int64_t, std::int64_t>>;
LabelCounts count_labels(const LabelledVolume& volume);

using Place = std::array<std::int64_t, 3>;  // z,y,x

/// Where voxel number `k` (in memory order) of a label lies.
Place voxel_of(const LabelledVolume& volume, std::int64_t label, std::int64_t k);

/// First voxel of a patch: with the chance `foreground` one that holds a voxel drawn evenly from a label drawn evenly, otherwise
/// anywhere. Along an axis where the volume is smaller than the patch it lies in the middle, and the place is negative.
Place draw_place(const LabelledVolume& volume, const LabelCounts& counts, const Shape& patch, double foreground, Random& random);

/// [..,D,H,W] of `from` from `place` on, as large as the last three axes of `to`; both contiguous, of one dtype and one number of
/// channels. Beyond the borders the volume is continued by its mirror image, in which the border itself is not repeated.
void cut(const Tensor& from, const Place& place, const Tensor& to);

}  // namespace cuboid
