// SPDX-License-Identifier: Apache-2.0
// An image in space: voxels, their size, where they lie.
#pragma once
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

/// Triples follow the order of the image's axes: z, y, x.
struct Volume {
  Tensor image;                               // [D,H,W], or [C,D,H,W]
  std::array<double, 3> spacing = {1, 1, 1};  // voxel size; µm unless `unit` says otherwise
  bool spacing_known = false;                 // false: the file did not say, spacing is 1
  std::string unit = "um";
  std::array<double, 3> origin = {0, 0, 0};                       // position of the first voxel's centre, in `unit`
  std::array<double, 9> direction = {1, 0, 0, 0, 1, 0, 0, 0, 1};  // row i: the direction of axis i in space
  std::string name;                                               // file name without folder and extension
  std::filesystem::path source;
};

struct LoadOptions {
  std::optional<DType> dtype;  // convert while reading; default: the narrowest type that holds the file's values
  std::string entry;           // which array of an npz or safetensors file; may be empty when there is one
};

/// Reads a volume: npy, npy.gz, npz, safetensors, TIFF, TCF, PNG, told apart by content. Throws DataError that names the file,
/// what is wrong and, for unknown content, the formats of this build.
Volume load_volume(const std::filesystem::path& path, const LoadOptions& options = {});
/// The formats load_volume reads in this build, for messages: "npy, npz, TIFF (with libtiff), ...".
std::string volume_formats();
/// True when the file name's extension is one load_volume knows (built in or not).
bool looks_like_volume(const std::filesystem::path& path);

}  // namespace cuboid
