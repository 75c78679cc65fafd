// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "layers/module.h"
#include "optim/optimiser.h"

namespace cuboid {

/// A training step as one CUDA graph: the first call runs it, the second one records it, from then on it is replayed at the cost
/// of one launch, with the same bits.
///
///   StepGraph graph(net, optimiser, 8, [&](const Tensors& in) { ...; backward(loss); optimiser.step(); ...; return loss; });
///   set_random_step(net, seed, i, graph.random_step());
///   optimiser.set_lr(lr);  const double loss = graph.run({x, labels}, i).item();
///
/// What changes from step to step lies in memory of the device that is written before each replay: the inputs, the optimiser's
/// numbers, the step of the random masks. Whatever else the step decides on the host is decided once, while it is recorded.
/// Where it cannot be recorded it runs as it is, and standard error says why, once per reason.
class StepGraph {
 public:
  /// Computes the loss, sweeps, takes the optimiser's step and clears the gradients. Reads nothing back to the host.
  using Step = std::function<Tensor(const Tensors& inputs)>;

  /// `samples`: the first dimension of the inputs to be recorded; others run as they are.
  StepGraph(Module& net, Optimiser& optimiser, std::int64_t samples, Step step);
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;
  ~StepGraph();

  /// One step. The loss: one f64 on the net's device, to be read before the next step.
  Tensor run(const Tensors& inputs, std::uint64_t random_step);
  /// For set_random_step: where a recorded step finds the number given to run().
  const std::uint64_t* random_step() const;
  /// Steps that were replayed.
  std::int64_t replays() const { return replays_; }

 private:
  struct Recording;
  void give_up(const std::string& reason);
  void note(const std::string& reason);

  Optimiser& optimiser_;
  std::int64_t samples_;
  Step step_;
  NamedTensors written_;  // by the step
  Tensor loss_, random_step_;
  std::unique_ptr<Recording> recording_;  // null where it was given up
  std::int64_t replays_ = 0;
  std::vector<std::string> said_;
};

}  // namespace cuboid
