// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>

#include "optim/state.h"

namespace cuboid {

/// Gradients of several small batches as if they were one:
///   if (accumulator.backward(loss)) { optimiser.step(); optimiser.zero_grad(); }
/// Each loss is divided by the number of batches. Batch norm still sees each small batch by itself.
class GradAccumulator {
 public:
  GradAccumulator(const NamedTensors& parameters, std::int64_t batches);
  /// Adds this loss's gradients; true when the last of the group is in and a step is due. `last`, where given, does the last
  /// one's backward pass instead of cuboid::backward.
  bool backward(const Tensor& loss, const std::function<void(const Tensor&)>& last = {});
  std::int64_t pending() const { return pending_; }

  /// With the gradients gathered so far.
  State to_state() const;
  void from_state(const State& state);

 private:
  NamedTensors parameters_;
  std::int64_t batches_, pending_ = 0;
};

}  // namespace cuboid
