// SPDX-License-Identifier: Apache-2.0
// Rows that fit are measured, judged and remembered; with rows whose cost is a number, and a clock that reads it.
#include "kernels/autotune.h"

#include <cmath>

#include "core/cuda.h"
#include "kernels/conv/conv.h"
#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/files.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Option {
  std::int64_t value = 0;
};
std::vector<std::int64_t> numbers_of(const Option& o) { return {o.value}; }

/// What each row costs and whether it is right; how often it ran.
struct Row {
  double cost = 1;
  bool right = true, fails = false;
  int runs = 0;
} narrow, wide, other, judge;
double last_cost = 0;

using Scale = void(const View& x, const Out& y, const Option&);
template <Row& R>
void row(const View& x, const Out& y, const Option&) {
  ++R.runs;
  last_cost = R.cost;
  check<OutOfMemory>(!R.fails, "no memory for this");
  const double value = R.right ? 6 : 9;
#if CUBOID_CUDA
  if (x.device == Device::cuda) return cuda::fill(y, value);
#endif
  for (std::int64_t i = 0; i < x.size(); ++i) y.as<float>()[i] = static_cast<float>(value);
}
bool few(const View& x, const Out&, const Option&) { return x.size() <= 8; }
constexpr Impl<Scale> rows[] = {
    {"narrow", Device::cpu, few, row<narrow>},   {"wide", Device::cpu, always, row<wide>},
    {"other", Device::cpu, always, row<other>},  {"reference", Device::cpu, always, row<judge>},
    {"narrow", Device::cuda, few, row<narrow>},  {"wide", Device::cuda, always, row<wide>},
    {"other", Device::cuda, always, row<other>}, {"reference", Device::cuda, always, row<judge>},
};

struct Autotuning : testing::Test {
  void SetUp() override {
    narrow = wide = other = judge = {};
    measured = 0;
  }
  Autotuner::Meter meter() {
    return [this](const std::function<void()>& work) {
      work();
      ++measured;
      return last_cost;
    };
  }
  Autotuner tuner(const std::string& machine = "machine", const std::string& name = "cache/rows.json") {
    return {machine, meter(), folder / name};
  }
  /// The row that a call takes; its result is right.
  static std::string chosen(std::int64_t size, Option option = {}) {
    profiler::enable(true);
    profiler::clear();
    const Tensor x = full({size}, 3, on_device()), y = empty({size}, on_device());
    run_fastest({"scale"}, rows, x.view(), y.mutate(), option);
    profiler::enable(false);
    EXPECT_EQ(y.to_vector()[0], 6);
    return profiler::events().back().impl;
  }
  /// The same by a tuner of its own, and what it says.
  std::string chosen_by(Autotuner& t, std::int64_t size, Option option = {}) {
    const WithAutotuner scope(test_device(), t);
    testing::internal::CaptureStderr();
    const std::string name = chosen(size, option);
    said = testing::internal::GetCapturedStderr();
    return name;
  }
  TempFolder folder;
  int measured = 0;
  std::string said;
};

TEST_F(Autotuning, WithoutItTheFirstRowThatFitsWins) {
  narrow.cost = 9;
  EXPECT_EQ(chosen(4), "narrow");
  EXPECT_EQ(chosen(40), "wide");
  EXPECT_EQ(judge.runs, 0);
}

TEST_F(Autotuning, TheFastestRowWinsAndIsMeasuredOnce) {
  Autotuner t = tuner();
  narrow.cost = 2;
  wide.cost = 1;
  other.cost = 3;
  EXPECT_EQ(chosen_by(t, 4), "wide");
  EXPECT_EQ(said, "");
  EXPECT_EQ(judge.runs, 1) << "as judge";
  const int after = measured;
  EXPECT_GE(after, 3);
  EXPECT_EQ(chosen_by(t, 4), "wide");
  EXPECT_EQ(measured, after);
  wide.cost = 5;
  EXPECT_EQ(chosen_by(t, 5), "narrow") << "another shape is another problem";
  EXPECT_EQ(chosen_by(t, 4, {7}), "narrow") << "other options too";
  EXPECT_EQ(chosen_by(t, 4), "wide") << "remembered";
  EXPECT_EQ(chosen_by(t, 9), "other") << "what does not fit is no candidate";
}

TEST_F(Autotuning, EqualTimesGoToTheUpperRow) {
  Autotuner t = tuner();
  EXPECT_EQ(chosen_by(t, 4), "narrow");
}

TEST_F(Autotuning, ARowThatIsWrongIsLeftOut) {
  Autotuner t = tuner();
  narrow.right = false;
  wide.cost = 2;
  other.cost = 3;
  EXPECT_EQ(chosen_by(t, 4), "wide");
  EXPECT_EQ(said, "note: scale f32[4] f32[4] 0: row 'narrow' is wrong by 0.5; it is left out\n");
  wide.right = other.right = false;
  EXPECT_EQ(chosen_by(t, 6), "reference") << "when all are";
  Autotuner again = tuner();
  measured = 0;
  EXPECT_EQ(chosen_by(again, 6), "reference") << "that is remembered as well";
  EXPECT_EQ(measured, 0);
}

TEST_F(Autotuning, ARowThatFailsIsLeftOut) {
  Autotuner t = tuner();
  narrow.fails = true;
  other.cost = 2;
  EXPECT_EQ(chosen_by(t, 4), "wide");
  EXPECT_NE(said.find("row 'narrow' fails: no memory for this; it is left out"), std::string::npos) << said;
  EXPECT_EQ(narrow.runs, 1);
}

