// SPDX-License-Identifier: Apache-2.0
// Training on labelled volumes, as a function: what `cuboid deepis train` and `cuboid deepis demo` share.
#pragma once
#include <string>

#include "apps/deepis/trainer.h"
#include "apps/progress.h"
#include "apps/report.h"
#include "apps/run_folder.h"

namespace cuboid::deepis {

struct TrainJob {
  LabelledDataset dataset;
  Parts parts;
  ModelCard card;
  TrainOptions options;
};

/// Trains, or goes on where `resume`; best.safetensors and last.safetensors are in the folder's checkpoints. SIGINT and SIGTERM
/// save and throw app::Interrupted, or end the process with the same exit code where a step takes too long.
void train(const TrainJob& job, const app::RunFolder& run, bool resume, app::Progress& progress);

/// Chooses post-processing for the run's best weights on the cases for validation and keeps it in them and in postprocess.json,
/// where that is not done yet. The run is whole without it: app::Interrupted leaves everything as it is.
void tune_run(const TrainJob& job, const app::RunFolder& run, app::Progress& progress);

/// Bytes at the peak of a training step on patches of this size, D,H,W.
double training_memory_estimate(const ModelCard& card, const TrainOptions& options, const Shape& patch);

/// Curves of loss and Dice, and what they ended with, from metrics.jsonl; nothing where nothing is logged.
void add_training(app::Page& page, const app::RunFolder& run);
/// report.html: what was trained, on what, how it went. Returns its path.
std::string write_training_report(const app::RunFolder& run);

}  // namespace cuboid::deepis
