// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.h"

#include <optional>

#include "core/parallel.h"
#include "kernels/conv/units.h"
#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Problem {
  Shape x, w;
  ConvSpec spec;
  friend std::ostream& operator<<(std::ostream& os, const Problem& p) {
    return os << "x " << p.x << " w " << p.w << " stride " << p.spec.stride << " pad " << p.spec.pad_lo << p.spec.pad_hi
              << " dilation " << p.spec.dilation << " groups " << p.spec.groups;
  }
};

bool valid(const Problem& p) {
  return error_of([&] { p.spec.output_shape(p.x, p.w); }).empty();
}

Problem random_problem(Random& r) {
  for (;;) {
    const int rank = static_cast<int>(r.integer(1, 3));
    const auto kind = r.integer(0, 9);
    const std::int64_t groups = kind == 0 ? r.integer(2, 4) : kind == 1 ? r.integer(2, 20) : 1;
    const bool depthwise = kind == 1;
    const auto channels = [&] { return r.integer(0, 3) ? r.integer(1, 20) : 16 * r.integer(1, 3); };
    const std::int64_t c = depthwise ? 1 : channels();
    Problem p{{r.integer(1, 4), c * groups}, {(depthwise ? r.integer(1, 2) : channels()) * groups, c}, {}};
    p.spec.groups = groups;
    for (int i = 0; i < rank; ++i) {
      p.x.push_back(r.integer(0, 5) ? r.integer(2, 9) : 1);
      p.w.push_back(r.integer(0, 2) ? r.integer(1, 4) : 1);
      p.spec.stride.push_back(r.integer(0, 1) ? 1 : r.integer(2, 3));
      p.spec.dilation.push_back(r.integer(0, 3) ? 1 : r.integer(2, 3));
      const std::int64_t most = r.integer(0, 19) ? (p.w[-1] - 1) * p.spec.dilation[-1] : 3;  // 3: windows of padding alone
      p.spec.pad_lo.push_back(r.integer(0, most));
      p.spec.pad_hi.push_back(r.integer(0, 2) ? p.spec.pad_lo[-1] : r.integer(0, most));
    }
    if (valid(p)) return p;
  }
}

std::vector<Problem> random_problems(std::size_t count) {
  std::vector<Problem> all;
  Random r(2024);
  while (count-- > 0) all.push_back(random_problem(r));
  return all;
}

/// The corners of the space.
std::vector<Problem> enumerated_problems() {
  std::vector<Problem> all;
  for (int rank = 1; rank <= 3; ++rank)
    for (std::int64_t kernel : {1, 2, 3, 5})
      for (std::int64_t stride : {1, 2})
        for (std::int64_t pad : {0, 1})
          for (std::int64_t channels : {1, 3, 16}) {
            Problem p{{2, channels}, {channels == 3 ? 32 : 16, channels}, ConvSpec::make(rank, stride, pad)};
            for (int i = 0; i < rank; ++i) {
              p.x.push_back(5 + i);
              p.w.push_back(kernel);
            }
            if (valid(p)) all.push_back(p);
          }
  return all;
}

struct Results {
  Tensor y, dx, dw;
};
Results run_all(const Problem& p, DType dtype, Lies how = Lies::channels_last) {
  const Recording off(false);
  const auto integers = [&](const Shape& s, std::uint64_t seed) {
    return random(s, {.seed = seed, .dtype = dtype, .lo = -3, .hi = 3, .integers = true});
  };
  const Tensor x = laid(integers(p.x, 1), how), w = integers(p.w, 2), bias = integers({p.w[0]}, 3);
  const Tensor g = laid(integers(p.spec.output_shape(p.x, p.w), 4), how);
  return {conv(x, w, bias, p.spec), conv_input(g, w, p.spec, p.x), conv_weight(g, x, p.spec, p.w)};
}

constexpr const char* reference = "conv=reference,conv_input=reference,conv_weight=reference";

double share_of_zeros(const Tensor& t) {
  double zeros = 0;
  for (double v : t.to_vector()) zeros += v == 0;
  return zeros / static_cast<double>(t.size());
}

// Sums of small integers are exact in every order, so the rows must agree to the last bit.
void compare_rows(DType dtype, const std::vector<Problem>& all) {
  profiler::enable(true);
  profiler::clear();
  std::size_t mostly_zero = 0;
  bool cut_finely = false;  // every other problem
  for (const Problem& p : all) {
    Results expected, got;
    {
      const dispatch::Forced forced(reference);
      expected = run_all(p, dtype);
    }
    {
      std::optional<onednn::FinestCut> cut;
      if (cut_finely) cut.emplace();
      got = run_all(p, dtype);
    }
    ASSERT_TRUE(equal(got.y, expected.y)) << "conv " << p << (cut_finely ? " in pieces" : "");
    ASSERT_TRUE(equal(got.dx, expected.dx)) << "conv_input " << p << (cut_finely ? " in pieces" : "");
    ASSERT_TRUE(equal(got.dw, expected.dw)) << "conv_weight " << p << (cut_finely ? " in pieces" : "");
    mostly_zero += share_of_zeros(expected.y) > 0.5 || share_of_zeros(expected.dw) > 0.9;
    cut_finely = !cut_finely;
  }
  profiler::enable(false);
  std::size_t fast = 0, slow = 0;
  for (const auto& e : profiler::events()) (std::string(e.impl) == "onednn" ? fast : slow) += 1;
  EXPECT_EQ(fast + slow, 6 * all.size());
  EXPECT_GT(10 * fast, 27 * all.size()) << "more than a tenth of the problems did not fit the fast row: nothing was compared";
  EXPECT_LT(mostly_zero, all.size() / 10) << "results of mostly zeros prove nothing";
}

#if CUBOID_ONEDNN
TEST(Conv, OneDnnEqualsTheReference) {
  auto all = enumerated_problems();
  for (const Problem& p : random_problems(420)) all.push_back(p);
  EXPECT_GE(all.size(), 500u);
  compare_rows(DType::f32, all);
}
TEST(Conv, OneDnnEqualsTheReferenceInBf16) { compare_rows(DType::bf16, random_problems(90)); }
#endif

}  // namespace
