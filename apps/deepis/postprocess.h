// SPDX-License-Identifier: Apache-2.0
// From what a net says of each voxel to labels: thresholds, largest components, holes, small pieces, and for instances a
// watershed.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "core/json.h"
#include "core/tensor.h"

namespace cuboid::deepis {

struct PostprocessOptions {
  double threshold_um = -1;    // a voxel belongs to a cell when |distance| > this; negative: half the smallest spacing
  bool keep_largest = true;    // of each class only the largest component (26 neighbours); not for instances
  double min_volume_um3 = 0;   // smaller components go; 0: none
  bool fill_holes = true;      // background enclosed by one label becomes that label
  double split_depth_um = -1;  // instances: two peaks are two cells when the saddle between them lies deeper than this below the
                               // lower peak; negative: the smallest spacing
  double split_fraction = 0.25;  // and deeper than this share of the lower peak
};

/// The options with the values that depend on the spacing filled in, and what predict.json keeps of them.
PostprocessOptions resolved(PostprocessOptions options, const std::array<double, 3>& spacing_um);
Json to_json(const PostprocessOptions& options);

/// distance: f32 (D,H,W), µm, > 0 in class 1 and < 0 in class 2. Returns u8 (D,H,W): 0, 1, 2.
Tensor labels_of_signed(const Tensor& distance, const std::array<double, 3>& spacing_um, const PostprocessOptions& options = {});
/// distance: f32 (D,H,W), µm, > 0 inside every instance. Returns i32 (D,H,W): 0, and 1 ... n by falling volume.
Tensor labels_of_instances(const Tensor& distance, const std::array<double, 3>& spacing_um,
                           const PostprocessOptions& options = {});
/// scores: f32 (C,D,H,W), logits or probabilities, C at most 256; class 0 is the background. Returns u8 (D,H,W).
Tensor labels_of_scores(const Tensor& scores, const std::array<double, 3>& spacing_um, const PostprocessOptions& options = {});

/// labels: u8 (D,H,W), the class of the largest score. Components and holes as the options say; for a caller that streams the
/// scores and has the labels already. In place.
void clean_classes(const Tensor& labels, const std::array<double, 3>& spacing_um, const PostprocessOptions& options);

/// The watershed behind labels_of_instances: voxels are taken from the highest down and join the basin they touch; two basins
/// that meet become one when the lower peak rises less than `depth` or less than `fraction` of itself above the saddle. Voxels
/// not above `threshold` stay 0. i32 labels, numbered by first voxel. Ties go by position, so the result is one.
Tensor split_by_peaks(const Tensor& height, double threshold, double depth, double fraction);

}  // namespace cuboid::deepis
