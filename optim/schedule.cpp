// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <cmath>
#include <numbers>

namespace cuboid {

namespace {
constexpr const char* names[] = {"constant", "cosine", "step", "polynomial", "plateau"};
}

const char* name_of(ScheduleKind kind) { return names[static_cast<int>(kind)]; }

ScheduleKind schedule_kind(const std::string& name) {
  std::string known;
  for (int i = 0; i < 5; ++i) {
    if (name == names[i]) return static_cast<ScheduleKind>(i);
    known += std::string(i ? ", " : "") + names[i];
  }
  fail("schedule: no kind '", name, "'; there are ", known);
}

Schedule::Schedule(double base_lr, ScheduleOptions o) : base_lr_(base_lr), options_(o) {
  const bool has_length = o.kind == ScheduleKind::cosine || o.kind == ScheduleKind::polynomial;
  check(!has_length || o.length > 0, "schedule: ", name_of(o.kind), " needs a length");
  check(o.kind != ScheduleKind::step || o.step_size > 0, "schedule: step needs a step_size");
  check(o.warmup >= 0 && o.patience >= 0 && o.cooldown >= 0, "schedule: warmup, patience and cooldown must not be negative");
}

double Schedule::lr() const {
  const ScheduleOptions& o = options_;
  if (t_ < o.warmup)
    return base_lr_ * (o.warmup_start + (1 - o.warmup_start) * static_cast<double>(t_) / static_cast<double>(o.warmup));
  const auto t = static_cast<double>(t_ - o.warmup), length = static_cast<double>(o.length);
  switch (o.kind) {
    case ScheduleKind::constant:
      return base_lr_;
    case ScheduleKind::cosine:
      return o.min_lr + (base_lr_ - o.min_lr) / 2 * (1 + std::cos(std::numbers::pi * t / length));
    case ScheduleKind::step:
      return base_lr_ * std::pow(o.gamma, static_cast<double>((t_ - o.warmup) / o.step_size));
    case ScheduleKind::polynomial:
      return o.min_lr + (base_lr_ - o.min_lr) * std::pow(std::max(0.0, 1 - t / length), o.power);
    case ScheduleKind::plateau:
      return std::max(o.min_lr, base_lr_ * factor_);
  }
  fail("schedule: not a kind");
}

void Schedule::after_step() {
  if (!options_.per_epoch) ++t_;
}

void Schedule::after_epoch(std::optional<double> metric) {
  if (options_.per_epoch) ++t_;
  if (options_.kind != ScheduleKind::plateau) return;
  check(metric.has_value(), "schedule: plateau needs the epoch's metric");
  observe(*metric);
}

// As PyTorch's ReduceLROnPlateau with a relative threshold.
void Schedule::observe(double metric) {
  const ScheduleOptions& o = options_;
  const double value = o.maximise ? -metric : metric;
  if (!best_ || value < *best_ - o.threshold * std::abs(*best_)) {
    if (std::isfinite(value)) best_ = value;
    bad_epochs_ = 0;
  } else {
    ++bad_epochs_;
  }
  if (cooling_ > 0) {
    --cooling_;
    bad_epochs_ = 0;
  }
  if (bad_epochs_ <= o.patience) return;
  factor_ *= o.gamma;
  cooling_ = o.cooldown;
  bad_epochs_ = 0;
}

State Schedule::to_state() const {
  State state;
  state.values = Json::object({{"kind", name_of(options_.kind)},
                               {"t", t_},
                               {"factor", factor_},
                               {"best", best_ ? Json(*best_) : Json()},
                               {"bad_epochs", bad_epochs_},
                               {"cooling", cooling_}});
  return state;
}

void Schedule::from_state(const State& state) {
  state.check_kind(name_of(options_.kind));
  t_ = state.values.at("t").as_int();
  factor_ = state.values.at("factor").as_double();
  const Json& best = state.values.at("best");
  best_ = best.is_null() ? std::nullopt : std::optional(best.as_double());
  bad_epochs_ = state.values.at("bad_epochs").as_int();
  cooling_ = state.values.at("cooling").as_int();
}

}  // namespace cuboid
