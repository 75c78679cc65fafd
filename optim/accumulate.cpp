// SPDX-License-Identifier: Apache-2.0
#include "optim/accumulate.h"

#include "kernels/pointwise/pointwise.h"

namespace cuboid {

GradAccumulator::GradAccumulator(const NamedTensors& parameters, std::int64_t batches)
    : parameters_(parameters), batches_(batches) {
  check(batches > 0, "accumulate: ", batches, " batches");
}

bool GradAccumulator::backward(const Tensor& loss, const std::function<void(const Tensor&)>& last) {
  const Tensor part = batches_ == 1 ? loss : loss * (1 / static_cast<double>(batches_));
  if (last && pending_ + 1 == batches_) last(part);
  else cuboid::backward(part);
  pending_ = (pending_ + 1) % batches_;
  return pending_ == 0;
}

State GradAccumulator::to_state() const {
  State state;
  state.values = Json::object({{"kind", "accumulate"}, {"pending", pending_}});
  if (pending_ == 0) return state;
  for (const auto& [name, p] : parameters_)
    if (p.grad().defined()) state.tensors.emplace_back("gradient." + name, clone(p.grad()));
  return state;
}

void GradAccumulator::from_state(const State& state) {
  state.check_kind("accumulate");
  pending_ = state.values.at("pending").as_int();
  check<DataError>(pending_ >= 0 && pending_ < batches_, "state: ", pending_, " batches pending of ", batches_);
  for (const auto& [name, p] : parameters_) {
    p.grad() = Tensor();
    for (const auto& [key, gradient] : state.tensors)
      if (key == "gradient." + name) p.grad() = to(clone(state.tensor(key, p.detach())), p.device());
  }
}

}  // namespace cuboid
