// SPDX-License-Identifier: Apache-2.0
#include "apps/training/trainer.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <optional>

#include "apps/app.h"
#include "apps/progress.h"
#include "core/autograd.h"
#include "core/profiler.h"
#include "data/loader_plan.h"
#include "kernels/pointwise/pointwise.h"
#include "layers/dropout.h"
#include "layers/precision.h"

namespace cuboid::training {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::unique_ptr<Optimiser> make_optimiser(const NamedTensors& parameters, const Options& o) {
  if (o.optimiser == "sgd")
    return std::make_unique<Sgd>(parameters, SgdOptions{.lr = o.lr,
                                                        .momentum = o.momentum,
                                                        .nesterov = o.nesterov,
                                                        .weight_decay = o.weight_decay,
                                                        .decay_vectors = o.decay_vectors});
  const AdamOptions adam{
      .lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .weight_decay = o.weight_decay, .decay_vectors = o.decay_vectors};
  if (o.optimiser == "adam") return std::make_unique<Adam>(parameters, adam);
  check<app::UsageError>(o.optimiser == "adamw", "--optimiser: '", o.optimiser, "' is not one of sgd, adam, adamw");
  return std::make_unique<AdamW>(parameters, adam);
}

ScheduleOptions schedule_of(const Options& o, std::int64_t batches_per_epoch) {
  const std::int64_t steps = (o.epochs * batches_per_epoch + o.accumulate - 1) / o.accumulate;
  const std::int64_t whole_run = o.schedule_per_epoch ? o.epochs : steps;
  return {.kind = schedule_kind(o.schedule),
          .per_epoch = o.schedule_per_epoch,
          .length = o.schedule_length ? o.schedule_length : std::max<std::int64_t>(1, whole_run - o.warmup),
          .step_size = o.step_size ? o.step_size : std::max<std::int64_t>(1, whole_run / 3),
          .gamma = o.gamma,
          .patience = o.plateau_patience,
          .maximise = o.maximise(),
          .warmup = o.warmup};
}

double value_of(const Metrics& metrics, const std::string& name) {
  for (const auto& [other, value] : metrics)
    if (other == name) return value;
  return nan;
}

}  // namespace

double EpochReport::metric(const std::string& name) const { return value_of(valid, name); }

Trainer::Trainer(Options options, std::unique_ptr<Task> task, std::filesystem::path checkpoints)
    : options_(std::move(options)),
      task_(std::move(task)),
      checkpoints_(std::move(checkpoints)),
      group_(options_.group ? *options_.group : alone_),
      net_(task_->net()),
      early_stopping_({.patience = options_.patience > 0 ? options_.patience : std::numeric_limits<std::int64_t>::max(),
                       .maximise = options_.maximise()}) {
  const profiler::Range range("make the optimiser");
  optimiser_ = make_optimiser(net_.named_parameters(), options_);
  schedule_ = std::make_unique<Schedule>(options_.lr, schedule_of(options_, task_->batches()));
  if (group_.size() > 1)
    parallel_ = std::make_unique<DataParallel>(net_, group_, ParallelOptions{.synchronise_norm = options_.synchronise_norm});
  if (options_.ema > 0) ema_ = std::make_unique<Ema>(net_, EmaOptions{.decay = options_.ema});
  accumulator_ = std::make_unique<GradAccumulator>(net_.named_parameters(), options_.accumulate);
  const NamedTensors parameters = net_.named_parameters();
  for (const auto& entry : net_.state_dict())
    if (std::none_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == entry.first; }))
      buffers_.push_back(entry);
  if (options_.graph && options_.accumulate > 1)
    std::cerr << "note: without a graph: --accumulate adds up what no graph may keep\n";
  else if (options_.graph && parallel_)
    std::cerr << (group_.first() ? "note: without a graph: no graph waits for other processes\n" : "");
  else with_graph_ = options_.graph;
}

Trainer::~Trainer() = default;

/// A phase ends where an epoch does, so that a run that goes on records where the whole one did.
void Trainer::make_graph() {
  const std::int64_t phase = task_->phase(position_.epoch);
  if (!with_graph_ || (graph_ && phase == graph_phase_)) return;
  graph_phase_ = phase;
  graph_ = std::make_unique<StepGraph>(net_, *optimiser_, std::min(options_.batch, task_->samples()), [this](const Tensors& in) {
    const Tensor loss = loss_of(in);
    accumulator_->backward(loss);
    take_step();
    return loss;
  });
}

void Trainer::stop_if_asked(const Hooks& hooks) {
  if (parallel_ ? !all_stop_ || accumulator_->pending() > 0 : !hooks.stop || !hooks.stop()) return;
  save();
  throw app::Interrupted("interrupted: the checkpoint is saved");
}

/// This rank's loss becomes its part of the whole batch's, whose value is returned; and all learn whether one shall stop.
double Trainer::agree(Tensor& loss, double value, const Portion& portion, const Hooks& hooks) {
  const double weight = portion.weight;
  const Tensor sums = from_values<double>({weight, value * weight, hooks.stop && hooks.stop() ? 1. : 0.}, {3});
  group_.all_reduce(sums);
  const double* all = sums.data<double>();
  all_stop_ = all[2] > 0;
  loss = loss * (weight / all[0]);
  return all[1] / all[0];
}

Tensor Trainer::loss_of(const Tensors& inputs) {
  std::optional<ComputeIn> scope;
  if (options_.bf16) scope.emplace(DType::bf16);
  return task_->loss(inputs, position_.epoch);
}

