// SPDX-License-Identifier: Apache-2.0
// kill -9, SIGTERM and SIGINT at random moments of a training: no broken checkpoint, and the same bits at the end.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "apps/csf/phantom.h"
#include "core/safetensors.h"
#include "tests/apps/program.h"

using namespace cuboid;
namespace fs = std::filesystem;

namespace {

class Kill : public testing::Test {
 protected:
  void SetUp() override {
    csf::write_phantom({.output = folder_ / "cells", .cells = {.cells = 24, .size = 16, .patients = 4}, .masks = false});
  }
  /// 10 epochs of 6 batches or so: 60 steps, each of them saved.
  std::vector<std::string> fresh(const std::string& run) const {
    return {"csf",          "train", "-d",          "cells", "--net",        "tiny", "--folds", "2",   "--only-folds", "1",
            "-e",           epochs_, "-b",          "2",     "--accumulate", "1",    "--ema",   "0.9", "--patience",   "0",
            "--save-every", "1",     "--no-report", "-q",    "-o",           run,    "-j",      "1"};
  }
  std::vector<std::string> resumed(const std::string& run) const {
    if (!fs::exists(folder_ / (run + "/run.toml"))) return fresh(run);
    return {"csf", "train", "--resume", run, "-q", "-j", "1", "--no-report"};
  }
  std::string weights(const std::string& run) const {
    return test::slurp(folder_ / (run + "/checkpoints/fold1/last.safetensors")) +
           test::slurp(folder_ / (run + "/checkpoints/fold1/best.safetensors"));
  }
  /// Every checkpoint that is there can be read, checksums and all.
  void expect_readable(const std::string& run) const {
    for (const char* which : {"last", "best"}) {
      const fs::path file = folder_ / (run + "/checkpoints/fold1/" + which + ".safetensors");
      if (fs::exists(file)) {
        EXPECT_NO_THROW(read_safetensors(file)) << file;
      }
    }
  }
  void interrupt(const std::string& run, int signal, int times, std::uint64_t seed, int longest_ms) {
    test::Random random(seed);
    for (int i = 0; i < times; ++i) {
      test::Program program(folder_.path(), resumed(run));
      std::this_thread::sleep_for(std::chrono::milliseconds(random.integer(1, longest_ms)));
      program.kill(signal);
      const auto outcome = program.wait();
      if (signal != SIGKILL && outcome.code != 0) {
        EXPECT_TRUE(outcome.code == 130 || outcome.code == 128 + signal) << outcome.code << outcome.err;  // before or in training
      }
      expect_readable(run);
    }
    const auto end = test::Program(folder_.path(), resumed(run)).wait();
    EXPECT_EQ(end.code, 0) << end.err;
  }

  std::string epochs_ = "10";
  test::TempFolder folder_;
};

TEST_F(Kill, AFewTimesAndTheBitsAreTheSame) {
  epochs_ = "4";
  ASSERT_EQ(test::Program(folder_.path(), fresh("whole")).wait().code, 0);
  interrupt("killed", SIGKILL, 5, 1, 400);
  EXPECT_EQ(weights("killed"), weights("whole"));
  interrupt("stopped", SIGTERM, 3, 2, 400);
  EXPECT_EQ(weights("stopped"), weights("whole"));
}

TEST_F(Kill, DISABLED_TwentyTimesOfSixtySteps) {
  ASSERT_EQ(test::Program(folder_.path(), fresh("whole")).wait().code, 0);
  interrupt("killed", SIGKILL, 20, 3, 600);
  EXPECT_EQ(weights("killed"), weights("whole"));
  interrupt("stopped", SIGINT, 20, 4, 600);
  EXPECT_EQ(weights("stopped"), weights("whole"));
}

TEST_F(Kill, DISABLED_TwoHundredKills) {
  epochs_ = "100";
  interrupt("killed", SIGKILL, 200, 5, 500);
}

}  // namespace
