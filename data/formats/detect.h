// SPDX-License-Identifier: Apache-2.0
// Formats told apart by what the file holds, not by its name.
#pragma once
#include <cstdint>
#include <filesystem>

namespace cuboid {

enum class Format : std::uint8_t { unknown, npy, npz, safetensors, tiff, tcf, png, nifti, mat };

/// Looks at the first bytes, unpacked where the file is a gzip file. DataError when it cannot be read or is empty.
Format format_of(const std::filesystem::path& path);
/// The name in lower case: for endings, which people write in any case.
std::string lower_name(const std::filesystem::path& path);

}  // namespace cuboid
