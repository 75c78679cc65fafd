// SPDX-License-Identifier: Apache-2.0
// A volume on a grid of other voxels over the same space (data/resample.h, linear: the same bits), without ever lying in memory
// as a whole.
#pragma once
#include "apps/sliding_window.h"

namespace cuboid::app {

/// Planes of `from` (C,D,H,W, read through `read`) as those of a volume of `size` (D,H,W).
ReadPlanes read_resized(ReadPlanes read, const Shape& from, const Shape& size);
/// The other direction: takes the planes of a volume `from` (K,D,H,W) and hands on those of a volume of `size`.
WritePlanes write_resized(WritePlanes write, const Shape& from, const Shape& size);
/// What either of them holds.
std::int64_t resizing_bytes(const Shape& from, const Shape& size);

}  // namespace cuboid::app
