// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/trainer.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>

#include "apps/app.h"
#include "apps/metrics.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "core/autograd.h"
#include "core/profiler.h"
#include "kernels/pointwise/pointwise.h"
#include "layers/loss.h"
#include "layers/precision.h"

namespace cuboid::csf {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr const char* best_by_names[] = {"loss", "auroc", "accuracy", "balanced-accuracy"};

std::unique_ptr<Optimiser> make_optimiser(const NamedTensors& parameters, const TrainOptions& o) {
  if (o.optimiser == "sgd")
    return std::make_unique<Sgd>(parameters, SgdOptions{.lr = o.lr,
                                                        .momentum = o.momentum,
                                                        .nesterov = o.nesterov,
                                                        .weight_decay = o.weight_decay,
                                                        .decay_vectors = o.decay_vectors});
  const AdamOptions adam{.lr = o.lr, .weight_decay = o.weight_decay, .decay_vectors = o.decay_vectors};
  if (o.optimiser == "adam") return std::make_unique<Adam>(parameters, adam);
  check<app::UsageError>(o.optimiser == "adamw", "--optimiser: '", o.optimiser, "' is not one of sgd, adam, adamw");
  return std::make_unique<AdamW>(parameters, adam);
}

ScheduleOptions schedule_of(const TrainOptions& o, std::int64_t batches_per_epoch) {
  const std::int64_t steps = (o.epochs * batches_per_epoch + o.accumulate - 1) / o.accumulate;
  const std::int64_t whole_run = o.schedule_per_epoch ? o.epochs : steps;
  return {.kind = schedule_kind(o.schedule),
          .per_epoch = o.schedule_per_epoch,
          .length = o.schedule_length ? o.schedule_length : std::max<std::int64_t>(1, whole_run - o.warmup),
          .step_size = o.step_size ? o.step_size : std::max<std::int64_t>(1, whole_run / 3),
          .gamma = o.gamma,
          .patience = o.plateau_patience,
          .maximise = o.best_by != BestBy::loss,
          .warmup = o.warmup};
}

/// 1/count, scaled so that their mean over the samples is 1.
Tensor inverse_frequencies(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  std::vector<float> weights(static_cast<std::size_t>(dataset.classes()), 0);
  for (const auto i : indices) weights[static_cast<std::size_t>(dataset[i].label)] += 1;
  for (float& w : weights) w = w > 0 ? static_cast<float>(indices.size()) / (static_cast<float>(weights.size()) * w) : 0;
  return from_values(weights, {static_cast<std::int64_t>(weights.size())});
}

/// The rows of all ranks, where these are from `begin` on: a sum with zeros.
metrics::Probabilities of_all_ranks(const Group& group, const metrics::Probabilities& rows, std::int64_t begin,
                                    std::int64_t count, std::int64_t classes) {
  const Tensor all = zeros({count, classes}, {.dtype = DType::f64});
  double* to = all.mutable_data<double>() + begin * classes;
  for (const auto& row : rows) to = std::copy(row.begin(), row.end(), to);
  group.all_reduce(all);
  metrics::Probabilities result;
  const double* from = all.data<double>();
  for (std::int64_t i = 0; i < count; ++i) result.emplace_back(from + i * classes, from + (i + 1) * classes);
  return result;
}

}  // namespace

const char* name_of(BestBy metric) { return best_by_names[static_cast<int>(metric)]; }
BestBy best_by(const std::string& name) {
  for (int i = 0; i < 4; ++i)
    if (name == best_by_names[i]) return static_cast<BestBy>(i);
  fail<app::UsageError>("--best-by: '", name, "' is not one of loss, auroc, accuracy, balanced-accuracy");
}

struct Trainer::Validation {
  double loss = nan, accuracy = nan, balanced_accuracy = nan, auroc = nan;
  double by(BestBy metric) const {
    return metric == BestBy::loss       ? loss
           : metric == BestBy::auroc    ? auroc
           : metric == BestBy::accuracy ? accuracy
                                        : balanced_accuracy;
  }
};