TEST_F(Autotuning, NotANumberIsWrong) {
  Autotuner t = tuner();
  testing::internal::CaptureStderr();
  const auto nothing = [] {};
  EXPECT_EQ(t.choose(1, "p", {{"no number", nothing, [] { return std::nan(""); }}, {"right", nothing, [] { return 0.; }}}, 1),
            "right");
  testing::internal::GetCapturedStderr();
  const Tensor a = values<float>({1, NAN, 3}, {3}), b = values<float>({1, 2, 3}, {3});
  EXPECT_TRUE(std::isnan(dispatch::relative_error(a.view(), b)));
  EXPECT_TRUE(std::isnan(dispatch::relative_error(b.view(), a)));
  EXPECT_EQ(dispatch::relative_error(a.view(), a), 0);
}

TEST_F(Autotuning, IsRememberedOnDiskForThisMachine) {
  Autotuner first = tuner();
  narrow.cost = 3;
  other.cost = 2;
  EXPECT_EQ(chosen_by(first, 4), "wide");
  measured = 0;
  wide.cost = 100;
  Autotuner second = tuner();
  EXPECT_EQ(chosen_by(second, 4), "wide") << "as it was";
  EXPECT_EQ(measured, 0);
  EXPECT_EQ(chosen_by(second, 5), "other") << "new";
  Autotuner updated = tuner("machine with another driver");
  EXPECT_EQ(chosen_by(updated, 4), "other") << "measured again";
  measured = 0;
  Autotuner old = tuner();
  EXPECT_EQ(chosen_by(old, 4), "wide") << "the first machine's choices stay";
  EXPECT_EQ(measured, 0);
}

TEST_F(Autotuning, TwoProcessesShareTheFile) {
  Autotuner one = tuner(), two = tuner();
  chosen_by(one, 4);
  chosen_by(two, 5);
  measured = 0;
  Autotuner both = tuner();
  chosen_by(both, 4);
  chosen_by(both, 5);
  EXPECT_EQ(measured, 0);
}

TEST_F(Autotuning, ABrokenCacheIsIgnoredWithANote) {
  wide.cost = 0.5;
  for (const char* content :
       {"", "{", "[]", "{\"machines\": 3}", "{\"machines\": {\"machine\": {\"scale f32[4] f32[4] 0\": 3}}}"}) {
    spit(folder / "broken.json", content);
    testing::internal::CaptureStderr();
    Autotuner t = tuner("machine", "broken.json");
    EXPECT_NE(testing::internal::GetCapturedStderr().find("note: what was measured before is not used"), std::string::npos);
    EXPECT_EQ(chosen_by(t, 4), "wide") << content;
    Autotuner mended = tuner("machine", "broken.json");
    measured = 0;
    EXPECT_EQ(chosen_by(mended, 4), "wide") << content;
    EXPECT_EQ(measured, 0);
  }
  spit(folder / "old.json", "{\"machines\": {\"machine\": {\"scale f32[4] f32[4] 0\": \"gone\"}}}");
  Autotuner old = tuner("machine", "old.json");
  EXPECT_EQ(chosen_by(old, 4), "wide") << "a row of another version";
}

TEST_F(Autotuning, WhatCannotBeRememberedIsMeasuredEachTime) {
  spit(folder / "a file", "");
  Autotuner nowhere = tuner("machine", "a file/rows.json");
  wide.cost = 0.5;
  EXPECT_EQ(chosen_by(nowhere, 4), "wide");
  EXPECT_NE(said.find("not remembered"), std::string::npos) << said;
}

TEST_F(Autotuning, DeterministicTakesTheTableInItsOrder) {
  Autotuner t = tuner();
  other.cost = 0.1;
  EXPECT_EQ(chosen_by(t, 4), "other");
  measured = 0;
  dispatch::set_deterministic(true);
  EXPECT_EQ(chosen_by(t, 4), "narrow") << "even where a measurement is known";
  EXPECT_EQ(chosen_by(t, 40), "wide");
  dispatch::set_deterministic(false);
  EXPECT_EQ(measured, 0);
}

TEST_F(Autotuning, AForcedRowIsTaken) {
  Autotuner t = tuner();
  const dispatch::Forced forced("scale=reference");
  EXPECT_EQ(chosen_by(t, 4), "reference");
  EXPECT_EQ(measured, 0);
}

TEST_F(Autotuning, ConvolutionsAndProductsAskIt) {
  int asked = 0;
  Autotuner t(
      "machine", [&](const std::function<void()>& work) { return work(), static_cast<double>(++asked); }, "");
  const Tensor x = random({1, 8, 4, 5, 6}, {.dtype = DType::f32}), w = random({16, 8, 3, 3, 3}, {.dtype = DType::f32});
  const Tensor g = random({1, 16, 4, 5, 6}, {.dtype = DType::f32}), a = reshape(x, {48, 20}), b = reshape(g, {20, 96});
  const ConvSpec spec = ConvSpec::make(3, 1, 1);
  const auto all = [&] {
    return Tensors{conv(x, w, spec), conv_input(g, w, spec, x.shape()), conv_weight(g, x, spec, w.shape()), matmul(a, b)};
  };
  Tensors expected, got;
  {
    const dispatch::Forced forced("conv=reference,conv_input=reference,conv_weight=reference,matmul=reference");
    const WithAutotuner scope(test_device(), t);
    expected = all();
    EXPECT_EQ(asked, 0);
  }
  {
    const WithAutotuner scope(test_device(), t);
    got = all();
    EXPECT_GE(asked, test_device() == Device::cuda ? 8 : 0) << "two rows each";
    const int before = asked;
    all();
    EXPECT_EQ(asked, before);
  }
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(close(got[i], expected[i], {.rtol = 1e-4, .atol = 1e-4})) << i;
}

}  // namespace
