// SPDX-License-Identifier: Apache-2.0
// Connected parts of masks and label volumes, numbered 1, 2, ... in the order of their first voxels.
#pragma once
#include <vector>

#include "data/morphology/grid.h"

namespace cuboid {

struct Components {
  Tensor labels;                    // i32 [D,H,W]
  std::vector<std::int64_t> sizes;  // voxels of each number; sizes[0]: of the background
  std::int64_t count() const { return static_cast<std::int64_t>(sizes.size()) - 1; }
  /// The number of the largest part, the first of several as large; 0 when there is none.
  std::int32_t largest() const;
};

/// Parts of one label each: neighbours of different labels stay apart. A mask of 0 and 1 is the simple case.
Components connected_components(const Tensor& labels, Connectivity connectivity = Connectivity::faces);

/// u8 mask of the largest part; empty for an empty mask.
Tensor largest_component(const Tensor& mask, Connectivity connectivity = Connectivity::faces);
/// The same labels (u8 or i32) without the parts of fewer than `voxels`.
Tensor without_small(const Tensor& labels, std::int64_t voxels, Connectivity connectivity = Connectivity::faces);
/// u8 mask with its holes filled: outside parts that no path of neighbours (of 6) leads from to the volume's border.
Tensor fill_holes(const Tensor& mask);

/// Voxels of each label 0..max. DataError for negative labels and for labels above 2^24.
std::vector<std::int64_t> label_sizes(const Tensor& labels);
/// The labels present, without 0, ascending.
std::vector<std::int32_t> labels_present(const Tensor& labels);
/// i32: the labels present become 1..n in ascending order.
Tensor relabelled(const Tensor& labels);
/// u8: where `labels` equals `label`.
Tensor mask_of(const Tensor& labels, std::int32_t label);

}  // namespace cuboid
