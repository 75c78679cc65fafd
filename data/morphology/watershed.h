// SPDX-License-Identifier: Apache-2.0
// From a map that is high in the middle of each instance (a distance) to instances: peaks, then flooding from them.
#pragma once
#include <vector>

#include "data/morphology/grid.h"

namespace cuboid {

struct Peak {
  std::array<std::int64_t, 3> at;  // z,y,x
  double height;
};

struct PeakOptions {
  double min_height = 0;    // peaks are above this
  double prominence = 0;    // a path from a peak to a higher one goes down by more than this (h-maxima; Grimaud's dynamics)
  double min_distance = 0;  // between peaks, in the unit of `spacing`; of two that are nearer the higher one stays
  Connectivity connectivity = Connectivity::corners;
};
/// Of a map of f32 or f64, highest first; of equal heights the earlier in memory comes first. A plateau is one peak, its first
/// voxel.
std::vector<Peak> find_peaks(const Tensor& map, const Spacing& spacing, const PeakOptions& options = {});
/// i32 of the map's shape: 1, 2, ... at the peaks, 0 elsewhere.
Tensor seeds_of(const std::vector<Peak>& peaks, const Shape& shape);

/// Grows `seeds` (labels, any number of voxels each) within `mask`, from high to low values of `map`: i32 labels. A voxel goes to
/// the seed that reaches it first; ties go to the neighbour that was reached earlier. Parts of the mask without a seed stay 0.
/// Priority flood (Meyer 1991), O(n log n).
Tensor watershed(const Tensor& map, const Tensor& seeds, const Tensor& mask, Connectivity connectivity = Connectivity::faces);

/// map > threshold, its peaks, watershed: instances 1..n with at least `min_voxels` each. Parts without a peak above
/// options.min_height are left out.
Tensor instances_of(const Tensor& map, double threshold, const Spacing& spacing, const PeakOptions& options = {},
                    std::int64_t min_voxels = 1);

}  // namespace cuboid
