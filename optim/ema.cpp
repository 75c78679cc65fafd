// SPDX-License-Identifier: Apache-2.0
#include "optim/ema.h"

#include <algorithm>

#include "core/profiler.h"
#include "kernels/update/update.h"

namespace cuboid {

Ema::Ema(Module& net, EmaOptions options) : options_(options), live_(net.state_dict()) {
  check(options.decay >= 0 && options.decay < 1, "ema: decay is ", options.decay, ", must lie in [0, 1)");
  for (const auto& [name, t] : live_) averages_.emplace_back(name, clone(t));
}

void Ema::update() {
  const profiler::Range range("average");
  check(!swapped_, "ema: update while the averages are in the net");
  ++updates_;
  const auto k = static_cast<double>(updates_);
  Tensors averages, values;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    averages.push_back(averages_[i].second);
    values.push_back(live_[i].second.detach());
  }
  average_update(averages, values, options_.warmup ? std::min(options_.decay, k / (9 + k)) : options_.decay);
}

void Ema::swap() {
  for (std::size_t i = 0; i < live_.size(); ++i) {
    const Tensor before = clone(live_[i].second);
    copy(averages_[i].second, live_[i].second);
    copy(before, averages_[i].second);
  }
  swapped_ = !swapped_;
}

State Ema::to_state() const {
  check(!swapped_, "ema: state asked for while the averages are in the net");
  State state;
  state.values = Json::object({{"kind", "ema"}, {"updates", updates_}});
  for (const auto& [name, t] : averages_) state.tensors.emplace_back("average." + name, clone(t));
  return state;
}

void Ema::from_state(const State& state) {
  state.check_kind("ema");
  Tensors found;
  for (const auto& [name, t] : averages_) found.push_back(state.tensor("average." + name, t));
  for (std::size_t i = 0; i < found.size(); ++i) copy(found[i], averages_[i].second);
  updates_ = state.values.at("updates").as_int();
}

}  // namespace cuboid
