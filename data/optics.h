// SPDX-License-Identifier: Apache-2.0
// What a tomographic microscope does to a refractive-index volume: the frequencies its lenses cannot see are missing.
#pragma once
#include <array>

#include "core/random.h"
#include "core/tensor.h"

namespace cuboid {

/// Illumination and detection through lenses of numerical aperture `aperture`, all directions (Streibl 1985, eq. 24: the support
/// of the three-dimensional transfer function). Inside the missing cone about the optical axis `residual` of the
/// amplitude survives, as it does after a regularised reconstruction.
struct Optics {
  double wavelength_um = 0.532, medium = 1.337, aperture = 1.2, residual = 0.2;
};

/// Filters a f32 volume (z,y,x), contiguous, in place. Sizes must be powers of two; the volume repeats at its borders.
void image_through(const Tensor& volume, const std::array<double, 3>& spacing_um, const Optics& optics = {});

/// Adds nearly normal noise (sums of four uniform numbers) to a contiguous f32 tensor.
void add_noise(const Tensor& volume, double deviation, const RandomKey& key);

}  // namespace cuboid
