// SPDX-License-Identifier: Apache-2.0
// Opening data with or without a task, and writing its folds.
#pragma once
#include <filesystem>
#include <string>

#include "data/split.h"

namespace cuboid::csf {

/// What to train on: any dataset, or the cells of a task.
struct DataSource {
  std::filesystem::path data;  // see open_dataset
  std::string task_file;       // empty: labels.csv decides; else a file, or the name of a shipped one
  std::string task;            // name within the task file; empty: the only one
  DatasetOptions options;
};
Dataset open_data(const DataSource& source);

struct SplitReport {
  Dataset dataset;
  Split split;
  /// One line per fold: cells and patients of each class in train, valid and test.
  std::string table() const;
};

/// Makes the folds and, when `output` is not empty, writes them there (refusing to replace a file unless `force`).
SplitReport split_data(const DataSource& source, const SplitOptions& options, const std::filesystem::path& output = {},
                       bool force = false);

}  // namespace cuboid::csf
