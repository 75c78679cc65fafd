// SPDX-License-Identifier: Apache-2.0
#include "optim/early_stopping.h"

#include <cmath>

namespace cuboid {

bool EarlyStopping::update(double metric) {
  const double sign = options_.maximise ? -1 : 1;
  const bool better = std::isfinite(metric) && (!best_ || sign * metric < sign * *best_ - options_.delta);
  if (better) {
    best_ = metric;
    best_epoch_ = epoch_;
    waited_ = 0;
  } else {
    ++waited_;
  }
  ++epoch_;
  return better;
}

State EarlyStopping::to_state() const {
  State state;
  state.values = Json::object({{"kind", "early_stopping"},
                               {"best", best_ ? Json(*best_) : Json()},
                               {"epoch", epoch_},
                               {"best_epoch", best_epoch_},
                               {"waited", waited_}});
  return state;
}

void EarlyStopping::from_state(const State& state) {
  state.check_kind("early_stopping");
  const Json& best = state.values.at("best");
  best_ = best.is_null() ? std::nullopt : std::optional(best.as_double());
  epoch_ = state.values.at("epoch").as_int();
  best_epoch_ = state.values.at("best_epoch").as_int();
  waited_ = state.values.at("waited").as_int();
}

}  // namespace cuboid
