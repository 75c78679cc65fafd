// SPDX-License-Identifier: Apache-2.0
// Augmentation of an image together with its labels or its distance map: flips, rotation in the y-x plane, one elastic field for
// all z, zoom. All of it is one map from the output's voxels to the input's, so that the image is interpolated once. Distances
// are computed anew from the moved labels, exactly. What happens depends on (seed, epoch, sample) only.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "core/random.h"
#include "data/augment.h"
#include "data/morphology/distance.h"

namespace cuboid {

/// What the target is made of. `labels`: there is no distance, the labels themselves are the truth.
enum class TruthKind : std::uint8_t { labels, signed_distance, instance_distance };
/// Of the image. Labels always take the nearest voxel.
enum class ImageInterpolation : std::uint8_t { linear, cubic };  // cubic: B-splines through the voxels, as scipy.ndimage, order 3

/// An image and what is known about it, all of one size.
struct ImageAndTruth {
  Tensor image;   // f32 [C,D,H,W], contiguous
  Tensor labels;  // u8 or i32 [D,H,W], contiguous; undefined where only a distance is known: then its signs are the labels
  Tensor target;  // f32 [D,H,W], distance in µm; undefined for TruthKind::labels
  Spacing spacing = {1, 1, 1};
};

struct PairAugmentOptions {
  double flip_x = 0.5, flip_y = 0.5, flip_z = 0.5;  // 8 combinations, equally often
  double rotate = 1;                                // how often
  double rotate_degrees = 180;                      // uniform in +-
  double elastic = 0.5;                             // how often
  struct Elastic {
    double alpha, sigma;  // displacement = alpha * Gaussian(sigma) of uniform +-1, in pixels
  };
  std::vector<Elastic> elastic_kinds = {{2, 2}, {3, 1}};  // one of these
  double zoom = 0.4;                                      // how often
  double zoom_low = 1.1, zoom_high = 1.3;                 // uniform between; then a part of the input's size, anywhere
  RotationFill fill = RotationFill::background;           // what rotation brings in; labels: 0
  ImageInterpolation interpolation = ImageInterpolation::linear;
  double jitter_scale = 0, jitter_shift = 0;  // v * (1 + uniform +-scale) + uniform +-shift
  /// As the original where it differs: whole degrees from 10 to 350, zoom by 1.1, 1.2 or 1.3, cubic splines, corners filled with
  /// 0, and the distance is carried along by the same spline and multiplied by the zoom, not computed anew.
  bool legacy = false;

  static PairAugmentOptions none() { return {.flip_x = 0, .flip_y = 0, .flip_z = 0, .rotate = 0, .elastic = 0, .zoom = 0}; }
  static PairAugmentOptions paper() {
    return {.fill = RotationFill::zero, .interpolation = ImageInterpolation::cubic, .legacy = true};
  }
  bool identity() const {
    return flip_x == 0 && flip_y == 0 && flip_z == 0 && rotate == 0 && elastic == 0 && zoom == 0 && jitter_scale == 0 &&
           jitter_shift == 0;
  }
};

/// What was drawn for one sample. Applied in this order: flips, rotation, elastic, zoom, jitter.
struct PairDraw {
  std::array<bool, 3> flip = {false, false, false};  // z,y,x
  double degrees = 0;
  double alpha = 0, sigma = 0;             // 0: no elastic field
  RandomKey field;                         // of the elastic field
  double zoom = 1;                         // the cell becomes this much larger
  std::array<double, 3> part = {0, 0, 0};  // where the part begins: 0 at the start, 1 at the end of what is possible
  double scale = 1, shift = 0;
  bool moves() const { return flip[0] || flip[1] || flip[2] || degrees != 0 || alpha != 0 || zoom != 1; }
};

PairDraw draw_pair_augmentation(const PairAugmentOptions& options, std::uint64_t seed, std::int64_t epoch, std::int64_t sample);

/// Labels keep their type (u8 where there were none). Tensors are new ones, or the input's where nothing happens to them. The
/// target is the distance of the moved labels in µm: a zoomed cell is larger, its voxels are not. Flips alone move the target as
/// it is. Instance distances without labels are carried along by interpolation and multiplied by the zoom. `keep` (z,y,x; empty:
/// all): the middle of this size is returned. With patches of larger volumes give a margin around what is kept: distances near
/// the patch's borders are then right, and rotation brings in true voxels. A label that fills the patch has the distance of the
/// patch's diagonal, where distances end.
ImageAndTruth augment_pair(const ImageAndTruth& from, TruthKind kind, const PairDraw& draw, const PairAugmentOptions& options,
                           const Shape& keep = {});

/// The target of labels as TruthKind says; undefined for `labels`. Distances end at the volume's diagonal.
Tensor target_of(const Tensor& labels, const Spacing& spacing, TruthKind kind);

}  // namespace cuboid
