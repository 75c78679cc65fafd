// SPDX-License-Identifier: Apache-2.0
// A training as a command runs it: the run folder, progress, metrics.jsonl, signals, lost ranks.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "apps/progress.h"
#include "apps/run_folder.h"
#include "apps/training/settings.h"
#include "apps/training/trainer.h"

namespace cuboid::training {

/// `--resume FOLDER` reads the options from FOLDER/run.toml.
std::vector<std::string> with_run_options(const std::vector<std::string>& arguments);

/// The processes that were started together; when one is lost, a run() in this one ends.
Group join(const Launch& launch, Device device);

/// The folder of --resume or --output, or the next numbered one. Rank 0 makes it, lets `begin` write into a new one, and tells
/// the others.
app::RunFolder folder_of(const Settings& settings, const Group& group, const std::string& name,
                         const std::function<void(const app::RunFolder&)>& begin);

/// manifest.json: written at once with "finished": null, and again at the end.
class Manifest {
 public:
  Manifest(const app::RunFolder& folder, const Settings& settings, const Group& group, Json data, Json model);
  void finish(double seconds);

 private:
  const app::RunFolder& folder_;
  Json json_;
};

/// How a training is told.
struct Telling {
  std::string name = "training", title = "training";  // "fold 1", "fold 1/5"
  bool part = false;                                  // of several: the title stands before each epoch's line
  std::string unit = "samples";                       // "cells": of the rate, here and in metrics.jsonl
  Json about = Json::object();                        // what each line of metrics.jsonl begins with: {"fold": 1}
  /// Of a validation, after its loss: "bal.acc 81.0 %  AUROC 0.912".
  std::function<std::string(const EpochReport& report)> metrics = {};
};

/// Trains to the end and logs every epoch. SIGINT and SIGTERM save and throw app::Interrupted, or end the process with the same
/// exit code where a step takes too long; a lost rank ends it likewise, as RankLost.
void run(Trainer& trainer, const app::RunFolder& folder, const Telling& telling, app::Progress& progress, bool resumed);

}  // namespace cuboid::training
