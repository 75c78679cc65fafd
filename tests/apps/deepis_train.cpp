// SPDX-License-Identifier: Apache-2.0
// Training of a segmenter: what it learns, and that a run which is stopped anywhere and continued ends with the same bits.
#include "apps/deepis/train.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "apps/app.h"
#include "apps/deepis/overlap.h"
#include "apps/deepis/settings.h"
#include "core/parallel.h"
#include "tests/data/labelled_folder.h"
#include "tests/files.h"

using namespace cuboid;
using namespace cuboid::deepis;
namespace fs = std::filesystem;

namespace {

struct Setting {
  const char* name;
  TrainOptions options;
  Head head = Head::signed_distance;
  std::int64_t width = 4;
};

class SegmenterTraining : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    test::write_pairs(*folder_ / "pairs", 7);
    for (const char* part : {"images", "labels"}) fs::create_directories(*folder_ / "clear" / part);
    for (int i = 0; i < 6; ++i) {  // a bright ball that touches a dark one, here and there
      const double shift = i % 3, up = i / 3;
      const Tensor labels = test::balls({18, 18, 18}, {{8 + up, 6 + shift, 5, 4}, {9 - up, 7 + shift, 12, 3.5}});
      const Tensor image = test::noise(labels.shape(), static_cast<std::uint64_t>(i));
      for (std::int64_t v = 0; v < labels.size(); ++v) {
        const int label = labels.data<std::uint8_t>()[v];
        float& value = image.mutable_data<float>()[v];
        value = 0.3F * value + (label == 1 ? 2.F : label == 2 ? -2.F : 0.F);
      }
      write_npy(*folder_ / "clear/images" / join_text("c", i, ".npy"), image);
      write_npy(*folder_ / "clear/labels" / join_text("c", i, ".npy"), labels);
    }
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::vector<Setting> settings() {
    Setting whole{"whole volumes, ema", {.loop = {.lr = 3e-3, .epochs = 3, .patience = 0, .ema = 0.9}}};
    whole.options.loop.batch = 2;
    Setting rich{"patches of classes, auxiliary heads, dropout, accumulation", whole.options, Head::classes};
    rich.options.loss = Loss::dice_cross_entropy;
    rich.options.supervised = true;
    rich.options.patch = {8, 8, 8};
    rich.options.patches_per_case = 2;
    rich.options.loop.accumulate = 2;
    rich.options.loop.workers = 0;
    rich.options.loop.best_by = "dice";
    rich.options.augment = {};
    rich.options.margin = {2, 2, 2};
    return {whole, rich};
  }
  static LabelledDataset dataset(Head head, const char* which = "pairs") {
    return open_labelled_dataset(*folder_ / which, {.head = head});
  }
  static std::unique_ptr<training::Trainer> trainer(const Setting& s, const std::string& where, const char* which = "pairs") {
    const LabelledDataset data = dataset(s.head, which);
    ModelCard card{.net = {.in_channels = 1,
                           .out_channels = data.outputs(),
                           .features = {s.width, s.width, 8, 8, 8},
                           .trans = s.width,
                           .blocks = {1, 1, 1, 1},
                           .auxiliary = s.options.supervised ? 3 : 0,
                           .dropout = 0.3},
                   .head = data.head(),
                   .classes = data.class_names(),
                   .data_fingerprint = data.fingerprint()};
    fs::create_directories(*folder_ / where);
    return make_trainer(s.options, card, data, parts_of(data, 0.3, 1), *folder_ / where);
  }
  static void expect_same(const std::string& a, const std::string& b, const std::string& what) {
    for (const char* which : {"last.safetensors", "best.safetensors"}) {
      const SafetensorsFile x(*folder_ / a / which), y(*folder_ / b / which);
      ASSERT_EQ(x.tensors().size(), y.tensors().size()) << what;
      EXPECT_EQ(x.metadata("train"), y.metadata("train")) << what;
      for (const auto& stored : x.tensors()) {
        const Tensor p = x.read(stored.name), q = y.read(stored.name);
        EXPECT_EQ(std::memcmp(p.view().data, q.view().data, static_cast<std::size_t>(p.view().bytes())), 0)
            << what << ", " << which << ": " << stored.name;
      }
    }
  }

  static inline test::TempFolder* folder_ = nullptr;
};

