// SPDX-License-Identifier: Apache-2.0
// Growing and shrinking masks; results are u8. Beyond the volume's borders lies neither inside nor outside: masks do not shrink
// from there. A ball's radius is in the unit of `spacing`: in voxels as it stands, in µm when the spacing is.
#pragma once
#include "data/morphology/grid.h"

namespace cuboid {

/// Voxels no further than `radius` from the mask, centre to centre.
Tensor dilate_ball(const Tensor& mask, double radius, const Spacing& spacing = {1, 1, 1});
/// Voxels of the mask further than `radius` from everything outside.
Tensor erode_ball(const Tensor& mask, double radius, const Spacing& spacing = {1, 1, 1});
/// Erosion, then dilation: thin parts vanish.
Tensor open_ball(const Tensor& mask, double radius, const Spacing& spacing = {1, 1, 1});
/// Dilation, then erosion: narrow gaps close.
Tensor close_ball(const Tensor& mask, double radius, const Spacing& spacing = {1, 1, 1});

/// Voxels to each side, z,y,x: {1, 1, 1} is the box of 3x3x3.
using Reach = std::array<std::int64_t, 3>;
Tensor dilate_box(const Tensor& mask, const Reach& reach);
Tensor erode_box(const Tensor& mask, const Reach& reach);

}  // namespace cuboid
