// SPDX-License-Identifier: Apache-2.0
// The options of `cuboid csf train`, and the recipes that set many of them at once.
#pragma once
#include <string>

#include "apps/app.h"
#include "apps/csf/split.h"
#include "apps/csf/trainer.h"
#include "apps/training/settings.h"

namespace cuboid::csf {

/// Where the cells are: shared by train, split and evaluate.
struct DataSettings {
  std::string data, task_file, task;
  std::int64_t shrink = 1;
  bool minmax = true;

  void add(app::Options& options);
  DataSource source() const;
};

struct TrainSettings {
  DataSettings data;
  std::string recipe = "careful";
  std::string net = "small";
  std::vector<std::int64_t> blocks;
  std::int64_t growth = 0, init_features = 0, bn_size = 0;
  double dropout = 0;

  std::string split_file, split = "automatic";
  std::int64_t folds = 0;
  std::vector<std::int64_t> only_folds;
  double valid = 0.2;

  TrainOptions train;  // its loop is that of `run`, once finish() is done
  training::Settings run;
  std::string class_weights = "none", tta = "none";
  double rotate = 20, jitter = 0;
  double flip_x = 0.5, flip_y = 0.5, flip_z = 0;
  std::string fill = "background";
  bool linear_rotation = false, augment = true;
  bool carry_over = false;

  void add(app::Options& options);
  /// Fills in train and returns the net to build.
  DenseNetOptions finish(std::int64_t classes);
  SplitOptions split_options() const;
};

/// careful: the defaults. paper: what the original repository does.
app::OptionValues recipe_values(const std::string& name);

}  // namespace cuboid::csf