TEST_F(SegmenterTraining, StoppedAfterAnyBatchAndContinued) {
  int number = 0;
  for (const Setting& s : settings()) {
    const std::string whole = "whole" + std::to_string(number++);
    int batches = 0;
    trainer(s, whole)->run({.on_batch = [&](auto...) { ++batches; }});
    ASSERT_GE(batches, 6);
    for (const int stop_at : {1, 2, 3, 5, batches}) {
      const std::string where = whole + "_" + std::to_string(stop_at);
      int done = 0;
      const auto first = trainer(s, where);
      try {
        first->run({.on_batch = [&](auto...) { ++done; }, .stop = [&] { return done == stop_at; }});
      } catch (const app::Interrupted&) {
      }
      const auto second = trainer(s, where);
      ASSERT_TRUE(second->resume());
      second->run({.on_batch = [&](auto...) { ++done; }});
      EXPECT_EQ(done, batches) << s.name;
      expect_same(whole, where, std::string(s.name) + ", stopped at " + std::to_string(stop_at));
    }
  }
}

TEST_F(SegmenterTraining, TheThreadCountDoesNotMatter) {
  const Setting s = settings()[1];
  const int before = thread_count();
  set_thread_count(1);
  trainer(s, "one")->run({});
  set_thread_count(3);
  trainer(s, "three")->run({});
  set_thread_count(before);
  expect_same("one", "three", "threads");
}

TEST_F(SegmenterTraining, TheLossFallsAndTheCellsAreFound) {
  for (const Head head : {Head::signed_distance, Head::instances, Head::classes}) {
    Setting s{"learns", {.loop = {.lr = 0.01, .epochs = 20, .patience = 0}}, head, 8};
    s.options.loop.batch = 2;
    s.options.loss = loss_of("auto", head);
    std::vector<training::EpochReport> reports;
    const std::string where = std::string("learns_") + name_of(head);
    trainer(s, where, "clear")->run({.on_epoch = [&](const training::EpochReport& r) { reports.push_back(r); }});
    ASSERT_EQ(reports.size(), 20u);
    EXPECT_LT(reports.back().train_loss, 0.5 * reports.front().train_loss) << where;
    EXPECT_GT(reports.back().metric("dice"), 0.5) << where;
    const Model model = load_model(*folder_ / where / "best.safetensors");
    EXPECT_EQ(model.card.head, head);
    EXPECT_EQ(model.card.patch, (Shape{18, 18, 18}));
  }
}

TEST_F(SegmenterTraining, ACheckpointOfAnotherLossOrOtherDataIsRefused) {
  const Setting s = settings()[0];
  trainer(s, "other")->run({});
  Setting changed = s;
  changed.options.loss = Loss::l1;
  try {
    trainer(changed, "other")->resume();
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("loss: checkpoint \"edge-l1\", now \"l1\""), std::string::npos) << e.what();
  }
}

TEST_F(SegmenterTraining, WithoutValidationTheLastWeightsAreKept) {
  Setting s = settings()[0];
  const LabelledDataset data = dataset(s.head);
  EXPECT_TRUE(parts_of(data, 0, 1).valid.empty());
  ModelCard card{.net = {.features = {4, 4, 8, 8, 8}, .trans = 4, .auxiliary = 0}};
  fs::create_directories(*folder_ / "alone");
  int best = 0;
  make_trainer(s.options, card, data, parts_of(data, 0, 1), *folder_ / "alone")
      ->run({.on_epoch = [&](const training::EpochReport& r) {
        best += r.best;
        EXPECT_FALSE(r.validated);
        EXPECT_TRUE(std::isnan(r.metric("dice")));
      }});
  EXPECT_EQ(best, 3);
}

// ---- parts, losses, overlap ------------------------------------------------------------------------

std::vector<LabelledCase> cases(const std::vector<std::pair<std::string, std::string>>& split_and_series) {
  std::vector<LabelledCase> all;
  for (const auto& [split, series] : split_and_series) {
    LabelledCase c;
    c.name = "case" + std::to_string(all.size());
    c.image = c.labels = c.name + ".npy";
    c.split = split;
    c.series = series;
    all.push_back(c);
  }
  return all;
}

