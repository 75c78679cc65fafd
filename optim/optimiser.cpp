// SPDX-License-Identifier: Apache-2.0
#include "optim/optimiser.h"

#include <cmath>

#include "core/profiler.h"

namespace cuboid {

Optimiser::Optimiser(const char* kind, const NamedTensors& parameters, double lr, double weight_decay, bool decay_vectors,
                     const std::vector<std::string>& slots)
    : kind_(kind),
      parameters_(parameters),
      lr_(lr),
      weight_decay_(weight_decay),
      decay_vectors_(decay_vectors),
      slot_names_(slots),
      slots_(slots.size()) {
  check(lr >= 0 && weight_decay >= 0, kind, ": lr ", lr, " and weight_decay ", weight_decay, " must not be negative");
  for (const auto& [name, p] : parameters_)
    for (auto& slot : slots_) slot.push_back(zeros_like(p.detach()));
}

void Optimiser::stage(bool counts) {
  if (counts) ++steps_;
  staged_ = true;
  const Device device = parameters_.empty() ? Device::cpu : parameters_[0].second.device();
  if (device == Device::cpu) return;  // nothing there is ever replayed
  const std::vector<double> now = numbers();
  const auto count = static_cast<std::int64_t>(now.size());
  if (!numbers_.defined()) numbers_ = empty({count}, {DType::f64, device});
  for (std::int64_t i = 0; i < count; ++i)
    fill(Tensor(numbers_.storage(), i, {}, {}, DType::f64), now[static_cast<std::size_t>(i)]);
}

void Optimiser::step() {
  const profiler::Range range("optimiser");
  if (!staged_) ++steps_;
  struct Group {
    Tensors parameters, gradients;
    std::vector<Tensors> slots;
  };
  Group groups[2];  // without and with weight decay
  for (auto& group : groups) group.slots.resize(slots_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i].second;
    if (!p.requires_grad() || !p.grad().defined()) continue;
    Group& group = groups[weight_decay_ != 0 && (decay_vectors_ || p.rank() > 1)];
    group.parameters.push_back(p);
    group.gradients.push_back(p.grad().detach());
    for (std::size_t s = 0; s < slots_.size(); ++s) group.slots[s].push_back(slots_[s][i]);
  }
  for (const bool decays : {false, true}) {
    const Group& group = groups[decays];
    if (!group.parameters.empty()) update(group.parameters, group.gradients, group.slots, decays ? weight_decay_ : 0);
  }
  staged_ = false;
}

void Optimiser::zero_grad() {
  const profiler::Range range("zero_grad");
  for (const auto& [name, p] : parameters_) p.grad() = Tensor();
}

State Optimiser::to_state() const {
  State state;
  state.values = Json::object({{"kind", kind_}, {"lr", lr_}, {"steps", steps_}});
  for (std::size_t s = 0; s < slots_.size(); ++s)
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      state.tensors.emplace_back(slot_names_[s] + "." + parameters_[i].first, clone(slots_[s][i]));
  return state;
}

void Optimiser::from_state(const State& state) {
  state.check_kind(kind_);
  std::vector<Tensors> slots(slots_.size());
  for (std::size_t s = 0; s < slots_.size(); ++s)
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      slots[s].push_back(state.tensor(slot_names_[s] + "." + parameters_[i].first, slots_[s][i]));
  lr_ = state.values.at("lr").as_double();
  steps_ = state.values.at("steps").as_int();
  for (std::size_t s = 0; s < slots_.size(); ++s)
    for (std::size_t i = 0; i < parameters_.size(); ++i) copy(slots[s][i], slots_[s][i]);
}

// ---- SGD --------------------------------------------------------------------------------------

Sgd::Sgd(const NamedTensors& parameters, SgdOptions o)
    : Optimiser("sgd", parameters, o.lr, o.weight_decay, o.decay_vectors,
                o.momentum != 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
      options_(o) {
  check(o.momentum >= 0, "sgd: momentum ", o.momentum, " must not be negative");
  check(!o.nesterov || o.momentum > 0, "sgd: nesterov needs a momentum");
}

void Sgd::update(const Tensors& p, const Tensors& g, const std::vector<Tensors>& slots, double weight_decay) {
  sgd_update(p, g, slots.empty() ? Tensors{} : slots[0],
             {.lr = lr(),
              .momentum = options_.momentum,
              .weight_decay = weight_decay,
              .nesterov = options_.nesterov,
              .staged = staged()});
}

std::vector<double> Sgd::numbers() const { return {lr()}; }

// ---- Adam -------------------------------------------------------------------------------------

Adam::Adam(const char* kind, const NamedTensors& parameters, const AdamOptions& o, bool decoupled)
    : Optimiser(kind, parameters, o.lr, o.weight_decay, o.decay_vectors, {"first", "second"}),
      options_(o),
      decoupled_(decoupled) {
  check(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, kind, ": betas ", o.beta1, " and ", o.beta2,
        " must lie in [0, 1)");
}

void Adam::update(const Tensors& p, const Tensors& g, const std::vector<Tensors>& slots, double weight_decay) {
  adam_update(p, g, slots[0], slots[1],
              {.lr = lr(),
               .beta1 = options_.beta1,
               .beta2 = options_.beta2,
               .eps = options_.eps,
               .weight_decay = weight_decay,
               .epsilon = options_.epsilon,
               .decoupled = decoupled_,
               .t = steps(),
               .staged = staged()});
}

std::vector<double> Adam::numbers() const {
  const auto t = static_cast<double>(steps());
  return {lr(), 1 - std::pow(options_.beta1, t), 1 - std::pow(options_.beta2, t)};
}

Tensor clip_grad_norm(const Tensors& parameters, double max_norm) {
  const profiler::Range range("clip");
  check(max_norm > 0, "clip_grad_norm: max_norm is ", max_norm, ", must be positive");
  Tensors gradients;
  for (const auto& p : parameters)
    if (p.grad().defined()) gradients.push_back(p.grad().detach());
  const Clipped result = clipped(gradients, max_norm);
  auto next = result.tensors.begin();
  for (const auto& p : parameters)
    if (p.grad().defined()) p.grad() = *next++;
  return result.norm;
}

}  // namespace cuboid
