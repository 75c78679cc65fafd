// SPDX-License-Identifier: Apache-2.0
// From raw volumes and masks to a folder that every deepis command reads: checked, cut, numbered, with parts and voxel size.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/labelled.h"

namespace cuboid::deepis {

/// Slices [first, end) along z of every case that is in no named part become a case of their own in `split`.
struct SliceRange {
  std::string split;
  std::int64_t first = 0, end = 0;
};
/// "20:22": slices before 20 are train, those from 22 on test. "train=0:20,valid=22:26,test=28:32": as it says. UsageError.
std::vector<SliceRange> slice_ranges(const std::string& text);
/// "z0:z1,y0:y1,x0:x1", each bound may be left out. UsageError.
std::array<std::array<std::int64_t, 2>, 3> crop_box(const std::string& text);

struct PrepareOptions {
  std::filesystem::path input;
  /// Which files are images, labels or targets: "*_raw.npy", relative to the input; what the star stands for is the case's name.
  /// All empty: as open_labelled_dataset finds them.
  std::string images, labels, targets;
  std::filesystem::path output;  // new or empty
  std::optional<Head> head;
  std::vector<std::string> class_names;  // from label 1 on
  std::optional<Spacing> spacing_um;     // where the files do not say
  std::map<std::int64_t, std::int64_t> relabel;
  bool components = false;      // every connected piece of a label (neighbours share a face) becomes an object of its own
  std::int64_t min_voxels = 0;  // smaller objects become background
  bool crop = false;
  std::array<std::array<std::int64_t, 2>, 3> box{};  // z,y,x from and to; to = -1: the end
  std::optional<Spacing> resample_um;
  std::vector<std::string> test, valid;  // names of cases
  double test_share = 0, valid_share = 0;
  std::vector<SliceRange> slices;
  bool time_lapse = false;  // the number at a name's end is the frame, the rest the series
  bool write_targets = false, allow_empty = false, keep_going = false;
  bool check_only = false;  // look at everything, write nothing
  std::uint64_t seed = 42;
  std::function<void(std::int64_t done, std::int64_t of)> progress;
};

/// One row of the table: a case as it was written.
struct PrepareRow {
  std::string name, split, series, problem;  // problem: not written, because
  std::int64_t frame = -1;
  Shape shape;  // D,H,W
  std::int64_t channels = 0;
  Spacing spacing_um{};
  double low = 0, high = 0, mean = 0;
  std::int64_t objects = 0, at_border = 0;  // labels there are, and those that touch a face of the volume
  std::vector<std::int64_t> voxels;         // per class, background first
};

struct PrepareReport {
  Head head{};
  std::vector<std::string> class_names;
  std::vector<PrepareRow> rows;
  std::vector<std::string> warnings;
  std::int64_t written = 0, failed = 0;
  std::string table() const;  // csv
};

/// Writes images/NAME.npy, labels/NAME.npy (or targets/NAME.npy), cases.csv and, last, dataset.json. Every case is looked at
/// before the first is written. DataError that lists what is wrong with all of them (unless keep_going); an output folder that is
/// not empty.
PrepareReport prepare(const PrepareOptions& options);

/// The cases of the input and which part each belongs to.
std::vector<LabelledCase> raw_cases(const PrepareOptions& options);

}  // namespace cuboid::deepis
