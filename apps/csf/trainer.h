// SPDX-License-Identifier: Apache-2.0
// Training of one fold. Everything that changes is in one checkpoint, so a run that was stopped anywhere continues with the
// same bits.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/csf/model.h"
#include "data/loader.h"
#include "data/split.h"
#include "optim/accumulate.h"
#include "optim/early_stopping.h"
#include "optim/ema.h"
#include "optim/optimiser.h"
#include "optim/parallel.h"
#include "optim/schedule.h"
#include "optim/step_graph.h"

namespace cuboid::csf {

enum class BestBy { loss, auroc, accuracy, balanced_accuracy };
const char* name_of(BestBy metric);
BestBy best_by(const std::string& name);

struct TrainOptions {
  // optimiser
  std::string optimiser = "adamw";  // sgd, adam, adamw
  double lr = 1e-3, weight_decay = 0.01, momentum = 0.9;
  bool nesterov = false, decay_vectors = false;
  // schedule
  std::string schedule = "cosine";
  std::int64_t schedule_length = 0;  // 0: the whole run
  std::int64_t warmup = 0;           // optimiser steps
  bool schedule_per_epoch = false;
  double gamma = 0.1;  // step, plateau
  std::int64_t step_size = 0, plateau_patience = 10;
  // loop
  std::int64_t epochs = 60, batch = 8, accumulate = 1, patience = 20, save_every = 0, workers = 1;
  double clip = 0, ema = 0, label_smoothing = 0;
  bool balanced_loss = false;  // class weights 1/count
  bool bf16 = false;
  bool graph = false;  // on a CUDA device: the whole step as one graph, with the same bits
  BestBy best_by = BestBy::loss;
  std::uint64_t seed = 42;
  Device device = Device::cpu;   // a checkpoint does not know it: a run may go on elsewhere
  const Group* group = nullptr;  // the processes that share each batch, likewise; null: this one alone
  bool synchronise_norm = true;  // their batch norms see all of it
  AugmentOptions augment;
};

struct EpochReport {
  std::int64_t epoch = 0, steps = 0;  // counted from 0; optimiser steps so far
  double train_loss = 0, lr = 0, seconds = 0, cells_per_second = 0;
  double valid_loss = 0, valid_accuracy = 0, valid_balanced_accuracy = 0, valid_auroc = 0;  // NaN without validation cells
  bool best = false;
  std::int64_t device_peak_bytes = 0;  // of the allocator of a CUDA device
};

class Trainer {
 public:
  struct Hooks {
    std::function<void(std::int64_t epoch, std::int64_t batch, std::int64_t batches, double mean_loss)> on_batch = {};
    std::function<void(const EpochReport&)> on_epoch = {};
    std::function<bool()> stop = {};  // asked after every batch; true: save and throw Interrupted
  };

  /// `checkpoints` gets last.safetensors (weights and all state) and best.safetensors (weights); only rank 0 writes, all read.
  Trainer(TrainOptions options, ModelCard card, Dataset dataset, Fold fold, std::filesystem::path checkpoints);
  ~Trainer();

  /// Continues from last.safetensors when it is there. DataError when it belongs to other options, data or another net.
  bool resume();
  /// The original's leak, on demand: weights, optimiser and schedule of another fold are the start.
  void carry_over(const std::filesystem::path& checkpoints);

  /// Until the last epoch or the end of patience. Throws app::Interrupted when stop says so, Error when the loss is not finite.
  void run(const Hooks& hooks);

  /// Saves last.safetensors from what was true after the last optimiser step; may be called from another thread while run() is
  /// busy, and does nothing where the file is up to date.
  void save_from_outside();

  bool finished() const { return finished_; }
  std::int64_t epoch() const { return position_.epoch; }
  std::int64_t step() const { return optimiser_->steps(); }
  DenseNet& net() { return *net_; }

 private:
  struct Validation;
  void train_epoch(const Hooks& hooks, double& seconds, std::int64_t& cells);
  Tensor loss_of(const Tensor& x, const Tensor& labels);
  void take_step();
  bool train_batch(const Batch& batch, const Hooks& hooks);
  double agree(Tensor& loss, double value, const Batch& batch, const Hooks& hooks);
  Validation validate(const Hooks& hooks);
  void apply_lr();
  void save();
  void write_state(const NamedTensors& weights) const;
  Json options_json() const;
  void stop_if_asked(const Hooks& hooks);
  /// Makes this point the one to come back to. Called with guard_ held.
  void commit();

  TrainOptions options_;
  ModelCard card_;
  Dataset dataset_;
  Fold fold_;
  std::filesystem::path checkpoints_;
  Group alone_;
  const Group& group_;
  std::unique_ptr<DenseNet> net_;
  std::unique_ptr<Optimiser> optimiser_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Ema> ema_;
  std::unique_ptr<GradAccumulator> accumulator_;
  std::unique_ptr<StepGraph> graph_;        // with --graph
  std::unique_ptr<DataParallel> parallel_;  // null without other ranks
  bool all_stop_ = false;                   // some rank was asked to stop
  EarlyStopping early_stopping_;
  Loader loader_;
  Tensor class_weights_;

  LoaderState position_;  // batches done
  double loss_sum_ = 0;   // of this epoch's batches
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

}  // namespace cuboid::csf
