// SPDX-License-Identifier: Apache-2.0
// The CPU's own rows of conv in bf16, on shapes around their edges: against the reference in f64 on the same numbers, and the
// same bits for any number of threads.
#include "core/autograd.h"
#include "kernels/conv/tables.h"
#include "kernels/pointwise/pointwise.h"
#include "tests/kernels/threads.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Case {
  Shape x, w;
  ConvSpec spec = ConvSpec::make(3, 1, 1);
};
using Results = Tensors;  // y, dw, dx where the input's gradient has such a row

Results run_all(const Case& c, DType dtype, const std::string& choice, bool input) {
  const Recording off(false);
  const dispatch::Forced forced(choice);
  const auto make = [&](const Shape& s, std::uint64_t seed, Lies lies) {
    return laid(cast(random(s, {.seed = seed, .dtype = DType::bf16}), dtype), lies);
  };
  const Tensor x = make(c.x, 1, Lies::channels_last), w = make(c.w, 2, Lies::contiguous),
               bias = make({c.w[0]}, 3, Lies::contiguous);
  const Tensor g = make(c.spec.output_shape(c.x, c.w), 4, Lies::channels_last);
  Results all{conv(x, w, bias, c.spec), conv_weight(g, x, c.spec, c.w)};
  if (input) all.push_back(conv_input(g, w, c.spec, c.x));
  return all;
}

/// Of the vectors, as a share of the expected one.
double distance(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

/// Whether the rows of `name` run when they are asked for.
bool runs(const Case& c, const std::string& name, const std::string& choice, bool input) {
  profiler::clear();
  profiler::enable(true);
  run_all(c, DType::bf16, choice, input);
  profiler::enable(false);
  std::size_t count = 0;
  for (const auto& e : profiler::events()) count += std::string(e.op).starts_with("conv") && e.impl == name;
  profiler::clear();
  return count == (input ? 3 : 2);
}

void check_cases(const std::vector<Case>& cases, const std::string& name, bool input, double within) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "rows of the CPU";
  std::string choice = join_text("conv=", name, ",conv_weight=", name);
  if (input) choice += join_text(",conv_input=", name);
  if (!runs(cases.front(), name, choice, input)) GTEST_SKIP() << "no AVX-512 BF16";
  for (const Case& c : cases) {
    SCOPED_TRACE(join_text("x ", c.x, " w ", c.w, " pad ", c.spec.pad_lo, c.spec.pad_hi));
    EXPECT_TRUE(runs(c, name, choice, input));
    const Results exact = run_all(c, DType::f64, "", input);
    Results first;
    for (const int threads : {1, 3}) {
      const Threads scope(threads);
      const Results got = run_all(c, DType::bf16, choice, input);
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_LE(distance(got[i], exact[i]), within) << i;
        EXPECT_TRUE(threads == 1 || equal(got[i], first[i])) << i;
      }
      first = got;
    }
  }
}

// The result's own rounding is 0.0017 of it; that of the points about twice as much.
TEST(ConvBf16Rows, Winograd) {
  check_cases({{{1, 32, 32, 8, 8}, {32, 32, 3, 3, 3}},
               {{2, 32, 1, 37, 30}, {96, 32, 3, 3, 3}},
               {{1, 64, 19, 12, 9}, {32, 64, 3, 3, 3}},
               {{1, 32, 3, 33, 21}, {32, 32, 3, 3, 3}},
               {{1, 32, 2, 16, 271}, {32, 32, 3, 3, 3}},
               {{2, 32, 33, 41}, {64, 32, 3, 3}, ConvSpec::make(2, 1, 1)}},
              "bf16_winograd", true, 6e-3);
}

TEST(ConvBf16Rows, Stem) {
  ConvSpec uneven = ConvSpec::make(3, 2);
  uneven.pad_lo = {2, 0, 1};
  uneven.pad_hi = {0, 1, 2};
  check_cases({{{2, 1, 9, 10, 11}, {32, 1, 7, 7, 7}, ConvSpec::make(3, 2, 3)},
               {{1, 3, 37, 44}, {64, 3, 7, 7}, ConvSpec::make(2, 2, 3)},
               {{1, 1, 3, 35, 5}, {32, 1, 3, 3, 3}},
               {{2, 2, 5, 6, 9}, {96, 2, 3, 2, 3}, uneven},
               {{1, 4, 2, 3, 30}, {32, 4, 1, 1, 2}, ConvSpec::make(3, 3)}},
              "bf16_stem", false, 2.5e-3);
}

}  // namespace
