// SPDX-License-Identifier: Apache-2.0
// Surfaces of voxel masks. Areas are sums over the voxel faces between inside and outside, each times the cosine between the face
// and the surface's normal, which comes from the smoothed mask: a staircase along a slanted wall then counts as the wall. (Voxel
// faces alone overestimate a sphere by half; weights of 2x2x2 neighbourhoods err by up to 7 % along walls, depending on their
// direction.) Measured (tests/data/morphology_surface.cpp): spheres of a radius of 4 to 12 voxels within 3 %, ellipsoids within 2
// %, boxes of 16 to 28 voxels, straight and tilted, within 5.5 %, too small because their edges are smoothed away.
#pragma once
#include "data/morphology/grid.h"

namespace cuboid {

/// In the square of the spacing's unit (µm²). Where the mask is cut by the volume's border there is no surface. 0 for an empty
/// mask.
double surface_area(const Tensor& mask, const Spacing& spacing);

/// Area of the wall between labels a and b: within 9 % of the geometry of single phantom pairs, within 3 % on average. Where two
/// surfaces part at a flat angle, voxels touch for a while beyond the contact's edge, and the area is too large by that. reach 0:
/// where they share voxel faces. reach > 0: the part of a's and b's surfaces that lies within `reach` of the other, the mean of
/// both, for labels with a gap between them.
double contact_area(const Tensor& labels, std::int32_t a, std::int32_t b, const Spacing& spacing, double reach = 0);

/// u8: voxels of the mask with an outside neighbour among their six; beyond the volume's border counts as outside, as in
/// mask & ~scipy.ndimage.binary_erosion(mask).
Tensor boundary_voxels(const Tensor& mask);

}  // namespace cuboid
