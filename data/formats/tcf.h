// SPDX-License-Identifier: Apache-2.0
// Tomocube's TCF: HDF5 with refractive-index tomograms in Data/3D/NNNNNN, integers = index x 10000, order z,y,x, and voxel
// sizes in µm as attributes ResolutionX/Y/Z of the group Data/3D.
#pragma once
#include <filesystem>

#include "data/volume.h"

namespace cuboid {

struct TcfOptions {
  int frame = 0;  // time point: dataset Data/3D/000000, 000001, ...
};

/// f32 refractive index [D,H,W]. Throws DataError that names the missing part.
Volume read_tcf(const std::filesystem::path& path, const TcfOptions& options = {});
/// The number of time points.
int count_tcf_frames(const std::filesystem::path& path);
/// Writes the same structure (u16 = index x 10000, gzip), atomic. For tests, phantoms and exchange.
void write_tcf(const std::filesystem::path& path, const Volume& volume);

}  // namespace cuboid
