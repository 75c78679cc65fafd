// SPDX-License-Identifier: Apache-2.0
// From what a net says of each voxel to labels: thresholds, largest components, holes, small pieces, and for instances a
// watershed.
#pragma once
#include <cstdint>

#include "core/json.h"
#include "data/morphology/grid.h"

namespace cuboid::deepis {

struct PostprocessOptions {
  double threshold_um = -1;      // a voxel belongs to a cell when |distance| > this; negative: half the smallest spacing
  bool keep_largest = true;      // of each class only the largest component (26 neighbours); not for instances
  double min_volume_um3 = 0;     // smaller components go
  bool fill_holes = true;        // background enclosed by one label becomes that label
  double prominence_um = -1;     // instances: from the lower of two peaks the map falls by more than this before it rises to the
                                 // other; negative: the smallest spacing
  double peak_distance_um = -1;  // instances: and they are at least this far apart; negative: three times the smallest spacing
};

/// The options with the values that depend on the spacing filled in.
PostprocessOptions resolved(PostprocessOptions options, const Spacing& spacing_um);
/// What predict.json and model cards keep of them.
Json to_json(const PostprocessOptions& options);
/// The same read back; an empty object gives the defaults. DataError for a key that is none.
PostprocessOptions postprocess_of(const Json& json);

/// distance: f32 (D,H,W), µm, > 0 in class 1 and < 0 in class 2. Returns u8 (D,H,W): 0, 1, 2.
Tensor labels_of_signed(const Tensor& distance, const Spacing& spacing_um, const PostprocessOptions& options = {});
/// distance: f32 (D,H,W), µm, > 0 inside every instance. Returns i32 (D,H,W): 0, and 1 ... n by falling volume.
Tensor labels_of_instances(const Tensor& distance, const Spacing& spacing_um, const PostprocessOptions& options = {});
/// scores: f32 (C,D,H,W), logits or probabilities, C at most 256; class 0 is the background. Returns u8 (D,H,W).
Tensor labels_of_scores(const Tensor& scores, const Spacing& spacing_um, const PostprocessOptions& options = {});

/// Components and holes of class labels, u8 (D,H,W), as the options say, in place: for a caller that has the labels already.
void clean_classes(const Tensor& labels, const Spacing& spacing_um, const PostprocessOptions& options);

}  // namespace cuboid::deepis