Trainer::Trainer(TrainOptions options, ModelCard card, Dataset dataset, Fold fold, std::filesystem::path checkpoints)
    : options_(std::move(options)),
      card_(std::move(card)),
      dataset_(std::move(dataset)),
      fold_(std::move(fold)),
      checkpoints_(std::move(checkpoints)),
      group_(options_.group ? *options_.group : alone_),
      early_stopping_({.patience = options_.patience > 0 ? options_.patience : std::numeric_limits<std::int64_t>::max(),
                       .maximise = options_.best_by != BestBy::loss}),
      loader_(dataset_, fold_.train,
              {.batch = options_.batch,
               .shuffle = true,
               // batch norm cannot learn from one cell, so a last batch of one is left out
               .drop_last = static_cast<std::int64_t>(fold_.train.size()) % options_.batch == 1 &&
                            static_cast<std::int64_t>(fold_.train.size()) > options_.batch,
               .seed = options_.seed,
               .workers = static_cast<int>(options_.workers),
               .augment = options_.augment,
               .device = options_.device,
               .rank = group_.rank(),
               .ranks = group_.size()}) {
  const profiler::Range range("make the net");
  card_.net.seed = options_.seed;
  net_ = std::make_unique<DenseNet>(card_.net);
  net_->to(options_.device);
  optimiser_ = make_optimiser(net_->named_parameters(), options_);
  schedule_ = std::make_unique<Schedule>(options_.lr, schedule_of(options_, loader_.batches()));
  if (group_.size() > 1)
    parallel_ = std::make_unique<DataParallel>(*net_, group_, ParallelOptions{.synchronise_norm = options_.synchronise_norm});
  if (options_.ema > 0) ema_ = std::make_unique<Ema>(*net_, EmaOptions{.decay = options_.ema});
  accumulator_ = std::make_unique<GradAccumulator>(net_->named_parameters(), options_.accumulate);
  if (options_.balanced_loss) class_weights_ = to(inverse_frequencies(dataset_, fold_.train), options_.device);
  const NamedTensors parameters = net_->named_parameters();
  for (const auto& entry : net_->state_dict())
    if (std::none_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == entry.first; }))
      buffers_.push_back(entry);
  if (options_.graph && options_.accumulate > 1)
    std::cerr << "note: without a graph: --accumulate adds up what no graph may keep\n";
  else if (options_.graph && parallel_)
    std::cerr << (group_.first() ? "note: without a graph: no graph waits for other processes\n" : "");
  else if (options_.graph)
    graph_ = std::make_unique<StepGraph>(
        *net_, *optimiser_, std::min(options_.batch, static_cast<std::int64_t>(fold_.train.size())), [this](const Tensors& in) {
          const Tensor loss = loss_of(in[0], in[1]);
          accumulator_->backward(loss);
          take_step();
          return loss;
        });
}

Trainer::~Trainer() = default;

void Trainer::stop_if_asked(const Hooks& hooks) {
  if (parallel_ ? !all_stop_ || accumulator_->pending() > 0 : !hooks.stop || !hooks.stop()) return;
  save();
  throw app::Interrupted("interrupted: the checkpoint is saved");
}

/// This rank's loss becomes its part of the whole batch's, whose value is returned; and all learn whether one shall stop.
double Trainer::agree(Tensor& loss, double value, const Batch& batch, const Hooks& hooks) {
  double weight = static_cast<double>(batch.indices.size());
  if (class_weights_.defined()) {
    const std::vector<double> of_class = class_weights_.to_vector();
    weight = 0;
    for (const auto i : batch.indices) weight += of_class[static_cast<std::size_t>(dataset_[i].label)];
  }
  const Tensor sums = from_values<double>({weight, value * weight, hooks.stop && hooks.stop() ? 1. : 0.}, {3});
  group_.all_reduce(sums);
  const double* all = sums.data<double>();
  all_stop_ = all[2] > 0;
  loss = loss * (weight / all[0]);
  return all[1] / all[0];
}

Tensor Trainer::loss_of(const Tensor& x, const Tensor& labels) {
  std::optional<ComputeIn> scope;
  if (options_.bf16) scope.emplace(DType::bf16);
  return cross_entropy((*net_)(x), labels, {.class_weights = class_weights_, .label_smoothing = options_.label_smoothing});
}

void Trainer::take_step() {
  if (options_.clip > 0) clip_grad_norm(net_->parameters(), options_.clip);
  optimiser_->step();
  optimiser_->zero_grad();
}

