// SPDX-License-Identifier: Apache-2.0
// Exact Euclidean distances between voxel centres, in the unit of `spacing` (µm), f32 of f64. Linear time: lower envelopes of
// parabolas, axis by axis (Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", 2012), many labels in one
// pass: each axis is cut where the label changes, because nothing beyond a change is nearer than the change itself.
#pragma once
#include <optional>

#include "data/morphology/grid.h"

namespace cuboid {

struct DistanceOptions {
  /// Longer distances become this. Without a limit a volume in which there is nothing to measure to is an error.
  std::optional<double> limit;
};

/// Inside the mask the distance to the nearest voxel outside of it, 0 outside: at least the smallest spacing everywhere inside.
/// What lies beyond the volume's borders is not outside. As scipy.ndimage.distance_transform_edt(mask, sampling=spacing).
/// DataError for a mask that fills the volume.
Tensor distance_transform(const Tensor& mask, const Spacing& spacing, const DistanceOptions& options = {});

/// Everywhere the distance to the nearest voxel of the mask, 0 inside. DataError for an empty mask.
Tensor distance_to(const Tensor& mask, const Spacing& spacing, const DistanceOptions& options = {});

/// Inside every label the distance to the nearest voxel of another one (the background is one too; instances that touch are
/// outside of each other), 0 in the background. DataError when one label fills the volume. All 0 where there is no label.
Tensor instance_distance(const Tensor& labels, const Spacing& spacing, const DistanceOptions& options = {});

/// instance_distance, + inside label 1 and - inside label 2: the target of DeepIS. DataError for other labels.
Tensor signed_distance(const Tensor& labels, const Spacing& spacing, const DistanceOptions& options = {});

/// The way back: u8, 1 where distance > outside, 2 where distance < -outside, 0 elsewhere.
Tensor labels_of_signs(const Tensor& distance, double outside = 0);

}  // namespace cuboid
