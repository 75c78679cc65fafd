// SPDX-License-Identifier: Apache-2.0
// A run that is stopped at any step, written out as text and tensors, and continued in new objects, ends with the same
// bits as the run that was never stopped: every optimiser with every schedule, with EMA, clipping and early stopping.
#include <functional>
#include <memory>

#include "kernels/random/random.h"
#include "optim/early_stopping.h"
#include "optim/ema.h"
#include "optim/optimiser.h"
#include "optim/schedule.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Net : Module {
  Parameter matrix{normal({6, 5}, {.seed = 1})}, vector{normal({7}, {.seed = 2})};
  Buffer statistics{zeros({4})};
  FIELDS(matrix, vector, statistics)
  Net() { to(test_device()); }
};

using MakeOptimiser = std::function<std::unique_ptr<Optimiser>(const NamedTensors&)>;

constexpr int steps_per_epoch = 5, steps = 40;

/// Everything a training loop holds. A step draws its gradient from the weights and the step's number.
struct Training {
  Net net;
  std::unique_ptr<Optimiser> optimiser;
  Schedule schedule;
  Ema ema{net, {.decay = 0.9}};
  EarlyStopping stop{{.patience = 3}};
  int step = 0;

  Training(const MakeOptimiser& make, const ScheduleOptions& options)
      : optimiser(make(net.named_parameters())), schedule(optimiser->lr(), options) {}

  void advance() {
    const auto at = static_cast<std::uint64_t>(step);
    for (const auto& [name, p] : net.named_parameters()) {
      const Tensor g =
          normal(p.shape(), {.seed = 3, .stream = static_cast<std::uint64_t>(p.size()), .step = at}, 0, 1, on_device());
      add_into(g, p.detach());
      p.grad() = g;
    }
    fill(net.statistics, random_uniform({.seed = 4}, at));
    clip_grad_norm(net.parameters(), 5);
    optimiser->set_lr(schedule.lr());
    optimiser->step();
    ema.update();
    schedule.after_step();
    if (++step % steps_per_epoch) return;
    const double metric = random_uniform({.seed = 5}, at);
    schedule.after_epoch(metric);
    stop.update(metric);
  }

  struct Saved {
    NamedTensors weights;
    std::string values[4];
    NamedTensors tensors[4];
    int step;
  };
  Saved save() {
    Saved saved{.step = step};
    for (const auto& [name, t] : net.state_dict()) saved.weights.emplace_back(name, clone(t));
    const State states[] = {optimiser->to_state(), schedule.to_state(), ema.to_state(), stop.to_state()};
    for (int i = 0; i < 4; ++i) {
      saved.values[i] = states[i].values.dump();
      saved.tensors[i] = states[i].tensors;
    }
    return saved;
  }
  void load(const Saved& saved) {
    net.load_state_dict(saved.weights);
    const auto state = [&](int i) { return State{Json::parse(saved.values[i]), saved.tensors[i]}; };
    optimiser->from_state(state(0));
    schedule.from_state(state(1));
    ema.from_state(state(2));
    stop.from_state(state(3));
    step = saved.step;
  }
  /// All there is to compare: weights, averages, slots, and every number.
  std::vector<double> digest() {
    std::vector<double> all{optimiser->lr(), schedule.lr(), stop.best().value_or(-1), static_cast<double>(stop.waited()),
                            static_cast<double>(stop.best_epoch())};
    const auto take = [&](const NamedTensors& list) {
      for (const auto& [name, t] : list)
        for (const double v : t.to_vector()) all.push_back(v);
    };
    take(net.state_dict());
    take(optimiser->to_state().tensors);
    take(ema.to_state().tensors);
    return all;
  }
};

const std::vector<std::pair<std::string, MakeOptimiser>> optimisers = {
    {"sgd", [](auto& p) { return std::make_unique<Sgd>(p, SgdOptions{.lr = 0.1, .weight_decay = 0.01}); }},
    {"momentum", [](auto& p) { return std::make_unique<Sgd>(p, SgdOptions{.lr = 0.1, .momentum = 0.9}); }},
    {"nesterov", [](auto& p) { return std::make_unique<Sgd>(p, SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true}); }},
    {"adam", [](auto& p) { return std::make_unique<Adam>(p, AdamOptions{.lr = 0.1}); }},
    {"adamw", [](auto& p) { return std::make_unique<AdamW>(p, AdamOptions{.lr = 0.1, .epsilon = Epsilon::inside}); }},
};

const std::vector<ScheduleOptions> schedules = {
    {},
    {.kind = ScheduleKind::cosine, .length = 17, .warmup = 6},
    {.kind = ScheduleKind::cosine, .per_epoch = true, .length = 6},
    {.kind = ScheduleKind::step, .step_size = 7},
    {.kind = ScheduleKind::polynomial, .length = 35},
    {.kind = ScheduleKind::plateau, .gamma = 0.5, .patience = 1, .cooldown = 1},
};

TEST(Resume, ContinuesBitForBit) {
  test::Random dice(20);
  for (const auto& [name, make] : optimisers)
    for (const auto& options : schedules) {
      Training whole(make, options);
      std::vector<Training::Saved> saves;
      for (int i = 0; i < steps; ++i) {
        saves.push_back(whole.save());
        whole.advance();
      }
      const std::vector<double> expected = whole.digest();
      for (int trial = 0; trial < 6; ++trial) {
        const auto at = static_cast<std::size_t>(dice.integer(1, steps - 1));
        Training resumed(make, options);
        resumed.load(saves[at]);
        while (resumed.step < steps) resumed.advance();
        EXPECT_EQ(resumed.digest(), expected) << name << ", " << name_of(options.kind) << ", stopped before step " << at;
      }
    }
}

/// Each number of each state counts: without it the state is refused.
TEST(Resume, EveryValueIsRequired) {
  Training run(optimisers[3].second, schedules[5]);
  for (int i = 0; i < 12; ++i) run.advance();
  const Training::Saved saved = run.save();
  for (int k = 0; k < 4; ++k) {
    const Json whole = Json::parse(saved.values[k]);
    for (const auto& [key, value] : whole.as_object()) {
      Json::Object rest;
      for (const auto& member : whole.as_object())
        if (member.first != key) rest.push_back(member);
      Training::Saved broken = saved;
      broken.values[k] = Json(rest).dump();
      EXPECT_THROW(run.load(broken), DataError) << "state " << k << " without " << key;
    }
    for (std::size_t i = 0; i < saved.tensors[k].size(); ++i) {
      Training::Saved broken = saved;
      broken.tensors[k].erase(broken.tensors[k].begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_THROW(run.load(broken), DataError) << "state " << k << " without " << saved.tensors[k][i].first;
    }
  }
}

}  // namespace