TEST(SegmenterParts, AreWhatTheDataSays) {
  const LabelledDataset data(cases({{"test", ""}, {"train", ""}, {"valid", ""}, {"train", ""}}), Head::signed_distance);
  const Parts parts = parts_of(data, 0.5, 1);
  EXPECT_EQ(parts.train, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(parts.valid, (std::vector<std::int64_t>{2}));
  EXPECT_EQ(parts.test, (std::vector<std::int64_t>{0}));
  EXPECT_EQ(parts.note, "");
  EXPECT_THROW(parts_of(LabelledDataset(cases({{"test", ""}, {"valid", ""}}), Head::signed_distance), 0.5, 1), DataError);
}

TEST(SegmenterParts, HeldOutCasesAreSaidAndSeriesStayTogether) {
  std::vector<std::pair<std::string, std::string>> frames;
  for (int i = 0; i < 12; ++i) frames.emplace_back("", "day" + std::to_string(i / 4));
  const LabelledDataset data(cases(frames), Head::signed_distance);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const Parts parts = parts_of(data, 0.2, seed);
    EXPECT_EQ(parts.train.size() + parts.valid.size(), 12u);
    ASSERT_EQ(parts.valid.size(), 4u);
    for (const auto i : parts.valid) EXPECT_EQ(data[i].series, data[parts.valid[0]].series);
    EXPECT_NE(parts.note.find("4 of its 12 training cases are held out"), std::string::npos) << parts.note;
    EXPECT_EQ(parts_of(data, 0.2, seed).valid, parts.valid);
  }
  const Parts one = parts_of(LabelledDataset(cases({{"", "day"}, {"", "day"}}), Head::signed_distance), 0.2, 1);
  EXPECT_TRUE(one.valid.empty());
  EXPECT_EQ(one.train.size(), 2u);
  EXPECT_NE(one.note.find("no validation"), std::string::npos) << one.note;
}

TEST(SegmenterLoss, FitsItsHead) {
  EXPECT_EQ(loss_of("auto", Head::instances), Loss::edge_l1);
  EXPECT_EQ(loss_of("auto", Head::classes), Loss::dice_cross_entropy);
  for (const std::string& name : loss_names) {
    const bool distance = name == "l1" || name == "edge-l1";
    EXPECT_STREQ(name_of(loss_of(name, distance ? Head::signed_distance : Head::classes)), name.c_str());
    EXPECT_THROW(loss_of(name, distance ? Head::classes : Head::instances), app::UsageError) << name;
  }
}

TEST(SegmenterOverlap, CountsVoxels) {
  Overlap s(Head::signed_distance, 1);
  EXPECT_TRUE(std::isnan(s.dice()));
  const Tensor truth = from_values<float>({1, 1, 0, 0, -1, -1}, {1, 1, 1, 1, 6});
  s.add(from_values<float>({2, 0.04f, 0.06f, 0, -3, -0.2f}, {1, 1, 1, 1, 6}), truth, 0.05);
  EXPECT_DOUBLE_EQ(s.dice(), (2. * 1 / (2 + 2) + 2. * 2 / (2 + 2)) / 2);
  Overlap inside(Head::instances, 1);
  inside.add(from_values<float>({2, 0, 0.06f, 0, -3, 9}, {1, 1, 1, 1, 6}),
             from_values<float>({1, 1, 0, 0, 0, 5}, {1, 1, 1, 1, 6}), 0.05);
  EXPECT_EQ(inside.counts().to_vector(), (std::vector<double>{2, 2, 2, 3, 2, 2, 3, 3, 3})) << "above 0.05, 0.2 and 0.4";
  EXPECT_DOUBLE_EQ(inside.dice(), (2. * 2 / (3 + 3) + 2 * (2. * 2 / (2 + 3))) / 3);
  Overlap grown(Head::instances, 1);  // two objects that touch, found as one: the inside is right, their middles are not
  const Tensor apart = from_values<float>({1, 2, 3, 2, 1, 1, 2, 3, 2, 1}, {1, 1, 1, 1, 10});
  grown.add(from_values<float>({1, 2, 3, 4, 5, 5, 4, 3, 2, 1}, {1, 1, 1, 1, 10}), apart, 0.5);
  EXPECT_DOUBLE_EQ(grown.dice(), (1 + 2. * 2 / (6 + 2) + 0) / 3);
  Overlap classes(Head::classes, 3);  // class 2 is neither there nor said
  classes.add(from_values<float>({0, 1, 0, 1, /**/ 1, 3, 2, 0, /**/ 0, 2, 1, 0}, {1, 3, 1, 1, 4}),
              from_values<std::int64_t>({1, 0, 1, 1}, {1, 1, 1, 4}), 0);
  EXPECT_EQ(classes.counts().to_vector(), (std::vector<double>{2, 0, 3, 0, 3, 0}));
  EXPECT_DOUBLE_EQ(classes.dice(), 2. * 2 / (3 + 3));
  Overlap again(Head::classes, 3);
  again.set_counts(classes.counts());
  EXPECT_DOUBLE_EQ(again.dice(), classes.dice());
}

}  // namespace
