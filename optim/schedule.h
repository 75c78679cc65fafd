// SPDX-License-Identifier: Apache-2.0
// The learning rate over time. All but the plateau are closed forms of t, the number of steps (or epochs) done.
#pragma once
#include <optional>

#include "optim/state.h"

namespace cuboid {

enum class ScheduleKind : std::uint8_t {
  constant,    // lr
  cosine,      // min + (lr-min)/2 (1 + cos(pi t/length)); beyond `length` it climbs back, with period 2 length
  step,        // lr gamma^floor(t/step_size)
  polynomial,  // min + (lr-min) (1 - t/length)^power, then min
  plateau,     // times gamma after more than `patience` epochs in which the metric did not improve
};
const char* name_of(ScheduleKind kind);
/// By those names; throws Error with the list for another one.
ScheduleKind schedule_kind(const std::string& name);

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::constant;
  bool per_epoch = false;   // t counts epochs; otherwise optimiser steps
  std::int64_t length = 0;  // cosine, polynomial: t at the end
  double min_lr = 0;        // cosine, polynomial, plateau
  double power = 0.9;       // polynomial
  std::int64_t step_size = 0;
  double gamma = 0.1;          // step, plateau
  std::int64_t patience = 10;  // plateau
  double threshold = 1e-4;     // plateau: an improvement is relative to the best by more than this
  std::int64_t cooldown = 0;   // plateau: epochs after a reduction in which nothing is counted
  bool maximise = false;       // plateau: a greater metric is better
  std::int64_t warmup = 0;     // before all that: linear from warmup_start * lr to lr over so many t
  double warmup_start = 0;
};

class Schedule {
 public:
  Schedule(double base_lr, ScheduleOptions options);

  /// For the next optimiser step.
  double lr() const;
  void after_step();
  /// The plateau needs the epoch's metric.
  void after_epoch(std::optional<double> metric = {});

  State to_state() const;
  void from_state(const State& state);

 private:
  void observe(double metric);

  double base_lr_;
  ScheduleOptions options_;
  std::int64_t t_ = 0;
  // plateau
  double factor_ = 1;
  std::optional<double> best_;
  std::int64_t bad_epochs_ = 0, cooling_ = 0;
};

}  // namespace cuboid
