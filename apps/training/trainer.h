// SPDX-License-Identifier: Apache-2.0
// The training loop of every app. Everything that changes is in one checkpoint, so a run that was stopped anywhere continues
// with the same bits.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "apps/training/options.h"
#include "apps/training/task.h"
#include "optim/accumulate.h"
#include "optim/early_stopping.h"
#include "optim/ema.h"
#include "optim/optimiser.h"
#include "optim/parallel.h"
#include "optim/schedule.h"
#include "optim/step_graph.h"

namespace cuboid::training {

struct EpochReport {
  std::int64_t epoch = 0, steps = 0;  // counted from 0; optimiser steps so far
  double train_loss = 0, lr = 0, seconds = 0, samples_per_second = 0;
  bool validated = false;
  Metrics valid;  // NaN where nothing was validated
  bool best = false;
  std::int64_t device_peak_bytes = 0;  // of the allocator of a CUDA device

  /// NaN for a name that is none.
  double metric(const std::string& name) const;
};

class Trainer {
 public:
  struct Hooks {
    std::function<void(std::int64_t epoch, std::int64_t batch, std::int64_t batches, double mean_loss)> on_batch = {};
    std::function<void(const EpochReport&)> on_epoch = {};
    std::function<bool()> stop = {};  // asked after every batch; true: save and throw Interrupted
  };

  /// `checkpoints` gets last.safetensors (weights and all state) and best.safetensors (weights); only rank 0 writes, all read.
  Trainer(Options options, std::unique_ptr<Task> task, std::filesystem::path checkpoints);
  ~Trainer();

  /// Continues from last.safetensors when it is there. DataError when it belongs to other options, data or another net.
  bool resume();
  /// Weights, optimiser and schedule of another run are the start.
  void carry_over(const std::filesystem::path& checkpoints);

  /// Until the last epoch or the end of patience. Throws app::Interrupted when stop says so, Error when the loss is not finite.
  void run(const Hooks& hooks);

  /// Saves last.safetensors from what was true after the last optimiser step; may be called from another thread while run() is
  /// busy, and does nothing where the file is up to date.
  void save_from_outside();

  bool finished() const { return finished_; }
  std::int64_t epoch() const { return position_.epoch; }
  std::int64_t step() const { return optimiser_->steps(); }
  const Options& options() const { return options_; }
  Module& net() { return net_; }

 private:
  void make_graph();
  void train_epoch(const Hooks& hooks, double& seconds, std::int64_t& samples);
  Tensor loss_of(const Tensors& inputs);
  void take_step();
  bool train_batch(const Portion& portion, const Hooks& hooks);
  double agree(Tensor& loss, double value, const Portion& portion, const Hooks& hooks);
  Metrics validate(const Hooks& hooks);
  void save();
  void write_state(const NamedTensors& weights) const;
  Json options_json() const;
  void stop_if_asked(const Hooks& hooks);
  /// Makes this point the one to come back to. Called with guard_ held.
  void commit();

  Options options_;
  std::unique_ptr<Task> task_;
  std::filesystem::path checkpoints_;
  Group alone_;
  const Group& group_;
  Module& net_;
  std::unique_ptr<Optimiser> optimiser_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Ema> ema_;
  std::unique_ptr<GradAccumulator> accumulator_;
  bool with_graph_ = false;
  std::unique_ptr<StepGraph> graph_;  // of the phase at hand
  std::int64_t graph_phase_ = 0;
  std::unique_ptr<DataParallel> parallel_;  // null without other ranks
  bool all_stop_ = false;                   // some rank was asked to stop
  EarlyStopping early_stopping_;

  LoaderState position_;  // batches done
  double loss_sum_ = 0;   // of this epoch's samples
  std::int64_t loss_count_ = 0;
  bool finished_ = false;

  // What save_from_outside() may touch. Weights change only while guard_ is held; buffers (running statistics) change during
  // forward passes, so their values after the last step are kept.
  std::mutex guard_;
  NamedTensors buffers_, buffers_kept_;
  Json values_kept_;
  State accumulator_kept_;
  bool saved_ = false, may_save_ = false;  // the file holds what is kept; what is kept may be saved now
};

}  // namespace cuboid::training
