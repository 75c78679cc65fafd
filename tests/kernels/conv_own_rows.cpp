// SPDX-License-Identifier: Apache-2.0
// The CPU's own rows of conv, on shapes around their edges: against the reference, and the same bits for any number of threads.
#include "core/autograd.h"
#include "kernels/conv/tables.h"
#include "tests/kernels/threads.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Case {
  Shape x, w;
  ConvSpec spec = ConvSpec::make(3, 1, 1);
};
struct Results {
  Tensor y, dx, dw;
};

Results run_all(const Case& c, const std::string& choice) {
  const Recording off(false);
  const dispatch::Forced forced(choice);
  const auto make = [](const Shape& s, std::uint64_t seed) {
    return laid(random(s, {.seed = seed, .dtype = DType::f32}), Lies::channels_last);
  };
  const Tensor x = make(c.x, 1), w = random(c.w, {.seed = 2, .dtype = DType::f32}),
               bias = random({c.w[0]}, {.seed = 3, .dtype = DType::f32});
  const Tensor g = make(c.spec.output_shape(c.x, c.w), 4);
  return {conv(x, w, bias, c.spec), conv_input(g, w, c.spec, c.x), conv_weight(g, x, c.spec, c.w)};
}

/// Largest difference as a share of the largest value.
double error(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return worst / scale;
}

/// The rows that run when `choice` is asked for, as "conv=slim ...".
std::string rows_of(const Case& c, const std::string& choice) {
  profiler::clear();
  profiler::enable(true);
  run_all(c, choice);
  profiler::enable(false);
  std::string text;
  for (const auto& e : profiler::events())
    if (std::string(e.op).starts_with("conv")) text += std::string(text.empty() ? "" : " ") + e.op + "=" + e.impl;
  profiler::clear();
  return text;
}

#if defined(CUBOID_ONEDNN) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
// The reference's plain loops take minutes there, where it is memory and not numbers that is looked at.
constexpr const char* reference = "conv=onednn,conv_input=onednn,conv_weight=onednn";
#else
constexpr const char* reference = "conv=reference,conv_input=reference,conv_weight=reference";
#endif

void check_case(const Case& c, const std::string& choice, double within) {
  SCOPED_TRACE(join_text("x ", c.x, " w ", c.w, " pad ", c.spec.pad_lo, c.spec.pad_hi));
  const Results expected = run_all(c, reference);
  Results first;
  for (const int threads : {1, 3}) {
    const Threads scope(threads);
    const Results got = run_all(c, choice);
    EXPECT_LE(error(got.y, expected.y), within);
    EXPECT_LE(error(got.dx, expected.dx), within);
    EXPECT_LE(error(got.dw, expected.dw), within);
    if (threads > 1) {
      EXPECT_TRUE(equal(got.y, first.y));
      EXPECT_TRUE(equal(got.dx, first.dx));
      EXPECT_TRUE(equal(got.dw, first.dw));
    }
    first = got;
  }
}

TEST(ConvOwnRows, Winograd) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "rows of the CPU";
  const char* choice = "conv=winograd,conv_input=winograd,conv_weight=winograd";
  const Case plain{{1, 64, 2, 16, 16}, {64, 64, 3, 3, 3}};
  if (rows_of(plain, choice).find("conv=winograd conv_input=winograd conv_weight=winograd") != 0)
    GTEST_SKIP() << "no vectors for it";
  // planes of one, more than a slab of planes, odd lines and columns, more than one band
  for (const Case& c : {plain, Case{{2, 64, 1, 17, 18}, {128, 64, 3, 3, 3}}, Case{{1, 64, 19, 16, 17}, {64, 64, 3, 3, 3}},
                        Case{{1, 64, 3, 33, 21}, {64, 64, 3, 3, 3}}, Case{{1, 128, 2, 16, 71}, {64, 128, 3, 3, 3}}})
    check_case(c, choice, 4e-6);
}

TEST(ConvOwnRows, FewOutputs) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "rows of the CPU";
  const char* choice = "conv=slim,conv_weight=slim";
  ConvSpec uneven = ConvSpec::make(3);
  uneven.pad_lo = {2, 0, 1};
  uneven.pad_hi = {0, 1, 2};
  for (const Case& c : {Case{{2, 64, 3, 4, 29}, {1, 64, 3, 3, 3}}, Case{{1, 16, 5, 4, 3}, {4, 16, 3, 3, 3}},
                        Case{{1, 32, 4, 5, 40}, {3, 32, 3, 2, 3}, uneven}, Case{{1, 48, 1, 1, 9}, {2, 48, 3, 3, 3}},
                        Case{{2, 16, 17, 16}, {2, 16, 5, 5}, ConvSpec::make(2, 1, 2)}})
    check_case(c, choice, 2e-6);
  EXPECT_EQ(rows_of({{2, 64, 3, 4, 29}, {1, 64, 3, 3, 3}}, "").find("conv=slim"), 0u);
}

}  // namespace
