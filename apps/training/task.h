// SPDX-License-Identifier: Apache-2.0
// What the training loop does not know: a net, its batches, its loss, and how good it is.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/safetensors.h"
#include "data/loader_plan.h"
#include "layers/module.h"

namespace cuboid::training {

/// What this rank has of a batch.
struct Portion {
  Tensors inputs;     // for Task::loss, on the net's device; their first dimension counts the samples
  double weight = 1;  // of this portion's loss in the batch's, which is the weighted mean over the ranks
  LoaderState at;
  std::int64_t total = 0;  // samples of the batch, on all ranks
};

/// In the order in which they are shown; names as --best-by takes them: "balanced-accuracy".
using Metrics = std::vector<std::pair<std::string, double>>;

class Task {
 public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  /// On the device of the options, and the same object every time.
  virtual Module& net() = 0;

  /// Batches and samples of an epoch, on all ranks; at least one of each.
  virtual std::int64_t batches() const = 0;
  virtual std::int64_t samples() const = 0;
  /// From here on; what a batch holds depends on the seed and its position alone.
  virtual void seek(LoaderState position) = 0;
  /// Nothing at the end of an epoch.
  virtual std::optional<Portion> next() = 0;

  /// The mean over the samples; one value on the net's device. Reads nothing back to the host: it may be recorded as a graph.
  virtual Tensor loss(const Tensors& inputs, std::int64_t epoch) = 0;
  /// Epochs of one phase have the same loss, so that one graph does for them.
  virtual std::int64_t phase(std::int64_t /*epoch*/) const { return 0; }

  /// False without anything to validate on: then the newest weights count as the best, and validate() gives NaN.
  virtual bool validates() const = 0;
  /// The net as it is now, on all ranks the same values. Calls `poll` after each batch, which throws where it is time to stop.
  virtual Metrics validate(const std::function<void()>& poll) = 0;

  /// What must be the same in a run that goes on, beside the loop's own options.
  virtual Json options() const = 0;
  /// Of the checkpoints: how to build the net, and what it was shown.
  virtual Metadata metadata() const = 0;
};

}  // namespace cuboid::training
