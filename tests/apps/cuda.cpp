// SPDX-License-Identifier: Apache-2.0
// The CSF task with --device cuda: it learns what it learns on the CPU, as a graph too; and what the options say where they
// cannot be.
#include "core/cuda.h"

#include <gtest/gtest.h>

#include <cstring>

#include "apps/app.h"
#include "apps/csf/phantom.h"
#include "apps/csf/train.h"
#include "tests/apps/program.h"

using namespace cuboid;
using namespace cuboid::csf;
using test::run_program;
namespace fs = std::filesystem;

namespace {

class CudaApps : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder;
    write_phantom({.output = *folder_ / "cells", .cells = {.cells = 14, .size = 16, .patients = 4}, .masks = false});
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
  static fs::path at(const std::string& name) { return *folder_ / name; }

  /// Two epochs of three batches: 4, 4 and 3 cells.
  static std::vector<training::EpochReport> train(const TrainOptions& options, const std::string& where, double dropout = 0) {
    ModelCard c{.net = named_net("tiny", 2), .classes = {"round", "lobed"}, .input = {1, 16, 16, 16}};
    c.net.blocks = {1};
    c.net.growth = 8;
    c.net.bn_size = 2;
    c.net.init_features = 8;
    c.net.dropout = dropout;
    Fold fold;
    for (std::int64_t i = 0; i < 14; ++i) (i % 5 == 3 ? fold.valid : fold.train).push_back(i);
    fs::create_directories(at(where));
    std::vector<training::EpochReport> reports;
    make_trainer(options, c, open_dataset(at("cells")), fold, at(where))->run({.on_epoch = [&](const training::EpochReport& r) {
      reports.push_back(r);
    }});
    return reports;
  }
  static void expect_same_weights(const std::string& a, const std::string& b) {
    const NamedTensors x = read_safetensors(at(a) / "last.safetensors"), y = read_safetensors(at(b) / "last.safetensors");
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const View p = x[i].second.view(), q = y[i].second.view();
      EXPECT_EQ(std::memcmp(p.data, q.data, static_cast<std::size_t>(p.bytes())), 0) << x[i].first;
    }
  }
  /// `cuboid csf WORDS...`
  static test::Outcome csf(std::vector<std::string> words) {
    words.insert(words.begin(), "csf");
    return run_program(folder_->path(), words);
  }

  static inline test::TempFolder* folder_ = nullptr;
};

TEST_F(CudaApps, AGraphGivesTheSameBits) {
  TrainOptions o{.loop = {.epochs = 2, .batch = 4, .patience = 0, .device = Device::cuda}, .augment = {.flip_z = 0.5}};
  o.loop.ema = 0.9;
  o.loop.clip = 1;
  o.balanced_loss = true;
  o.loop.warmup = 2;
  const auto plain = train(o, "plain", 0.3);
  o.loop.graph = true;
  testing::internal::CaptureStderr();
  const auto graph = train(o, "graph", 0.3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "note: without a graph: batches of 3, it is for 4\n");
  ASSERT_EQ(graph.size(), plain.size());
  for (std::size_t i = 0; i < graph.size(); ++i) {
    EXPECT_EQ(graph[i].train_loss, plain[i].train_loss) << i;
    EXPECT_EQ(graph[i].metric("loss"), plain[i].metric("loss")) << i;
  }
  expect_same_weights("plain", "graph");
}

TEST_F(CudaApps, AccumulationRunsWithoutAGraph) {
  TrainOptions o{.loop = {.epochs = 1, .batch = 4, .accumulate = 2, .patience = 0, .device = Device::cuda}};
  train(o, "plain2");
  o.loop.graph = true;
  testing::internal::CaptureStderr();
  train(o, "graph2");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "note: without a graph: --accumulate adds up what no graph may keep\n");
  expect_same_weights("plain2", "graph2");
}

TEST_F(CudaApps, TheProgramLearnsAndPredictsAsOnTheCpu) {
  Json summary[2], predictions[2];
  double loss[2] = {};
  for (const int i : {0, 1}) {
    const std::string device = i ? "cuda" : "cpu", run = "run_" + device;
    std::vector<std::string> words{
        "train", "-d",       "cells", "--net",  "tiny", "--blocks",       "1", "--growth",     "8", "--bn-size",
        "2",     "-e",       "2",     "-b",     "4",    "--folds",        "2", "--only-folds", "1", "-o",
        run,     "--device", device,  "--json", "-q",   "--deterministic"};
    if (i) words.push_back("--graph");
    const auto trained = csf(words);
    ASSERT_EQ(trained.code, 0) << trained.err;
    summary[i] = Json::parse(trained.out);
    std::string line = test::slurp(at(run) / "metrics.jsonl");
    line.pop_back();
    loss[i] = Json::parse(line.substr(line.rfind('\n') + 1)).at("train_loss").as_double();
    const auto predicted = csf({"predict", "-m", "run_cpu", "cells/cells", "--device", device, "--json", "-q"});
    ASSERT_EQ(predicted.code, 0) << predicted.err;
    predictions[i] = Json::parse(predicted.out);
  }
  EXPECT_NEAR(loss[1], loss[0], 1e-4);
  EXPECT_EQ(summary[1].at("pooled").at("confusion"), summary[0].at("pooled").at("confusion"));
  ASSERT_EQ(predictions[1].size(), 14u);
  for (std::size_t i = 0; i < 14; ++i)
    EXPECT_NEAR(predictions[1][i].at("probabilities")[0].as_double(), predictions[0][i].at("probabilities")[0].as_double(), 1e-4)
        << i;
}

TEST_F(CudaApps, ALittleDeviceIsOutOfMemory) {
#if CUBOID_EMULATED
  setenv("CUBOID_EMU_MEMORY", std::to_string(8 << 20).c_str(), 1);
  const auto outcome =
      csf({"train", "-d", "cells", "--net", "small", "-e", "1", "-b", "14", "--device", "cuda", "-o", "little", "-q"});
  unsetenv("CUBOID_EMU_MEMORY");
  EXPECT_EQ(outcome.code, app::out_of_memory) << outcome.err;
  for (const char* part : {"out of memory on cuda", "asked for", "in use (peak", "hint: a smaller --batch-size"})
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n" << outcome.err;
#else
  GTEST_SKIP() << "only the emulated device can be made that small";
#endif
}

}  // namespace

/// Not of the suites Cuda*: these hold in every build.
TEST(DeviceOptions, TheCpuHasNoGraphAndNoTf32) {
  const test::TempFolder folder;
  write_phantom({.output = folder / "cells", .cells = {.cells = 8, .size = 16, .patients = 4}, .masks = false});
  const auto csf = [&](std::vector<std::string> words) {
    for (const char* word : {"cells", "-d", "train", "csf"}) words.insert(words.begin(), word);
    return run_program(folder.path(), words);
  };
  const auto graph = csf({"--graph", "--device", "cpu", "--dry-run"});
  EXPECT_EQ(graph.code, app::usage_error);
  EXPECT_NE(graph.err.find("--graph: the CPU has none, and --device is cpu"), std::string::npos) << graph.err;
  const auto tf32 = csf({"--precision", "tf32", "--device", "cpu", "--dry-run"});
  EXPECT_EQ(tf32.code, app::usage_error);
  EXPECT_NE(tf32.err.find("--precision tf32: the CPU has none"), std::string::npos) << tf32.err;
  EXPECT_EQ(csf({"--deterministic", "--device", "cpu", "--dry-run"}).code, 0);
}
