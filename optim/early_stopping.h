// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>

#include "optim/state.h"

namespace cuboid {

struct EarlyStoppingOptions {
  std::int64_t patience = 15;  // epochs without improvement; then it is time to stop
  double delta = 0;            // an improvement is larger than this
  bool maximise = false;       // a greater metric is better
};

class EarlyStopping {
 public:
  explicit EarlyStopping(EarlyStoppingOptions options = {}) : options_(options) {}

  /// True when this metric is the best so far (keep these weights). NaN never is.
  bool update(double metric);
  bool should_stop() const { return waited_ >= options_.patience; }
  std::optional<double> best() const { return best_; }
  std::int64_t best_epoch() const { return best_epoch_; }  // counted from 0; -1 before the first
  std::int64_t waited() const { return waited_; }

  State to_state() const;
  void from_state(const State& state);

 private:
  EarlyStoppingOptions options_;
  std::optional<double> best_;
  std::int64_t epoch_ = 0, best_epoch_ = -1, waited_ = 0;
};

}  // namespace cuboid
