// SPDX-License-Identifier: Apache-2.0
// A run that is stopped anywhere and continued ends with the same bits as one that is not.
#include "apps/csf/trainer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "apps/app.h"
#include "apps/csf/phantom.h"
#include "apps/csf/train.h"
#include "core/parallel.h"
#include "kernels/views/views.h"
#include "tests/files.h"

using namespace cuboid;
using namespace cuboid::csf;
namespace fs = std::filesystem;

namespace {

struct Setting {
  const char* name;
  TrainOptions options;
  double dropout = 0;
};

std::vector<Setting> settings() {
  const TrainOptions base{.loop = {.epochs = 3, .batch = 4, .patience = 0}, .augment = {.flip_z = 0.5, .jitter_scale = 0.1}};
  Setting plain{"sgd", base};
  plain.options.loop.optimiser = "sgd";
  plain.options.loop.workers = 0;
  Setting rich{"adamw, ema, accumulation, clipping, dropout", base, 0.3};
  rich.options.loop.ema = 0.9;
  rich.options.loop.accumulate = 2;
  rich.options.loop.clip = 1;
  rich.options.loop.warmup = 2;
  rich.options.balanced_loss = true;
  rich.options.loop.best_by = "auroc";
  Setting plateau{"plateau", base};
  plateau.options.loop.schedule = "plateau";
  plateau.options.loop.schedule_per_epoch = true;
  plateau.options.loop.plateau_patience = 0;
  plateau.options.loop.patience = 1;
  return {plain, rich, plateau};
}

class Training : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    write_phantom({.output = folder_->path() / "cells", .cells = {.cells = 24, .size = 16, .patients = 4}, .masks = false});
    dataset_ = new Dataset(open_dataset(folder_->path() / "cells"));
  }
  static void TearDownTestSuite() {
    delete dataset_;
    delete folder_;
  }

  static std::unique_ptr<training::Trainer> trainer(const Setting& s, const std::string& where) {
    ModelCard card{.net = named_net("tiny", 2), .classes = dataset_->class_names(), .input = dataset_->shape()};
    card.net.blocks = {1};
    card.net.growth = 4;
    card.net.init_features = 4;
    card.net.dropout = s.dropout;
    Fold fold;
    for (std::int64_t i = 0; i < 24; ++i) (i % 3 == 2 ? fold.valid : fold.train).push_back(i);
    const fs::path checkpoints = folder_->path() / where;
    fs::create_directories(checkpoints);
    return make_trainer(s.options, card, *dataset_, fold, checkpoints);
  }
  static fs::path file(const std::string& where, const char* which) { return folder_->path() / where / which; }

  static void expect_same(const std::string& a, const std::string& b, const std::string& what) {
    for (const char* which : {"last.safetensors", "best.safetensors"}) {
      const SafetensorsFile x(file(a, which)), y(file(b, which));
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
  static inline Dataset* dataset_ = nullptr;
};

TEST_F(Training, StoppedAfterAnyBatchAndContinued) {
  int number = 0;
  for (const Setting& s : settings()) {
    const std::string whole = "whole" + std::to_string(number++);
    int batches = 0;
    trainer(s, whole)->run({.on_batch = [&](auto...) { ++batches; }});
    ASSERT_GE(batches, 8);
    for (int stop_at = 1; stop_at <= batches; ++stop_at) {
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

TEST_F(Training, SavedFromAnotherThreadInTheMiddleOfAStep) {
  struct Gone {};
  int number = 100;
  for (const Setting& s : settings()) {
    const std::string whole = "whole" + std::to_string(number++);
    trainer(s, whole)->run({});
    for (const int stop_at : {1, 3, 4, 5, 8}) {
      const std::string where = whole + "_" + std::to_string(stop_at);
      int done = 0;
      const auto first = trainer(s, where);
      try {  // the process ends here, as after _exit
        first->run({.on_batch = [&](auto...) {
          if (++done == stop_at) {
            // a forward pass that will never be finished has already moved the running statistics
            first->net().train();
            set_random_step(first->net(), 1, 1);
            dynamic_cast<DenseNet&>(first->net())(cat({unsqueeze(dataset_->load(0), 0), unsqueeze(dataset_->load(1), 0)}, 0));
            first->save_from_outside();
            throw Gone();
          }
        }});
      } catch (const Gone&) {
      }
      const auto second = trainer(s, where);
      second->resume();
      second->run({});
      expect_same(whole, where, std::string(s.name) + ", saved at " + std::to_string(stop_at));
    }
  }
}

TEST_F(Training, AFinishedRunStaysFinished) {
  const Setting s = settings()[0];
  trainer(s, "done")->run({});
  const auto again = trainer(s, "done");
  EXPECT_TRUE(again->resume());
  EXPECT_TRUE(again->finished());
  int batches = 0;
  again->run({.on_batch = [&](auto...) { ++batches; }});
  EXPECT_EQ(batches, 0);
}

TEST_F(Training, ACheckpointOfOtherOptionsIsRefused) {
  const Setting s = settings()[0];
  trainer(s, "other")->run({});
  Setting changed = s;
  changed.options.loop.lr = 0.5;
  try {
    trainer(changed, "other")->resume();
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("lr: checkpoint 0.001, now 0.5"), std::string::npos) << e.what();
  }
}

TEST_F(Training, ALossThatIsNotFiniteStopsAndKeepsTheCheckpoint) {
  Setting s = settings()[0];
  s.options.loop.lr = 1e30;
  s.options.loop.save_every = 1;
  EXPECT_THROW(trainer(s, "explodes")->run({}), Error);
  const SafetensorsFile kept(file("explodes", "last.safetensors"));
  EXPECT_GT(kept.read_all().size(), 0u);
}

TEST_F(Training, TheThreadCountDoesNotMatter) {
  const Setting s = settings()[1];
  const int before = thread_count();
  set_thread_count(1);
  trainer(s, "one")->run({});
  set_thread_count(3);
  trainer(s, "three")->run({});
  set_thread_count(before);
  expect_same("one", "three", "threads");
}

TEST_F(Training, AModelKnowsWhatItIs) {
  const Setting s = settings()[0];
  trainer(s, "model")->run({});
  const Model model = load_model(file("model", "best.safetensors"));
  EXPECT_EQ(model.card.classes, dataset_->class_names());
  EXPECT_EQ(model.card.input, dataset_->shape());
  EXPECT_EQ(model.card.net.growth, 4);
  const ModelCard again = ModelCard::from_json(Json::parse(model.card.to_json().dump()));
  EXPECT_EQ(again.to_json(), model.card.to_json());
  // the training state of `last` is no part of the model
  EXPECT_NO_THROW(load_model(file("model", "last.safetensors")));
  EXPECT_THROW(load_model(file("model", "best.safetensors"), {.net = "csf"}), DataError);
}

}  // namespace
