// SPDX-License-Identifier: Apache-2.0
// cuboid profile, run as a user would, and the arithmetic of its table.
#include "apps/profile.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "apps/csf/phantom.h"
#include "core/json.h"
#include "tests/apps/program.h"

using namespace cuboid;
using test::run_program;
namespace fs = std::filesystem;

namespace {

class Profile : public testing::Test {
 protected:
  void SetUp() override {
    csf::write_phantom({.output = folder_ / "cells", .cells = {.cells = 24, .size = 16, .patients = 4}, .masks = false});
  }
  static std::vector<std::string> train(const std::string& epochs) {
    return {"profile", "-o",           "seen", "--", "csf",  "train", "-d", "cells", "--net",       "tiny", "--folds",
            "2",       "--only-folds", "1",    "-e", epochs, "-b",    "4",  "-q",    "--no-report", "-o",   "run"};
  }
  Json json(const std::string& name) const { return Json::parse(test::slurp(folder_ / ("seen/" + name)), name); }

  test::TempFolder folder_;
};

TEST_F(Profile, OfATraining) {
  const auto got = run_program(folder_.path(), train("2"));
  ASSERT_EQ(got.code, 0) << got.err;
  for (const char* text : {"train step", "conv_weight", "loader wait", "optimiser", "adam", "roofs of the cpu", "% roof"})
    EXPECT_NE(got.out.find(text), std::string::npos) << text << "\n" << got.out;
  const Json ops = json("ops.json");
  EXPECT_EQ(ops.at("end").as_string(), "finished");
  EXPECT_EQ(ops.at("command").as_string().find("cuboid csf train -d cells"), 0u);
  double main = 0;
  for (const Json& op : ops.at("ops").as_array()) {
    EXPECT_GT(op.at("calls").as_int(), 0);
    if (op.at("thread").as_string() == "main") main += op.at("share_of_wall").as_double();
  }
  EXPECT_NEAR(main, ops.at("share_kernels").as_double() + ops.at("share_ranges").as_double(), 1e-9);
  EXPECT_LE(main, 1 + 1e-9);  // nothing is counted twice
  EXPECT_GT(ops.at("roofs").at("cpu").at("flops_per_second").as_double(), 1e8);
  const Json memory = json("memory.json").at("cpu");
  EXPECT_GT(memory.at("peak_bytes").as_int(), 0);
  std::int64_t owned = 0;
  for (const Json& o : memory.at("owners_at_peak").as_array()) owned += o.at("bytes").as_int();
  EXPECT_EQ(owned, memory.at("peak_bytes").as_int());
  EXPECT_GT(json("trace.json").at("traceEvents").size(), 100u);
  EXPECT_EQ(test::slurp(folder_ / "seen/ops.csv").find("thread,op,implementation"), 0u);
  if (plot::available()) {
    for (const char* name : {"roofline-cpu.svg", "memory-cpu.svg"})
      EXPECT_NE(test::slurp(folder_ / ("seen/" + std::string(name))).find("</svg>"), std::string::npos) << name;
  }
  // and once more into the same folder, which is nobody's work
  EXPECT_EQ(run_program(folder_.path(), {"profile", "-o", "seen", "-q", "--", "info", "cells/cells/cell_0001.npy"}).code, 0);
}

TEST_F(Profile, OfWhatFails) {
  const auto got = run_program(
      folder_.path(), {"profile", "-o", "seen", "--rows", "200", "--", "csf", "train", "-d", "nowhere", "--net", "tiny"});
  EXPECT_EQ(got.code, 3) << got.err;
  EXPECT_NE(got.err.find("error: "), std::string::npos);
  EXPECT_EQ(json("ops.json").at("end").as_string().find("failed: "), 0u);
}

TEST_F(Profile, OfWhatIsInterrupted) {
  const auto interrupted = [&](const std::vector<std::string>& command) {
    test::Program program(folder_.path(), command);
    for (int i = 0; i < 600 && !fs::exists(folder_ / "seen/.profile"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    program.kill(SIGINT);
    EXPECT_EQ(program.wait().code, 130);
    EXPECT_EQ(json("ops.json").at("end").as_string(), "interrupted");
    EXPECT_TRUE(fs::exists(folder_ / "seen/trace.json"));
    fs::remove_all(folder_ / "seen");
  };
  interrupted(train("5000"));                                                                              // it saves first
  interrupted({"profile", "-o", "seen", "--", "phantom", "csf", "-o", "many", "--cells", "90000", "-q"});  // it never asks
}

TEST_F(Profile, UsageIsExplained) {
  EXPECT_EQ(run_program(folder_.path(), {"profile"}).code, 2);
  EXPECT_EQ(run_program(folder_.path(), {"profile", "--"}).code, 2);
  EXPECT_EQ(run_program(folder_.path(), {"profile", "--", "profile", "--", "info", "x"}).code, 2);
  EXPECT_EQ(run_program(folder_.path(), {"profile", "csf", "train"}).code, 2);
  EXPECT_EQ(run_program(folder_.path(), {"profile", "--help"}).code, 0);
  const auto taken = run_program(folder_.path(), {"profile", "-o", "cells", "--", "info", "x"});
  EXPECT_EQ(taken.code, 2);
  EXPECT_NE(taken.err.find("--overwrite"), std::string::npos);
}

TEST(ProfileTable, ARoofIsTheNearerOfTwo) {
  const Roofs roofs{{100e9, 90e9}, {10e9, 9e9}};
  const profiler::Total busy{"conv", "own", 0, 1, 1e6, 1e6, 50e9, 1e9};  // in one second
  const auto near = app::nearness(busy, &roofs);
  EXPECT_DOUBLE_EQ(near.of_flops, 0.5);
  EXPECT_DOUBLE_EQ(near.of_bytes, 0.1);
  EXPECT_DOUBLE_EQ(near.of_roof, 0.5);
  EXPECT_STREQ(near.bound, "compute");
  const profiler::Total moves{"copy", "own", 0, 1, 1e6, 1e6, 0, 8e9};
  EXPECT_STREQ(app::nearness(moves, &roofs).bound, "memory");
  EXPECT_DOUBLE_EQ(app::nearness(moves, &roofs).of_roof, 0.8);
  const profiler::Total range{"step", "", 0, 1, 1e6, 1e6, 0, 0};
  EXPECT_STREQ(app::nearness(range, &roofs).bound, "");
  EXPECT_STREQ(app::nearness(moves, nullptr).bound, "");
}

}  // namespace
