// SPDX-License-Identifier: Apache-2.0
// Training over folds, as a function: what `cuboid csf train` and `cuboid demo` share.
#pragma once
#include <vector>

#include "apps/csf/evaluation.h"
#include "apps/csf/trainer.h"
#include "apps/progress.h"
#include "apps/run_folder.h"
#include "data/split.h"

namespace cuboid::csf {

struct TrainJob {
  Dataset dataset;
  Split split;
  ModelCard card;
  TrainOptions options;
  std::vector<std::int64_t> only;  // folds, counted from 1; empty: all
  bool carry_over = false;
};

/// Trains a fresh model per fold and predicts its test cells with the best weights. SIGINT and SIGTERM save and throw
/// app::Interrupted, or end the process with the same exit code where a step takes too long.
Predictions train_folds(const TrainJob& job, const app::RunFolder& run, bool resume, app::Progress& progress);

/// Bytes at the peak of a training step.
double training_memory_estimate(const ModelCard& card, const TrainOptions& options);

}  // namespace cuboid::csf
