// SPDX-License-Identifier: Apache-2.0
// Labelled volumes: which files, which class, which patient; loading, checking, caching.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

struct Sample {
  std::string name;            // unique in its dataset: the path below the root, or "stack.npy:12"
  std::filesystem::path file;  // where the volume is
  std::int64_t index = -1;     // row of a stacked array (N,D,H,W); -1: the whole file is the volume
  std::int64_t label = -1;     // 0 ... classes-1; -1: unknown
  std::string group;           // patient; empty: unknown
  bool held_out = false;       // of a patient that no fold may touch
};

/// What load() does to the values. Per-volume min-max to [0,1] leaves prepared crops as they are.
enum class Rescale { minmax, none };

struct DatasetOptions {
  bool need_labels = true;  // false: volumes without a labels.csv are fine, their label is -1
  Rescale rescale = Rescale::minmax;
  std::int64_t shrink = 1;  // 2: means over 2x2x2 voxels, sizes must divide
  std::int64_t cache_bytes = std::int64_t{2} << 30;
};

/// A cheap handle on an immutable list of samples and the cache of its volumes; safe to share between threads.
class Dataset {
 public:
  Dataset() = default;
  /// Throws DataError for no samples, two of one name, a label without a class or a class without a sample.
  Dataset(std::vector<Sample> samples, std::vector<std::string> class_names, DatasetOptions options = {},
          std::array<double, 3> spacing_um = {0, 0, 0});

  std::int64_t size() const;
  const Sample& operator[](std::int64_t i) const;
  const std::vector<Sample>& samples() const;
  std::int64_t classes() const { return static_cast<std::int64_t>(class_names().size()); }
  const std::vector<std::string>& class_names() const;
  bool has_labels() const;
  /// Whether any sample belongs to a group.
  bool has_groups() const;
  /// Voxel size (z,y,x) in µm; zeros when nobody said.
  std::array<double, 3> spacing_um() const;
  const DatasetOptions& options() const;

  /// C,D,H,W of every item, after shrinking. Reads the first volume.
  Shape shape() const;
  /// f32 of shape(), to be read only (it may be the cache's). DataError with the file's name: unreadable, another
  /// shape than the first volume (both in the text), voxels that are NaN or infinite (how many).
  Tensor load(std::int64_t i) const;
  /// Loads every item once; throws the first error in the order of the samples.
  void verify() const;

  /// 16 hex digits over names, labels, groups, held-out flags and file sizes, in order.
  std::string fingerprint() const;
  /// Bytes the cache holds now.
  std::int64_t cached_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Opens
///   a folder with labels.csv (file,label[,group][,class]) and the volumes it names,
///   a folder with labels.csv (index,label[,group][,class]) and one stacked array,
///   a stacked array itself, labels.csv beside it,
///   and, with need_labels = false, any folder of volumes or a single volume.
/// "patient" is another word for "group"; "class" names the class of the row. An optional dataset.json beside labels.csv
/// may hold {"spacing_um": [z,y,x], "class_names": [...]}.
Dataset open_dataset(const std::filesystem::path& path, const DatasetOptions& options = {});

/// Volume files in `folder` and below (by extension), sorted, as paths relative to it.
std::vector<std::string> list_volumes(const std::filesystem::path& folder);

}  // namespace cuboid
