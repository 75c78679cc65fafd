// SPDX-License-Identifier: Apache-2.0
// `cuboid csf train` on two processes, as torchrun's variables or mpirun start it.
#include <gtest/gtest.h>

#include "apps/csf/phantom.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "tests/files.h"
#include "tests/ranks.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;
namespace fs = std::filesystem;

namespace {

class CsfRanks : public testing::Test {
 protected:
  void SetUp() override {
    csf::write_phantom({.output = folder_.path / "cells", .cells = {.cells = 32, .size = 16, .patients = 10}, .masks = false});
  }
  /// Batches of 5, 5 and 2 cells; 6 for validation.
  std::vector<std::string> fresh(const std::string& run, const std::string& epochs = "3", const std::string& accumulate = "1",
                                 const std::string& save_every = "1") const {
    return {CUBOID_BINARY, "csf",          "train", "-d",         path("cells"), "--net",        "tiny",     "--folds",
            "2",           "--only-folds", "1",     "-e",         epochs,        "-b",           "5",        "--accumulate",
            accumulate,    "--ema",        "0.9",   "--patience", "0",           "--save-every", save_every, "--no-report",
            "-o",          path(run),      "-j",    "1"};
  }
  std::vector<std::string> resumed(const std::string& run) const {
    return {CUBOID_BINARY, "csf", "train", "--resume", path(run), "-j", "1", "--no-report"};
  }
  std::string path(const std::string& name) const { return (folder_.path / name).string(); }
  std::vector<std::unique_ptr<Process>> start(const std::vector<std::string>& command, const Variables& more = {}) {
    const int port = free_port();
    std::vector<std::unique_ptr<Process>> both;
    for (int r = 0; r < 2; ++r) {
      Variables v = launch_variables(r, 2, port);
      for (const auto& [name, value] : more) v[name] = value;
      both.push_back(std::make_unique<Process>(command, v, folder_.path / ("out" + std::to_string(starts_++))));
    }
    return both;
  }
  void run(const std::vector<std::string>& command) {
    const auto both = start(command);
    for (const auto& p : both) ASSERT_EQ(p->wait(120), 0) << p->output();
    EXPECT_EQ(both[1]->output(), "");  // rank 0 speaks for all
  }
  NamedTensors last(const std::string& run) const { return read_safetensors(path(run + "/checkpoints/fold1/last.safetensors")); }
  std::string bytes(const std::string& run) const {
    return slurp(path(run + "/checkpoints/fold1/last.safetensors")) + slurp(path(run + "/checkpoints/fold1/best.safetensors"));
  }
  double last_valid_loss(const std::string& run) const {
    std::ifstream log(path(run + "/metrics.jsonl"));
    std::string line, last;
    while (std::getline(log, line)) last = line;
    return Json::parse(last, run).at("valid_loss").as_double();
  }
  bool saved(const std::string& run, double seconds = 60) const {
    for (double waited = 0; waited < seconds; waited += 0.005) {
      if (fs::exists(path(run + "/checkpoints/fold1/last.safetensors"))) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  Folder folder_;
  int starts_ = 0;
};

/// max |a - b| / max |b| over the net's weights.
double distance(const NamedTensors& a, const NamedTensors& b) {
  double worst = 0, scale = 0;
  for (const auto& [name, t] : b) {
    if (name.starts_with("train.")) continue;
    for (const auto& [other, u] : a) {
      if (other != name) continue;
      const auto x = u.to_vector(), y = t.to_vector();
      for (std::size_t i = 0; i < x.size(); ++i) {
        worst = std::max(worst, std::abs(x[i] - y[i]));
        scale = std::max(scale, std::abs(y[i]));
      }
    }
  }
  return worst / scale;
}

TEST_F(CsfRanks, TwoProcessesLearnWhatOneDoes) {
  Process one(fresh("one"), {{"OMP_NUM_THREADS", "1"}}, folder_.path / "alone");
  run(fresh("two"));
  ASSERT_EQ(one.wait(120), 0) << one.output();
  EXPECT_LT(distance(last("two"), last("one")), 2e-3);  // f32, and other kernels in the dense blocks
  EXPECT_NEAR(last_valid_loss("two"), last_valid_loss("one"), 2e-3);
  EXPECT_NE(slurp(path("two/manifest.json")).find("\"tcp\""), std::string::npos);
  run(fresh("again"));
  EXPECT_EQ(bytes("again"), bytes("two"));
}

TEST_F(CsfRanks, AKilledRankIsNamedAndTheRunGoesOnWithTheSameBits) {
  run(fresh("whole", "6"));
  Random random(7);
  for (const int lost : {1, 0}) {
    const std::string name = "killed" + std::to_string(lost);
    {
      const auto both = start(fresh(name, "6"));
      ASSERT_TRUE(saved(name)) << both[0]->output();
      std::this_thread::sleep_for(std::chrono::milliseconds(random.integer(0, 200)));
      both[static_cast<std::size_t>(lost)]->send(SIGKILL);
      Process& other = *both[static_cast<std::size_t>(1 - lost)];
      EXPECT_EQ(other.wait(15), 1) << other.output();
      EXPECT_NE(other.output().find(
                    join_text("error: ranks: rank ", lost, " (pid ", both[static_cast<std::size_t>(lost)]->pid(), ", ")),
                std::string::npos)
          << other.output();
    }
    run(resumed(name));
    EXPECT_EQ(bytes(name), bytes("whole"));
  }
}

TEST_F(CsfRanks, AStoppedRankIsNamed) {
  const auto both = start(fresh("stopped", "1000"), {{"CUBOID_SILENCE_SECONDS", "1"}});
  ASSERT_TRUE(saved("stopped")) << both[0]->output();
  both[1]->send(SIGSTOP);
  EXPECT_EQ(both[0]->wait(15), 1) << both[0]->output();
  EXPECT_NE(both[0]->output().find("no sign of life"), std::string::npos) << both[0]->output();
}

TEST_F(CsfRanks, ASignalToOneStopsAllAndTheRunGoesOn) {
  run(fresh("whole", "6", "2"));
  {
    const auto both = start(fresh("asked", "6", "2"));
    ASSERT_TRUE(saved("asked")) << both[0]->output();
    both[1]->send(SIGTERM);
    for (const auto& p : both) EXPECT_TRUE(p->wait(15) == 130 || p->wait(0) == 0) << p->output();  // or it was just done
  }
  run(resumed("asked"));
  EXPECT_EQ(bytes("asked"), bytes("whole"));
}

// The first epoch of three batches ends in the middle of an optimiser step: both ranks' gradients are in the checkpoint.
TEST_F(CsfRanks, HalfAStepSurvivesTheEndOfAnEpoch) {
  run(fresh("whole", "16", "2", "0"));
  for (const char* name : {"first", "second"}) {
    {
      const auto both = start(fresh(name, "16", "2", "0"));
      ASSERT_TRUE(saved(name)) << both[0]->output();
      for (const auto& p : both) p->send(SIGKILL);
      for (const auto& p : both) p->wait(15);
    }
    run(resumed(name));
    EXPECT_EQ(bytes(name), bytes("whole"));
  }
}

TEST_F(CsfRanks, ABatchTooSmallIsRefused) {
  std::vector<std::string> command = fresh("small");
  *(std::find(command.begin(), command.end(), "-b") + 1) = "1";
  const auto both = start(command);
  for (const auto& p : both) {
    EXPECT_EQ(p->wait(60), 2);
    EXPECT_NE(p->output().find("--batch-size 1: the cells of a batch are shared by 2 processes"), std::string::npos)
        << p->output();
  }
}

#if CUBOID_MPI
TEST_F(CsfRanks, UnderMpirun) {
  if (!mpirun_there()) GTEST_SKIP() << "no mpirun on this machine";
  run(fresh("two"));
  Process mpi(under_mpirun(2, fresh("mpi")), {{"OMP_NUM_THREADS", "1"}}, folder_.path / "mpi.txt");
  ASSERT_EQ(mpi.wait(120), 0) << mpi.output();
  EXPECT_EQ(bytes("mpi"), bytes("two"));
  EXPECT_NE(slurp(path("mpi/manifest.json")).find("\"mpi\""), std::string::npos);
}

TEST_F(CsfRanks, AKilledRankUnderMpirun) {
  if (!mpirun_there()) GTEST_SKIP() << "no mpirun on this machine";
  Process mpi(under_mpirun(2, fresh("mpi", "1000")), {{"OMP_NUM_THREADS", "1"}}, folder_.path / "mpi.txt");
  ASSERT_TRUE(saved("mpi")) << mpi.output();
  // mpirun's children are the ranks, in their order.
  std::ifstream children("/proc/" + std::to_string(mpi.pid()) + "/task/" + std::to_string(mpi.pid()) + "/children");
  pid_t first = 0, second = 0;
  ASSERT_TRUE(children >> first >> second);
  kill(second, SIGKILL);
  const int code = mpi.wait(15);
  EXPECT_TRUE(code > 0) << code << '\n' << mpi.output();
  EXPECT_NE(mpi.output().find("rank 1"), std::string::npos) << mpi.output();
}
#endif

}  // namespace
