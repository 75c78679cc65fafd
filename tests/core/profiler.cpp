// SPDX-License-Identifier: Apache-2.0
#include "core/profiler.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "core/autograd.h"
#include "core/json.h"
#include "core/profiler_memory.h"
#include "tests/test.h"

namespace cuboid {
namespace {

using profiler::Range;
using profiler::Span;
using profiler::Total;

void pass(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

class Profiler : public testing::Test {
 protected:
  void SetUp() override {
    profiler::clear();
    profiler::enable(true);
  }
  void TearDown() override {
    profiler::enable(false);
    profiler::watch_memory(false);
    profiler::clear();
  }
  static Total total(const std::string& op, int thread = profiler::main_thread) {
    for (const Total& t : profiler::totals())
      if (t.op == op && t.thread == thread) return t;
    return {};
  }
};

TEST_F(Profiler, EachRangeCountsItsOwnTimeOnce) {
  {
    const Range outer("outer");
    pass(4);
    for (int i = 0; i < 2; ++i) {
      const Range inner("inner");
      pass(3);
      const Span kernel(Device::cpu, "work", "reference", 10, 20);
      pass(2);
    }
  }
  profiler::enable(false);
  const Total outer = total("outer"), inner = total("inner"), work = total("work");
  EXPECT_EQ(outer.calls, 1);
  EXPECT_EQ(inner.calls, 2);
  EXPECT_EQ(work.calls, 2);
  EXPECT_EQ(work.flops, 20);
  EXPECT_EQ(work.bytes, 40);
  EXPECT_GE(outer.self_us, 4e3);
  EXPECT_GE(inner.self_us, 6e3);
  EXPECT_GE(work.self_us, 4e3);
  EXPECT_EQ(work.self_us, work.us);
  EXPECT_NEAR(outer.self_us + inner.self_us + work.self_us, outer.us, 1e-6 * outer.us);
  EXPECT_LE(outer.us, profiler::wall_us());
}

TEST_F(Profiler, PathsLeadThroughTheRanges) {
  {
    const Range step("step");
    const Range block("block", 2);
    const Span kernel(Device::cpu, "work", "reference", 0, 0);
  }
  const auto events = profiler::events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_STREQ(events[0].op, "work");
  EXPECT_STREQ(events[0].path, "step/block2");
  EXPECT_STREQ(events[1].path, "step/block2");
  EXPECT_STREQ(events[2].path, "step");
  std::vector<std::string> paths;
  for (const Total& t : profiler::places()) paths.push_back(t.op);
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(paths, (std::vector<std::string>{"step", "step/block2"}));
}

TEST_F(Profiler, OffItSeesNothing) {
  profiler::enable(false);
  {
    const Range range("range");
    const Span kernel(Device::cpu, "work", "reference", 0, 0);
    EXPECT_EQ(profiler::here(), nullptr);
    profiler::enable(true);  // in the middle: what was open stays out
  }
  EXPECT_TRUE(profiler::events().empty());
}

TEST_F(Profiler, TheClockStopsWhenItIsTurnedOff) {
  profiler::enable(false);
  const double stopped = profiler::wall_us();
  pass(2);
  EXPECT_EQ(profiler::wall_us(), stopped);
}

TEST_F(Profiler, OtherThreadsHaveTheirOwnRows) {
  const Range here("here");
  std::thread([] { const Range there("there"); }).join();
  bool found = false;
  for (const Total& t : profiler::totals())
    if (t.op == "there") found = t.thread > profiler::main_thread;
  EXPECT_TRUE(found);
  EXPECT_STREQ(profiler::here()->name, "here");
}

TEST_F(Profiler, TheSweepIsBackInTheRangesOfTheOps) {
  Tensor x = full({4}, 1, test::on_device());
  x.requires_grad(true);
  Tensor y;
  {
    const Range block("block");
    y = add(x, x);
  }
  backward(y, {.seed = full({4}, 1, test::on_device())});
  bool found = false;
  for (const Total& t : profiler::places()) found |= t.op == "sweep/block'";
  EXPECT_TRUE(found);
}

TEST_F(Profiler, TheTraceIsJson) {
  {
    const Range outer("outer");
    const Span kernel(Device::cpu, "work", "reference", 3, 4);
  }
  std::ostringstream os;
  profiler::write_trace(os);
  const Json trace = Json::parse(os.str(), "trace");
  std::vector<std::string> names;
  for (const Json& e : trace.at("traceEvents").as_array())
    if (e.at("ph").as_string() == "X") names.push_back(e.at("name").as_string());
  EXPECT_EQ(names, (std::vector<std::string>{"work", "outer"}));
}

// ---- memory --------------------------------------------------------------------------------------

const profiler::MemoryOwner* owner(const profiler::MemoryReport& report, const std::string& op, const std::string& path) {
  for (const auto& o : report.owners)
    if (o.op == op && o.path == path) return &o;
  return nullptr;
}

TEST_F(Profiler, ThePeakHasOwners) {
  const Device device = test::test_device();
  profiler::watch_memory(true);
  {
    const Range range("first");
    Tensor x = full({1000}, 1, test::on_device());
    x.requires_grad(true);
    const Tensor y = add(x, x);
    { const Tensor gone = full({200}, 1, test::on_device()); }
    const Range second("second");
    const Tensor z = empty({50}, test::on_device());
  }
  const Tensor later = empty({500}, test::on_device());
  const auto report = profiler::memory_report(device);
  EXPECT_EQ(report.peak, 8000 + 800);
  EXPECT_EQ(report.allocations, 5);
  const auto* sum = owner(report, "add", "first");
  ASSERT_NE(sum, nullptr);
  EXPECT_EQ(sum->bytes, 4000);
  EXPECT_EQ(sum->blocks, 1);
  EXPECT_FALSE(report.timeline.empty());
  EXPECT_GE(report.peak_us, report.timeline.front().first);
}

TEST_F(Profiler, TheFirstToWriteOwnsABlock) {
  profiler::watch_memory(true);
  std::vector<char> memory(64);
  profiler::allocated(memory.data(), 64, Device::cpu);
  profiler::wrote("inside", memory.data() + 63, Device::cpu);
  profiler::wrote("late", memory.data(), Device::cpu);
  profiler::wrote("outside", memory.data() + 64, Device::cpu);
  const auto report = profiler::memory_report(Device::cpu);
  ASSERT_EQ(report.owners.size(), 1u);
  EXPECT_EQ(report.owners[0].op, "inside");
  profiler::freed(memory.data(), Device::cpu);
  EXPECT_EQ(profiler::memory_report(Device::cpu).peak, 64);
}

TEST_F(Profiler, ALongRunKeepsItsPeak) {
  profiler::watch_memory(true);
  std::vector<char> memory(4);
  profiler::allocated(memory.data(), 1000, Device::cpu);
  profiler::allocated(memory.data() + 1, 500, Device::cpu);
  profiler::freed(memory.data() + 1, Device::cpu);
  for (int i = 0; i < 300'000; ++i) {
    profiler::allocated(memory.data() + 2, 10, Device::cpu);
    profiler::freed(memory.data() + 2, Device::cpu);
  }
  const auto report = profiler::memory_report(Device::cpu);
  EXPECT_EQ(report.peak, 1500);
  EXPECT_EQ(report.allocations, 300'002);
  EXPECT_LT(report.timeline.size(), 8192u);
  ASSERT_EQ(report.owners.size(), 1u);
  EXPECT_EQ(report.owners[0].blocks, 2);
}

}  // namespace
}  // namespace cuboid
