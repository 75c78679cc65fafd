// SPDX-License-Identifier: Apache-2.0
// Where a NIfTI image lies: the header's three ways to say it, and ours.
#pragma once
#include "data/formats/nifti.h"

namespace cuboid {

/// The fields of either header, as they stand there.
struct NiftiSpace {
  std::array<double, 4> pixdim{};  // qfac, then the sizes along x, y, z
  double units = 0;                // 1 m, 2 mm, 3 µm in the lowest three bits
  double qform_code = 0, sform_code = 0;
  std::array<double, 6> quaternion{};  // b, c, d and the offsets
  std::array<double, 12> srow{};
};

/// Fills affine, codes and about. sform before qform before the voxel sizes alone, as nibabel does; what cannot be used is noted.
/// DataError only where the one description there is cannot be a rotation.
void place(NiftiHeader& header, const NiftiSpace& space, const std::string& name);

/// b, c, d and qfac of a volume whose axes are at right angles; empty when they are not.
std::optional<std::array<double, 4>> quaternion_of(const Volume& volume);

}  // namespace cuboid
