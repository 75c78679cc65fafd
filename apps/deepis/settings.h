// SPDX-License-Identifier: Apache-2.0
// The options of `cuboid deepis train`, and the recipes that set many of them at once.
#pragma once
#include <string>
#include <vector>

#include "apps/deepis/trainer.h"
#include "apps/training/settings.h"

namespace cuboid::deepis {

struct TrainSettings {
  // data
  std::string data, head = "auto", normalise = "zscore";
  std::vector<std::string> spacing, range;
  double valid = 0.2;
  // net
  std::string recipe = "careful", net = "tiny";
  std::vector<std::int64_t> features;
  std::int64_t trans = 0;
  double dropout = 0.1;
  std::string supervision = "none";
  // loss
  std::string loss = "auto";
  double edge_weight = 1, outside = 0;
  std::int64_t edge_reach = 2;
  // patches
  std::vector<std::int64_t> patch, margin;
  std::int64_t patches = 1;
  double foreground = 0.33;
  // augmentation
  bool augment = true, legacy = false;
  double flip_x = 0.5, flip_y = 0.5, flip_z = 0.5, rotate = 1, rotate_degrees = 180, elastic = 0.3, zoom = 0, jitter = 0.1;
  std::string interpolation = "linear", fill = "background";

  bool tune = true;

  training::Settings run;

  TrainSettings();
  void add(app::Options& options);
  LabelledOptions labelled() const;
  /// What to build and how to train it, for this data.
  ModelCard card(const LabelledDataset& dataset) const;
  TrainOptions finish(const LabelledDataset& dataset);
};

/// careful: the defaults. paper: as the original was trained.
app::OptionValues recipe_values(const std::string& name);

}  // namespace cuboid::deepis
