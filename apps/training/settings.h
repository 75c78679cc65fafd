// SPDX-License-Identifier: Apache-2.0
// The options of every command that trains, beside those of the net, its data and its loss.
#pragma once
#include <string>
#include <vector>

#include "apps/app.h"
#include "apps/training/options.h"

namespace cuboid::training {

struct Settings {
  Options loop;
  std::string precision = "fp32";
  std::string name, output, runs = "runs", resume;
  bool overwrite = false, report = true;
  app::Common common;

  /// `unit` is what a batch is made of: "cells". First --epochs to --ema, ...
  void add_loop(app::Options& options, const std::string& unit);
  /// ... then --patience to --graph; `metrics` are those of --best-by, ...
  void add_stopping(app::Options& options, const std::vector<std::string>& metrics);
  /// ... and at the end the run folder, --workers and what all commands share.
  void add_run(app::Options& options, const std::string& unit);
  /// After parsing. UsageError for what the device does not have.
  void finish();
};

}  // namespace cuboid::training
