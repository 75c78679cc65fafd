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

/// Triples follow the order of the image's axes: z, y, x; also in space, where NIfTI's axes are meant: x to the right, y to the
/// front, z up. Voxel i lies at origin + sum over axes a of i[a] * spacing[a] * (row a of direction).
struct Volume {
  Tensor image;                                                   // [D,H,W], or [C,D,H,W]
  std::array<double, 3> spacing = {1, 1, 1};                      // voxel size; µm unless `unit` says otherwise
  bool spacing_known = false;                                     // false: the file did not say, spacing is 1
  std::string unit = "um";                                        // "um", "mm" or "m"
  std::array<double, 3> origin = {0, 0, 0};                       // position of the first voxel's centre, in `unit`
  std::array<double, 9> direction = {1, 0, 0, 0, 1, 0, 0, 0, 1};  // row i: the direction of axis i in space
  bool orientation_known = false;                                 // false: the file did not say, direction is the default
  std::string name;                                               // file name without folder and extension
  std::filesystem::path source;
  std::vector<std::string> notes;  // what is odd about the file, and how it was taken
};
/// Voxel size in µm, whatever the unit.
std::array<double, 3> spacing_um(const Volume& volume);
/// Where the axes x, y, z of the image point: "RAS" is right, anterior, superior; each axis gets the direction it is closest to.
std::string orientation_letters(const Volume& volume);

struct LoadOptions {
  std::optional<DType> dtype;  // convert while reading; default: the narrowest type that holds the file's values
  std::string entry;           // which array of an npz, safetensors or mat file; may be empty when there is one
  /// Which time point of a series. Default: all of a NIfTI file, as channels; the first of a TCF file.
  std::optional<std::int64_t> frame;
};

/// Reads a volume: npy, npy.gz, npz, NIfTI, mat, safetensors, TIFF, TCF, PNG, told apart by content. Throws DataError that names
/// the file, what is wrong and, for unknown content, the formats of this build.
Volume load_volume(const std::filesystem::path& path, const LoadOptions& options = {});
/// The formats load_volume reads in this build, for messages: "npy, npz, TIFF (with libtiff), ...".
std::string volume_formats();
/// True when the file name's extension is one load_volume knows (built in or not).
bool looks_like_volume(const std::filesystem::path& path);
/// The file name without folder and extension: "scan" of "a/scan.nii.gz".
std::string volume_name(const std::filesystem::path& path);

}  // namespace cuboid