bool Trainer::train_batch(const Batch& batch, const Hooks& hooks) {
  const profiler::Range range("train step");
  const auto number = static_cast<std::uint64_t>(batch.epoch * loader_.batches() + batch.position);
  set_random_step(*net_, rank_seed(options_.seed, group_.rank()), number, graph_ ? graph_->random_step() : nullptr);
  if (parallel_) parallel_->begin(samples_by_rank(batch.total, group_.size()));
  std::unique_lock lock(guard_, std::defer_lock);
  double value = nan;
  bool due = true;
  const auto check_value = [&] {
    check(std::isfinite(value), "training: the loss is ", value, " in epoch ", batch.epoch + 1, ", batch ", batch.position + 1,
          "\nhint: a smaller --lr, --clip 1, or --precision fp32 if it was bf16; the last checkpoint is untouched");
  };
  if (graph_) {  // the loss is known when the weights have changed
    lock.lock();
    may_save_ = false;
    optimiser_->set_lr(schedule_->lr());
    value = graph_->run({batch.x, batch.labels}, number).item();
    check_value();
  } else {
    Tensor loss = loss_of(batch.x, batch.labels);
    value = loss.item();
    if (parallel_) value = agree(loss, value, batch, hooks);
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
  position_ = {batch.epoch, batch.position + 1};
  loss_sum_ += value * static_cast<double>(batch.total);
  loss_count_ += batch.total;
  if (due) commit();
  return due;
}

void Trainer::train_epoch(const Hooks& hooks, double& seconds, std::int64_t& cells) {
  const app::Stopwatch watch;
  net_->train();
  loader_.seek(position_);
  while (auto batch = loader_.next()) {
    const bool stepped = train_batch(*batch, hooks);
    cells += batch->total;
    if (hooks.on_batch)
      hooks.on_batch(position_.epoch, position_.position, loader_.batches(), loss_sum_ / static_cast<double>(loss_count_));
    stop_if_asked(hooks);
    if (stepped && options_.save_every > 0 && optimiser_->steps() % options_.save_every == 0) save();
  }
  if (parallel_) parallel_->broadcast_buffers();
  if (parallel_ && accumulator_->pending() > 0) parallel_->collect();  // for the checkpoint
  seconds = watch.seconds();
}

Trainer::Validation Trainer::validate(const Hooks& hooks) {
  const profiler::Range range("validation");
  Validation result;
  if (fold_.valid.empty()) return result;
  const auto n = static_cast<std::int64_t>(fold_.valid.size());
  const std::int64_t begin = n * group_.rank() / group_.size(), end = n * (group_.rank() + 1) / group_.size();
  metrics::Probabilities probabilities;
  metrics::Labels labels;
  if (begin < end) {
    Loader loader(dataset_, {fold_.valid.begin() + begin, fold_.valid.begin() + end},
                  {.batch = options_.batch, .workers = static_cast<int>(options_.workers), .device = options_.device});
    while (const auto batch = loader.next()) {
      for (auto& p : predict(*net_, batch->x, {.bf16 = options_.bf16})) probabilities.push_back(std::move(p));
      if (!parallel_ && hooks.stop && hooks.stop())
        throw app::Interrupted("interrupted: the checkpoint is saved");  // saved before validating
    }
  }
  if (parallel_) probabilities = of_all_ranks(group_, probabilities, begin, n, dataset_.classes());
  for (const auto i : fold_.valid) labels.push_back(dataset_[i].label);
  const auto confusion = metrics::confusion(labels, metrics::argmax(probabilities), dataset_.classes());
  return {metrics::log_loss(probabilities, labels), confusion.accuracy(), confusion.balanced_accuracy(),
          metrics::macro_auroc(probabilities, labels)};
}

void Trainer::run(const Hooks& hooks) {
  {
    const std::scoped_lock lock(guard_);
    commit();
  }
  while (!finished_) {
    double seconds = 0;
    std::int64_t cells = 0;
    if (position_.position < loader_.batches()) train_epoch(hooks, seconds, cells);
    save();  // a stop during validation finds everything on disk
    std::optional<EmaScope> averaged;
    {
      const std::scoped_lock lock(guard_);
      may_save_ = false;
      if (ema_) averaged.emplace(*ema_);
    }
    const Validation valid = validate(hooks);
    // without validation cells the newest weights are the best
    const double newest =
        options_.best_by == BestBy::loss ? -static_cast<double>(position_.epoch) : static_cast<double>(position_.epoch);
    const double metric = fold_.valid.empty() ? newest : valid.by(options_.best_by);
    check(!std::isnan(metric), "training: the validation part has no ", name_of(options_.best_by),
          " (only one class in it)\nhint: --best-by loss works with any validation part");
    const bool best = early_stopping_.update(metric);
    if (best && group_.first()) {
      const profiler::Range range("checkpoint");
      save_model(checkpoints_ / "best.safetensors", *net_, card_);
    }
    averaged.reset();
    schedule_->after_epoch(metric);
    const EpochReport report{position_.epoch,
                             optimiser_->steps(),
                             loss_count_ ? loss_sum_ / static_cast<double>(loss_count_) : nan,
                             optimiser_->lr(),
                             seconds,
                             seconds > 0 ? static_cast<double>(cells) / seconds : 0,
                             valid.loss,
                             valid.accuracy,
                             valid.balanced_accuracy,
                             valid.auroc,
                             best,
                             options_.device == Device::cuda ? memory_stats(Device::cuda).peak : 0};
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

}  // namespace cuboid::csf
