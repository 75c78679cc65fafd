// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include "optim/early_stopping.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// lr before step 0, 1, ...
std::vector<double> rates(Schedule schedule, int count) {
  std::vector<double> list;
  for (int t = 0; t < count; ++t) {
    list.push_back(schedule.lr());
    schedule.after_step();
  }
  return list;
}

void expect_rates(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-15) << "t = " << i;
}

TEST(Schedules, ConstantWithWarmup) {
  expect_rates(rates(Schedule(0.4, {}), 3), {0.4, 0.4, 0.4});
  expect_rates(rates(Schedule(0.4, {.warmup = 4}), 6), {0, 0.1, 0.2, 0.3, 0.4, 0.4});
  expect_rates(rates(Schedule(0.4, {.warmup = 2, .warmup_start = 0.5}), 4), {0.2, 0.3, 0.4, 0.4});
}

TEST(Schedules, CosineClimbsBackAfterItsLength) {
  const double h = 0.5 + std::sqrt(2.0) / 4;  // (1 + cos(pi/4)) / 2
  expect_rates(rates(Schedule(1, {.kind = ScheduleKind::cosine, .length = 4}), 11),
               {1, h, 0.5, 1 - h, 0, 1 - h, 0.5, h, 1, h, 0.5});
  expect_rates(rates(Schedule(1, {.kind = ScheduleKind::cosine, .length = 2, .min_lr = 0.2}), 3), {1, 0.6, 0.2});
  expect_rates(rates(Schedule(1, {.kind = ScheduleKind::cosine, .length = 2, .warmup = 1}), 4), {0, 1, 0.5, 0});
  // The published recipe: lr 1e-4, T_max 300 batches; 107 batches an epoch.
  const auto paper = rates(Schedule(1e-4, {.kind = ScheduleKind::cosine, .length = 300}), 1201);
  EXPECT_EQ(paper[0], 1e-4);
  EXPECT_NEAR(paper[150], 5e-5, 1e-18);
  EXPECT_NEAR(paper[300], 0, 1e-18);
  EXPECT_NEAR(paper[450], 5e-5, 1e-18);
  EXPECT_NEAR(paper[600], 1e-4, 1e-18);
  EXPECT_NEAR(paper[1200], 1e-4, 1e-18);
}

TEST(Schedules, Step) {
  expect_rates(rates(Schedule(8, {.kind = ScheduleKind::step, .step_size = 2, .gamma = 0.5}), 7), {8, 8, 4, 4, 2, 2, 1});
}

TEST(Schedules, Polynomial) {
  expect_rates(rates(Schedule(1, {.kind = ScheduleKind::polynomial, .length = 4, .power = 2}), 6),
               {1, 0.5625, 0.25, 0.0625, 0, 0});
  expect_rates(rates(Schedule(1, {.kind = ScheduleKind::polynomial, .length = 2, .min_lr = 0.5, .power = 1}), 4),
               {1, 0.75, 0.5, 0.5});
}

TEST(Schedules, PerEpochCountsEpochs) {
  Schedule s(8, {.kind = ScheduleKind::step, .per_epoch = true, .step_size = 1, .gamma = 0.5});
  for (int i = 0; i < 5; ++i) s.after_step();
  EXPECT_EQ(s.lr(), 8);
  s.after_epoch();
  EXPECT_EQ(s.lr(), 4);
  Schedule by_step(8, {.kind = ScheduleKind::step, .step_size = 1, .gamma = 0.5});
  by_step.after_epoch();
  EXPECT_EQ(by_step.lr(), 8);
}

TEST(Schedules, PlateauWaitsReducesAndCools) {
  Schedule s(1, {.kind = ScheduleKind::plateau, .min_lr = 0.2, .gamma = 0.5, .patience = 1, .threshold = 0.1, .cooldown = 1});
  const std::pair<double, double> table[] = {
      {10, 1},                               // first
      {9.5, 1},                              // not 10 % better: bad epoch 1
      {8.9, 1},                              // better
      {8.9, 1},                              // bad 1
      {8.9, 0.5},                            // bad 2 > patience: reduce
      {8.9, 0.5},                            // cooling
      {8.9, 0.5},                            // bad 1
      {8.9, 0.25},                           // bad 2: reduce
      {8.9, 0.25}, {8.9, 0.25}, {8.9, 0.2},  // never below min_lr
  };
  for (const auto& [metric, expected] : table) {
    s.after_epoch(metric);
    EXPECT_DOUBLE_EQ(s.lr(), expected) << metric;
  }
  EXPECT_THROW(s.after_epoch(), Error);

  Schedule up(1, {.kind = ScheduleKind::plateau, .patience = 0, .maximise = true});
  up.after_epoch(0.5);
  up.after_epoch(0.6);
  EXPECT_EQ(up.lr(), 1);
  up.after_epoch(std::nan(""));
  EXPECT_EQ(up.lr(), 0.1) << "NaN is no improvement";
}

TEST(Schedules, NamesAndRefusals) {
  for (const char* name : {"constant", "cosine", "step", "polynomial", "plateau"})
    EXPECT_STREQ(name_of(schedule_kind(name)), name);
  EXPECT_EQ(error_of([] { schedule_kind("cosin"); }),
            "schedule: no kind 'cosin'; there are constant, cosine, step, polynomial, plateau");
  EXPECT_THROW(Schedule(1, {.kind = ScheduleKind::cosine}), Error);
  EXPECT_THROW(Schedule(1, {.kind = ScheduleKind::step}), Error);
  EXPECT_THROW(Schedule(1, {.kind = ScheduleKind::cosine, .length = 3}).from_state(Schedule(1, {}).to_state()), DataError);
}

TEST(EarlyStoppingTest, StopsAfterPatienceAndRemembersTheBest) {
  EarlyStopping stop({.patience = 2, .delta = 0.1});
  EXPECT_FALSE(stop.best().has_value());
  EXPECT_TRUE(stop.update(1.0));
  EXPECT_FALSE(stop.update(0.95)) << "not by more than delta";
  EXPECT_TRUE(stop.update(0.8));
  EXPECT_FALSE(stop.update(std::nan("")));
  EXPECT_FALSE(stop.should_stop());
  EXPECT_FALSE(stop.update(0.9));
  EXPECT_TRUE(stop.should_stop());
  EXPECT_EQ(*stop.best(), 0.8);
  EXPECT_EQ(stop.best_epoch(), 2);

  EarlyStopping up({.patience = 1, .maximise = true});
  EXPECT_TRUE(up.update(0.5));
  EXPECT_TRUE(up.update(0.6));
  EXPECT_FALSE(up.update(0.6));
  EXPECT_TRUE(up.should_stop());
}

}  // namespace
