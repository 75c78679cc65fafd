// SPDX-License-Identifier: Apache-2.0
#include "apps/training/settings.h"

#include "kernels/dispatch.h"

namespace cuboid::training {

void Settings::add_loop(app::Options& options, const std::string& unit) {
  options.add("-e,--epochs", &loop.epochs, "passes over the training " + unit).at_least(1);
  options.add("-b,--batch-size", &loop.batch, unit + " per batch, of all processes together").at_least(1).at_most(65536);
  options.add("--accumulate", &loop.accumulate, "batches per optimiser step").at_least(1);
  options.add("--optimiser", &loop.optimiser, "which").choices({"sgd", "adam", "adamw"});
  options.add("--lr", &loop.lr, "learning rate").at_least(0);
  options.add("--momentum", &loop.momentum, "of sgd").at_least(0).at_most(1);
  options.add("--nesterov", &loop.nesterov, "sgd looks ahead");
  options.add("--beta1", &loop.beta1, "of adam and adamw: memory of the mean").at_least(0).at_most(0.99999999);
  options.add("--beta2", &loop.beta2, "of adam and adamw: memory of the square").at_least(0).at_most(0.99999999);
  options.add("--weight-decay", &loop.weight_decay, "coupled for sgd and adam, decoupled for adamw").at_least(0);
  options.add("--decay-norms", &loop.decay_vectors, "weight decay also on norms and biases");
  options.add("--schedule", &loop.schedule, "of the learning rate")
      .choices({"constant", "cosine", "step", "polynomial", "plateau"});
  options.add("--schedule-length", &loop.schedule_length, "steps (or epochs) of a cosine; 0 = the whole run").at_least(0);
  options.add("--schedule-per-epoch", &loop.schedule_per_epoch, "the schedule counts epochs");
  options.add("--warmup", &loop.warmup, "steps of linear warm-up").at_least(0);
  options.add("--gamma", &loop.gamma, "factor of step and plateau").at_least(0).at_most(1);
  options.add("--step-size", &loop.step_size, "of the step schedule, 0 = a third of the run").at_least(0);
  options.add("--plateau-patience", &loop.plateau_patience, "epochs").at_least(0);
  options.add("--clip", &loop.clip, "largest gradient norm, 0 = no limit").at_least(0);
  options.add("--ema", &loop.ema, "decay of averaged weights, 0 = off; 0.99 suits short runs").at_least(0).at_most(0.99999999);
}

void Settings::add_stopping(app::Options& options, const std::vector<std::string>& metrics) {
  options.add("--patience", &loop.patience, "epochs without improvement before the end, 0 = never stop").at_least(0);
  options.add("--best-by", &loop.best_by, "which validation metric chooses the weights").choices(metrics);
  options.add("--precision", &precision, "of convolutions; tf32: on a CUDA device").choices({"fp32", "tf32", "bf16"});
  options.add("--graph", &loop.graph, "on a CUDA device: each step as one CUDA graph");
}

void Settings::add_run(app::Options& options, const std::string& unit) {
  options.section("run");
  options.add("--name", &name, "of the run folder; default: the data's name");
  options.add("--runs", &runs, "folder of run folders");
  options.add("-o,--output", &output, "exactly this folder instead of a numbered one").not_saved();
  options.add("--overwrite", &overwrite, "write into a folder that holds something").not_saved();
  options.add("--resume", &resume, "continue this run folder where it stopped").not_saved();
  options.add("--save-every", &loop.save_every, "optimiser steps between checkpoints, 0 = every epoch").at_least(0);
  options.add("--sync-norm", &loop.synchronise_norm, "with several processes: batch norm over the " + unit + " of all of them");
  options.add("--workers", &loop.workers, "threads that load " + unit).at_least(0).at_most(64);
  options.add("--report", &report, "evaluate and write report.html at the end");
  common.add(options);
}

void Settings::finish() {
  loop.bf16 = precision == "bf16";
  loop.seed = static_cast<std::uint64_t>(common.seed);
  loop.device = common.where();
  const auto only_cuda = [&](bool wanted, const char* what) {
    check<app::UsageError>(
        !wanted || loop.device == Device::cuda,
        app::with_hint(join_text(what, ": the CPU has none, and --device is ", common.device), "--device cuda"));
  };
  only_cuda(loop.graph, "--graph");
  only_cuda(precision == "tf32", "--precision tf32");
  if (precision == "tf32") dispatch::set_tf32(true);
}

}  // namespace cuboid::training
