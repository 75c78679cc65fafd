// SPDX-License-Identifier: Apache-2.0
// From one file format to another.
#pragma once
#include <filesystem>

#include "data/volume.h"

namespace cuboid {

/// Reads `from` and writes `to` in the format of its extension: .npy, .npy.gz, .npz, .nii, .nii.gz, .mat, .safetensors,
/// .tif/.tiff, .tcf, .png (the middle slice of a volume, scaled to 8 bits). Throws Error when `to` exists already, unless
/// `overwrite`.
void convert(const std::filesystem::path& from, const std::filesystem::path& to, const LoadOptions& options = {},
             bool overwrite = false);
/// Writes a volume in the format of the extension.
void save_volume(const std::filesystem::path& path, const Volume& volume);

}  // namespace cuboid
