// SPDX-License-Identifier: Apache-2.0
// What a checkpoint holds, and how a trainer comes back from it.
#include <algorithm>

#include "apps/app.h"
#include "apps/text.h"
#include "apps/training/trainer.h"
#include "core/profiler.h"

namespace cuboid::training {
namespace {

void append(NamedTensors& to, const std::string& prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) to.emplace_back("train." + prefix + "." + name, tensor);
}

State part(const SafetensorsFile& file, const Json& values, const std::string& prefix) {
  State state;
  state.values = values.at(prefix);
  const std::string start = "train." + prefix + ".";
  for (const auto& stored : file.tensors())
    if (stored.name.starts_with(start)) state.tensors.emplace_back(stored.name.substr(start.size()), file.read(stored.name));
  return state;
}

/// Values that must agree for a run to be the same run, as "lr: checkpoint 0.001, now 0.01".
std::string differences(const Json& stored, const Json& mine) {
  std::vector<std::string> lines;
  const auto text = [](const Json* value) { return value ? value->dump() : "none"; };
  const auto compare = [&](const std::string& key) {
    const Json *then = stored.find(key), *now = mine.find(key);
    if (!then || !now || !(*then == *now)) lines.push_back(key + ": checkpoint " + text(then) + ", now " + text(now));
  };
  for (const auto& entry : mine.as_object()) compare(entry.first);
  for (const auto& entry : stored.as_object())
    if (!mine.contains(entry.first)) compare(entry.first);
  return app::join(lines, "; ");
}

}  // namespace

Json Trainer::options_json() const {
  const Options& o = options_;
  Json all = Json::object({{"optimiser", o.optimiser},
                           {"lr", o.lr},
                           {"weight_decay", o.weight_decay},
                           {"momentum", o.momentum},
                           {"nesterov", o.nesterov},
                           {"decay_vectors", o.decay_vectors},
                           {"schedule", o.schedule},
                           {"schedule_length", o.schedule_length},
                           {"schedule_per_epoch", o.schedule_per_epoch},
                           {"warmup", o.warmup},
                           {"epochs", o.epochs},
                           {"batch", o.batch},
                           {"accumulate", o.accumulate},
                           {"patience", o.patience},
                           {"clip", o.clip},
                           {"ema", o.ema},
                           {"bf16", o.bf16},
                           {"best_by", o.best_by},
                           {"seed", static_cast<std::int64_t>(o.seed)}});
  // Where they are what they always were, a checkpoint from before they could be chosen may go on.
  const Options standard;
  if (o.beta1 != standard.beta1) all["beta1"] = o.beta1;
  if (o.beta2 != standard.beta2) all["beta2"] = o.beta2;
  const Json more = task_->options();
  for (const auto& [key, value] : more.as_object()) all[key] = value;
  return all;
}

void Trainer::commit() {
  const profiler::Range range("commit");
  if (graph_) buffers_kept_ = buffers_;  // they, too, change only while guard_ is held
  else buffers_kept_.resize(buffers_.size());
  for (std::size_t i = 0; i < buffers_.size() && !graph_; ++i) {
    auto& [name, kept] = buffers_kept_[i];
    name = buffers_[i].first;
    if (!kept.defined()) kept = clone(buffers_[i].second);
    else copy(buffers_[i].second, kept);
  }
  Json values = Json::object({{"options", options_json()},
                              {"epoch", position_.epoch},
                              {"batch", position_.position},
                              {"loss_sum", loss_sum_},
                              {"loss_count", loss_count_},
                              {"finished", finished_},
                              {"schedule", schedule_->to_state().values},
                              {"early_stopping", early_stopping_.to_state().values}});
  values_kept_ = std::move(values);
  accumulator_kept_ = accumulator_->to_state();
  may_save_ = true;
  saved_ = false;
}

/// `weights` are parameters and buffers as they shall be stored.
void Trainer::write_state(const NamedTensors& weights) const {
  const profiler::Range range("checkpoint");
  NamedTensors tensors = weights;
  Json values = values_kept_;
  const State optimiser = optimiser_->to_state();
  values["optimiser"] = optimiser.values;
  values["accumulator"] = accumulator_kept_.values;
  append(tensors, "optimiser", optimiser.tensors);
  append(tensors, "accumulator", accumulator_kept_.tensors);
  if (ema_) {
    const State ema = ema_->to_state();
    values["ema"] = ema.values;
    append(tensors, "ema", ema.tensors);
  }
  Metadata metadata = task_->metadata();
  metadata.emplace_back("train", values.dump());
  write_safetensors(checkpoints_ / "last.safetensors", tensors, metadata);
}

void Trainer::save() {
  const std::scoped_lock lock(guard_);
  commit();
  if (group_.first()) write_state(net_.state_dict());
  saved_ = true;
}

void Trainer::save_from_outside() {
  const std::scoped_lock lock(guard_);
  if (saved_ || !may_save_ || !group_.first()) return;
  NamedTensors weights = net_.named_parameters();
  weights.insert(weights.end(), buffers_kept_.begin(), buffers_kept_.end());
  write_state(weights);
  saved_ = true;
}

bool Trainer::resume() {
  const auto path = checkpoints_ / "last.safetensors";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  const SafetensorsFile file(path);
  const std::string text = file.metadata("train");
  check<DataError>(!text.empty(), path.string(), ": holds no training state, only weights");
  const Json values = Json::parse(text, path.string());
  const std::string different = differences(values.at("options"), options_json());
  check<DataError>(different.empty(), app::with_hint(path.string() + ": made with other options: " + different,
                                                     "resume with the options of the run"));
  NamedTensors weights;
  for (const auto& stored : file.tensors())
    if (!stored.name.starts_with("train.")) weights.emplace_back(stored.name, file.read(stored.name));
  net_.load_state_dict(weights, {}, path.string());
  optimiser_->from_state(part(file, values, "optimiser"));
  accumulator_->from_state(part(file, values, "accumulator"));
  if (!group_.first()) net_.zero_grad();  // rank 0 has what all had gathered
  if (ema_) ema_->from_state(part(file, values, "ema"));
  schedule_->from_state(part(file, values, "schedule"));
  early_stopping_.from_state(part(file, values, "early_stopping"));
  position_ = {values.at("epoch").as_int(), values.at("batch").as_int()};
  loss_sum_ = values.at("loss_sum").as_double();
  loss_count_ = values.at("loss_count").as_int();
  finished_ = values.at("finished").as_bool();
  return true;
}

void Trainer::carry_over(const std::filesystem::path& checkpoints) {
  const auto last = checkpoints / "last.safetensors", best = checkpoints / "best.safetensors";
  const SafetensorsFile file(last);
  const Json values = Json::parse(file.metadata("train"), last.string());
  net_.load_state_dict(read_safetensors(best), {}, best.string());
  optimiser_->from_state(part(file, values, "optimiser"));
  schedule_->from_state(part(file, values, "schedule"));
}

}  // namespace cuboid::training
