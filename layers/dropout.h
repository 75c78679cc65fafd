// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>

#include "core/random.h"
#include "layers/module.h"

namespace cuboid {

/// Zeroes each element with probability p when training and scales the others by 1/(1-p). The mask is a function of
/// the key alone: a resumed run, a recomputed activation, or another number of threads sees the same one.
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor operator()(const Tensor& x);
  double p() const { return p_; }
  void set_key(const RandomKey& key) { key_ = key; }

 private:
  double p_;
  std::optional<RandomKey> key_;
};

/// Keys every Dropout of `net` for one training step: (seed, its place in the net, step). Call it before each forward
/// pass in training with a step of its own; nothing else has to be saved for a resumed run to draw the same masks. With `staged`
/// the device's kernels read the step there, when they run.
void set_random_step(Module& net, std::uint64_t seed, std::uint64_t step, const std::uint64_t* staged = nullptr);

}  // namespace cuboid
