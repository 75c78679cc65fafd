// SPDX-License-Identifier: Apache-2.0
// The outlines of labels on an image, in three planes.
#pragma once
#include <array>

#include "core/tensor.h"

namespace cuboid {

struct ContourOptions {
  std::array<double, 3> spacing_um = {0, 0, 0};  // z,y,x; with it planes have true proportions and a bar
  std::array<std::int64_t, 3> through = {-1, -1,
                                         -1};  // z,y,x of the voxel the planes meet in; negative: the middle of the labels
  std::int64_t height = 300;                   // of the longest edge in pixels
};

/// u8 (H,W,3). Above the image (between its percentiles 0.5 and 99.95), below it with the outlines: the truth white, the
/// prediction in a colour per label on top, so that white is seen only where they differ. Either may be undefined. All are
/// (D,H,W), the labels u8 or i32.
Tensor contours(const Tensor& image, const Tensor& truth, const Tensor& prediction, const ContourOptions& options = {});

/// z,y,x of a voxel worth a look: where labels 1 and 2 are nearest to each other on average (the middle of the voxels of one with
/// the other next to it), else the labelled voxel nearest to the middle of all labelled ones, else the volume's middle.
std::array<std::int64_t, 3> middle_of(const Tensor& labels);

}  // namespace cuboid
