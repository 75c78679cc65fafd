// SPDX-License-Identifier: Apache-2.0
// A volume on a grid of other voxels over the same extent, without ever lying in memory as a whole: planes are resized in their own
// plane first, then pairs of them are mixed. Trilinear, with the rules of kernels/resize (corners of the volume coincide, not
// centres of its corner voxels).
#pragma once
#include "apps/sliding_window.h"

namespace cuboid::app {

/// Planes of `from` (C,D,H,W, read through `read`) as those of a volume of `size` (D,H,W).
ReadPlanes read_resized(ReadPlanes read, const Shape& from, const Shape& size);
/// The other direction: takes the planes of a volume `from` (K,D,H,W) and hands on those of a volume of `size`.
WritePlanes write_resized(WritePlanes write, const Shape& from, const Shape& size);

}  // namespace cuboid::app
