// SPDX-License-Identifier: Apache-2.0
// Training of one fold: what the training loop must be told about cells and their classes.
#pragma once
#include <filesystem>
#include <memory>

#include "apps/csf/model.h"
#include "apps/training/trainer.h"
#include "data/augment.h"
#include "data/split.h"

namespace cuboid::csf {

struct TrainOptions {
  training::Options loop;
  double label_smoothing = 0;
  bool balanced_loss = false;  // class weights 1/count
  AugmentOptions augment;
};

/// What validation tells, as --best-by takes them.
inline const std::vector<std::string> metric_names = {"loss", "auroc", "accuracy", "balanced-accuracy"};

/// A fresh net on one fold.
std::unique_ptr<training::Trainer> make_trainer(const TrainOptions& options, ModelCard card, const Dataset& dataset,
                                                const Fold& fold, const std::filesystem::path& checkpoints);

}  // namespace cuboid::csf
