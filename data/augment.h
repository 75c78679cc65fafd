// SPDX-License-Identifier: Apache-2.0
// Random rotation about z, flips, intensity jitter. The numbers depend on (seed, epoch, sample) only.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace cuboid {

enum class RotationFill { zero, background };
enum class Interpolation { nearest, linear };

/// Applied in this order: rotation in the y-x plane (one angle for all z), flip of x, of y, of z, jitter.
struct AugmentOptions {
  double rotate_degrees = 20;  // uniform in +-
  double flip_x = 0.5, flip_y = 0.5, flip_z = 0;
  RotationFill fill = RotationFill::background;  // background: the median of the volume's outer faces
  Interpolation interpolation = Interpolation::nearest;
  double jitter_scale = 0;  // v * (1 + uniform +-scale) + uniform +-shift
  double jitter_shift = 0;

  static AugmentOptions none() { return {.rotate_degrees = 0, .flip_x = 0, .flip_y = 0}; }
  /// As the original: nearest neighbour, corners filled with 0.
  static AugmentOptions paper() { return {.fill = RotationFill::zero}; }
  bool identity() const {
    return rotate_degrees == 0 && flip_x == 0 && flip_y == 0 && flip_z == 0 && jitter_scale == 0 && jitter_shift == 0;
  }
};

/// What was drawn for one sample.
struct AugmentDraw {
  double degrees = 0;
  bool flip_x = false, flip_y = false, flip_z = false;
  double scale = 1, shift = 0;
};

AugmentDraw draw_augmentation(const AugmentOptions& options, std::uint64_t seed, std::int64_t epoch, std::int64_t sample);

/// `from` and `to` are f32 [C,D,H,W], contiguous, of equal shape and different memory.
void augment(const Tensor& from, const Tensor& to, const AugmentDraw& draw, const AugmentOptions& options);

/// Median of the voxels on the six faces of [C,D,H,W] f32.
float background_of(const Tensor& volume);

}  // namespace cuboid
