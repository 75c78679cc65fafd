// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "layers/module.h"
#include "optim/state.h"

namespace cuboid {

struct EmaOptions {
  double decay = 0.999;
  bool warmup = true;  // the k-th update decays by min(decay, k / (9 + k)), so that the first weights are soon forgotten
};

/// Exponential moving average of a net's weights. Buffers (running statistics) are averaged as well.
class Ema {
 public:
  explicit Ema(Module& net, EmaOptions options = {});
  /// After each optimiser step.
  void update();
  /// Exchanges the net's weights and the averages: call it before an evaluation and again after.
  void swap();

  State to_state() const;
  void from_state(const State& state);

 private:
  EmaOptions options_;
  NamedTensors live_, averages_;
  std::int64_t updates_ = 0;
  bool swapped_ = false;
};

/// Swaps for the length of a scope.
class EmaScope {
 public:
  explicit EmaScope(Ema& ema) : ema_(ema) { ema_.swap(); }
  EmaScope(const EmaScope&) = delete;
  EmaScope& operator=(const EmaScope&) = delete;
  ~EmaScope() { ema_.swap(); }

 private:
  Ema& ema_;
};

}  // namespace cuboid
