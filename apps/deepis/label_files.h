// SPDX-License-Identifier: Apache-2.0
// Volumes in folders, told apart by name, and paired by it.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/labelled.h"

namespace cuboid::deepis {

/// What a file is called without its format and its role: "cell_3.labels.nii.gz" and "cell_3.distance.npy" are both "cell_3".
std::string case_name(const std::filesystem::path& file);

struct VolumeFile {
  std::string name;  // within a folder: with the folders below it, "day1/cell_3"
  std::filesystem::path path;
};
/// The volumes of a folder and those below it, in natural order ("t2" before "t10"); a file stands for itself. Where a folder
/// holds NAME.labels.* or NAME.distance.* (what `deepis predict` writes), only the files of that role count, labels first;
/// otherwise all volumes do. DataError for nothing there.
std::vector<VolumeFile> volume_files(const std::filesystem::path& input);

/// Whole numbers (D,H,W) as i32; DataError for other values, and for more than one channel.
struct LabelVolume {
  Tensor labels;
  Spacing spacing_um{};  // zeros: the file does not say
};
LabelVolume load_labels(const std::filesystem::path& path);

/// Voxel size of a file that does not say it, from dataset.json or predict.json in its folder or the one above: for this case, or
/// for all. Zeros when nothing is known.
Spacing spacing_beside(const std::filesystem::path& file);

/// DataError unless both say the same within a thousandth, or one says nothing. Returns the one that is known.
Spacing common_spacing(const Spacing& a, const std::string& a_name, const Spacing& b, const std::string& b_name);

}  // namespace cuboid::deepis