void Trainer::take_step() {
  if (options_.clip > 0) clip_grad_norm(net_.parameters(), options_.clip);
  optimiser_->step();
  optimiser_->zero_grad();
}

bool Trainer::train_batch(const Portion& portion, const Hooks& hooks) {
  const profiler::Range range("train step");
  const auto number = static_cast<std::uint64_t>(portion.at.epoch * task_->batches() + portion.at.position);
  set_random_step(net_, rank_seed(options_.seed, group_.rank()), number, graph_ ? graph_->random_step() : nullptr);
  if (parallel_) parallel_->begin(samples_by_rank(portion.total, group_.size()));
  std::unique_lock lock(guard_, std::defer_lock);
  double value = nan;
  bool due = true;
  const auto check_value = [&] {
    check(std::isfinite(value), "training: the loss is ", value, " in epoch ", portion.at.epoch + 1, ", batch ",
          portion.at.position + 1,
          "\nhint: a smaller --lr, --clip 1, or --precision fp32 if it was bf16; the last checkpoint is untouched");
  };
  if (graph_) {  // the loss is known when the weights have changed
    lock.lock();
    may_save_ = false;
    optimiser_->set_lr(schedule_->lr());
    value = graph_->run(portion.inputs, number).item();
    check_value();
  } else {
    Tensor loss = loss_of(portion.inputs);
    value = loss.item();
    if (parallel_) value = agree(loss, value, portion, hooks);
    check_value();
    due = parallel_ ? accumulator_->backward(loss, [this](const Tensor& l) { parallel_->backward(l); })
                    : accumulator_->backward(loss);
    lock.lock();
    if (due) {
      optimiser_->set_lr(schedule_->lr());
      take_step();
    }
  }
  if (due) {
    schedule_->after_step();
    if (ema_) ema_->update();
  }
  position_ = {portion.at.epoch, portion.at.position + 1};
  loss_sum_ += value * static_cast<double>(portion.total);
  loss_count_ += portion.total;
  if (due) commit();
  return due;
}

void Trainer::train_epoch(const Hooks& hooks, double& seconds, std::int64_t& samples) {
  const app::Stopwatch watch;
  make_graph();
  net_.train();
  task_->seek(position_);
  while (const auto portion = task_->next()) {
    const bool stepped = train_batch(*portion, hooks);
    samples += portion->total;
    if (hooks.on_batch)
      hooks.on_batch(position_.epoch, position_.position, task_->batches(), loss_sum_ / static_cast<double>(loss_count_));
    stop_if_asked(hooks);
    if (stepped && options_.save_every > 0 && optimiser_->steps() % options_.save_every == 0) save();
  }
  if (parallel_) parallel_->broadcast_buffers();
  if (parallel_ && accumulator_->pending() > 0) parallel_->collect();  // for the checkpoint
  seconds = watch.seconds();
}

Metrics Trainer::validate(const Hooks& hooks) {
  const profiler::Range range("validation");
  return task_->validate([&] {
    if (!parallel_ && hooks.stop && hooks.stop())
      throw app::Interrupted("interrupted: the checkpoint is saved");  // saved before validating
  });
}

void Trainer::run(const Hooks& hooks) {
  {
    const std::scoped_lock lock(guard_);
    commit();
  }
  while (!finished_) {
    double seconds = 0;
    std::int64_t samples = 0;
    if (position_.position < task_->batches()) train_epoch(hooks, seconds, samples);
    save();  // a stop during validation finds everything on disk
    std::optional<EmaScope> averaged;
    {
      const std::scoped_lock lock(guard_);
      may_save_ = false;
      if (ema_) averaged.emplace(*ema_);
    }
    const Metrics valid = validate(hooks);
    // without anything to validate on, the newest weights are the best
    const auto age = static_cast<double>(position_.epoch);
    const double newest = options_.maximise() ? age : -age;
    const double metric = task_->validates() ? value_of(valid, options_.best_by) : newest;
    check(!std::isnan(metric), "training: the validation part has no ", options_.best_by,
          "\nhint: with one class alone in it there may be none; --best-by loss works with any validation part");
    const bool best = early_stopping_.update(metric);
    if (best && group_.first()) {
      const profiler::Range range("checkpoint");
      write_safetensors(checkpoints_ / "best.safetensors", net_.state_dict(), task_->metadata());
    }
    averaged.reset();
    schedule_->after_epoch(metric);
    const EpochReport report{.epoch = position_.epoch,
                             .steps = optimiser_->steps(),
                             .train_loss = loss_count_ ? loss_sum_ / static_cast<double>(loss_count_) : nan,
                             .lr = optimiser_->lr(),
                             .seconds = seconds,
                             .samples_per_second = seconds > 0 ? static_cast<double>(samples) / seconds : 0,
                             .validated = task_->validates(),
                             .valid = valid,
                             .best = best,
                             .device_peak_bytes = options_.device == Device::cuda ? memory_stats(Device::cuda).peak : 0};
    {
      const std::scoped_lock lock(guard_);
      position_ = {position_.epoch + 1, 0};
      loss_sum_ = 0;
      loss_count_ = 0;
      finished_ = position_.epoch >= options_.epochs || early_stopping_.should_stop();
      commit();
    }
    if (hooks.on_epoch) hooks.on_epoch(report);
  }
  save();
  group_.barrier();  // what rank 0 wrote is there
}

}  // namespace cuboid::training
