// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.h"

#include <optional>

#include "kernels/conv/units.h"
#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"
#include "tests/kernels/threads.h"

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
    Problem p{
        {r.integer(1, 4), c * groups}, {(depthwise ? std::max<std::int64_t>(1, r.integer(-2, 2)) : channels()) * groups, c}, {}};
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

[[maybe_unused]] std::vector<Problem> random_problems(std::size_t count) {
  std::vector<Problem> all;
  Random r(2024);
  while (count-- > 0) all.push_back(random_problem(r));
  return all;
}

/// The corners of the space.
[[maybe_unused]] std::vector<Problem> enumerated_problems() {
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

const TensorOptions here{.device = test_device()};

#if CUBOID_ONEDNN
// Sums of small integers are exact in every order, so the rows must agree to the last bit.
void compare_rows(DType dtype, const std::vector<Problem>& all) {
  const Threads one(1);  // thousands of tiny problems: waking threads would take longer than all of them
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
  for (const auto& e : profiler::events())
    if (std::string(e.op).starts_with("conv")) (std::string(e.impl) == "reference" ? slow : fast) += 1;
  EXPECT_EQ(fast + slow, 6 * all.size());
  EXPECT_GT(10 * fast, 27 * all.size()) << "more than a tenth of the problems did not fit the fast row: nothing was compared";
  EXPECT_LT(mostly_zero, all.size() / 10) << "results of mostly zeros prove nothing";
}

TEST(Conv, FastRowsEqualTheReference) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "tests/cuda/conv.cpp compares the device's rows";
  auto all = enumerated_problems();
  for (const Problem& p : random_problems(420)) all.push_back(p);
  EXPECT_GE(all.size(), 500u);
  compare_rows(DType::f32, all);
}
TEST(Conv, FastRowsEqualTheReferenceInBf16) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "tests/cuda/conv.cpp compares the device's rows";
  compare_rows(DType::bf16, random_problems(90));
}
#endif

// ---- any layout, any strides -------------------------------------------------------------------

TEST(Conv, LayoutsAgreeAndTheResultFollowsX) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16})
    for (const char* force : {"", reference}) {
      const dispatch::Forced forced(force);
      const Problem p{{2, 4, 5, 6, 3}, {6, 2, 3, 1, 2}, {{1, 2, 1}, {1, 0, 1}, {0, 0, 1}, {1, 1, 2}, 2}};
      const Results expected = run_all(p, dtype, Lies::contiguous);
      EXPECT_TRUE(expected.y.is(Layout::contiguous));
      EXPECT_TRUE(expected.dx.is(Layout::contiguous));
      for (const Lies how : {Lies::channels_last, Lies::view}) {
        const Results got = run_all(p, dtype, how);
        const Layout layout = how == Lies::channels_last ? Layout::channels_last : Layout::contiguous;
        EXPECT_TRUE(got.y.is(layout)) << name_of(how);
        EXPECT_TRUE(got.dx.is(layout)) << name_of(how);
        EXPECT_TRUE(equal(got.y, expected.y)) << dtype << ' ' << name_of(how);
        EXPECT_TRUE(equal(got.dx, expected.dx)) << dtype << ' ' << name_of(how);
        EXPECT_TRUE(equal(got.dw, expected.dw)) << dtype << ' ' << name_of(how);
      }
    }
}

TEST(Conv, WeightsMayBeAView) {
  const Tensor x = random({2, 5, 4, 4}, {.dtype = DType::f32}), w = random({3, 5, 3, 3}, {.seed = 2, .dtype = DType::f32});
  const ConvSpec spec = ConvSpec::make(2, 1, 1);
  EXPECT_TRUE(equal(conv(x, laid(w, Lies::view), spec), conv(x, w, spec)));
}

// Packed copies of the weights live with them until they change.
TEST(Conv, ChangedWeightsAreSeen) {
  const Recording off(false);
  const Tensor x = laid(random({1, 16, 4, 4, 4}, {.dtype = DType::f32}), Lies::channels_last);
  const Tensor w = random({16, 16, 3, 3, 3}, {.seed = 2, .dtype = DType::f32});
  const ConvSpec spec = ConvSpec::make(3, 1, 1);
  const Tensor before = conv(x, w, spec), again = conv(x, w, spec);
  EXPECT_TRUE(equal(again, before));
  fill(w, 0);
  EXPECT_EQ(share_of_zeros(conv(x, w, spec)), 1);
}

// By hand: a 2x2 window of ones slid over 1..9.
TEST(Conv, KnownResult) {
  const Tensor x = values<float>({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3}), w = full({1, 1, 2, 2}, 1, here);
  EXPECT_EQ(conv(x, w, ConvSpec::make(2)).to_vector(), (std::vector<double>{12, 16, 24, 28}));
  const Tensor bias = full({1}, 0.5, here);
  EXPECT_EQ(conv(x, w, bias, ConvSpec::make(2, 2)).to_vector(), (std::vector<double>{12.5}));
  // PyTorch's conv_transpose2d of [[1,2],[3,4]] with ones, stride 2.
  const Tensor y = conv_transpose(values<float>({1, 2, 3, 4}, {1, 1, 2, 2}), w, ConvSpec::make(2, 2));
  EXPECT_EQ(y.to_vector(), (std::vector<double>{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}));
  EXPECT_EQ(conv_transpose(full({1, 4, 5, 5}, 1, here), full({4, 3, 3, 3}, 1, here), ConvSpec::make(2, 2, 1), {1, 1}).shape(),
            (Shape{1, 3, 10, 10}));
}

// ---- derivatives -------------------------------------------------------------------------------

TEST(Conv, Gradcheck) {
  const Threads one(1);
  Random r(5);
  for (int i = 0; i < 10; ++i) {
    Problem p = random_problem(r);
    while (p.x.count() > 80 || p.w.count() > 80) p = random_problem(r);
    const Shape y = p.spec.output_shape(p.x, p.w);
    const GradcheckOptions o{.second_order = i < 5, .coordinates = 6};
    SCOPED_TRACE(join_text(p));
    gradcheck([&](const Tensors& in) { return conv(in[0], in[1], in[2], p.spec); },
              {random(p.x), random(p.w, {.seed = 2}), random({p.w[0]}, {.seed = 3})}, o);
    gradcheck([&](const Tensors& in) { return conv_input(in[0], in[1], p.spec, p.x); }, {random(y), random(p.w, {.seed = 2})}, o);
    gradcheck([&](const Tensors& in) { return conv_weight(in[0], in[1], p.spec, p.w); }, {random(y), random(p.x, {.seed = 2})},
              o);
  }
  gradcheck(
      [](const Tensors& in) {
        return conv_transpose(in[0], in[1], ConvSpec::make(2, 2, 1), {1, 0});
      },
      {random({2, 3, 3, 2}), random({3, 2, 3, 3}, {.seed = 2})}, {.second_order = true, .coordinates = 12});
}

TEST(Conv, OnlyWantedGradientsAreComputed) {
  const Tensor x = random({1, 3, 4, 4}), w = random({2, 3, 3, 3}).requires_grad(true);
  const Tensor y = sum(conv(x, w, ConvSpec::make(2)));
  profiler::enable(true);
  profiler::clear();
  grad(y, {w});
  profiler::enable(false);
  for (const auto& e : profiler::events()) EXPECT_STRNE(e.op, "conv_input");
}

// ---- determinism, accuracy ---------------------------------------------------------------------

/// Real shapes, large enough to be cut into pieces in each way that exists.
std::vector<Problem> large_problems() {
  return {{{4, 32, 8, 8, 8}, {32, 32, 3, 3, 3}, ConvSpec::make(3, 1, 1)},    // samples
          {{1, 32, 16, 12, 8}, {48, 32, 3, 3, 3}, ConvSpec::make(3, 1, 1)},  // slabs
          {{1, 16, 40, 40}, {32, 16, 5, 5}, ConvSpec::make(2, 2, 2)},
          {{2, 128, 8, 8, 8}, {64, 128, 1, 1, 1}, ConvSpec::make(3)},         // one line of voxels
          {{3, 64, 16, 16, 16}, {32, 64, 1, 1, 1}, ConvSpec::make(3)},        // many voxels: sums over parts
          {{8, 64, 2, 2, 2}, {32, 64, 3, 3, 3}, ConvSpec::make(3, 1, 1)},     // tap by tap
          {{2, 1, 24, 24, 24}, {16, 1, 7, 7, 7}, ConvSpec::make(3, 2, 3)},    // patches
          {{2, 32, 20, 20}, {32, 1, 3, 3}, ConvSpec::make(2, 1, 1, 1, 32)}};  // depthwise
}

Results run_random(const Problem& p, DType dtype) {
  const Recording off(false);
  const Tensor x = laid(random(p.x, {.dtype = dtype}), Lies::channels_last), w = random(p.w, {.seed = 2, .dtype = dtype});
  const Tensor g = laid(random(p.spec.output_shape(p.x, p.w), {.seed = 3, .dtype = dtype}), Lies::channels_last);
  return {conv(x, w, p.spec), conv_input(g, w, p.spec, p.x), conv_weight(g, x, p.spec, p.w)};
}

TEST(Conv, BitsDoNotDependOnTheThreads) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "threads of the CPU";
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Problem& p : large_problems()) {
      const auto with = [&](int threads) {
        const Threads scope(threads);
        return run_random(p, dtype);
      };
      const Results one = with(1);
      for (const int threads : {2, 5}) {
        const Results many = with(threads);
        EXPECT_TRUE(equal(many.y, one.y)) << dtype << ' ' << p;
        EXPECT_TRUE(equal(many.dx, one.dx)) << dtype << ' ' << p;
        EXPECT_TRUE(equal(many.dw, one.dw)) << dtype << ' ' << p;
      }
    }
}

/// Largest difference in units of the root mean square of the expected values.
double relative_error(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double worst = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    square += b[i] * b[i];
  }
  return worst / std::sqrt(square / static_cast<double>(b.size()));
}

TEST(Conv, RoundingIsThatOfTheType) {
  for (const Problem& p : large_problems()) {
    if (geometry(DType::f64, p.x, p.w, p.spec.output_shape(p.x, p.w), p.spec).flops() > 3e7) continue;  // slow in f64
    const Results exact = run_random(p, DType::f64);
    for (const auto& [dtype, tolerance] : {std::pair{DType::f32, 5e-6}, {DType::bf16, 4e-2}}) {
      const Results got = run_random(p, dtype);  // its inputs are rounded too, which the tolerance covers
      EXPECT_LT(relative_error(got.y, exact.y), tolerance) << dtype << ' ' << p;
      EXPECT_LT(relative_error(got.dx, exact.dx), tolerance) << dtype << ' ' << p;
      EXPECT_LT(relative_error(got.dw, exact.dw), tolerance) << dtype << ' ' << p;
    }
  }
}

// ---- bad input ---------------------------------------------------------------------------------

TEST(Conv, ErrorsNameBothSides) {
  const Tensor x = zeros({1, 2, 4, 4}), w = zeros({3, 1, 3, 3});
  const ConvSpec spec = ConvSpec::make(2);
  EXPECT_EQ(error_of([&] { conv(x, w, spec); }), "conv: x has 2 channels, w expects 1");
  EXPECT_EQ(error_of([&] { conv(x, w, ConvSpec::make(2, 1, 0, 1, 2)); }), "conv: 3 output channels do not divide into 2 groups");
  EXPECT_EQ(error_of([&] {
              conv(x, zeros({3, 2, 5, 5}), spec);
            }),
            "conv: the result is empty: x [1,2,4,4] with padding [0,0][0,0] is smaller than the kernel of w [3,2,5,5] with "
            "dilation [1,1]");
  EXPECT_EQ(error_of([&] { conv(x, zeros({3, 2, 3, 3}), zeros({2}), spec); }), "conv: bias is [2], w [3,2,3,3] expects [3]");
  EXPECT_EQ(error_of([&] {
              conv(x, zeros({3, 2, 3, 3}, {.dtype = DType::f64}), spec);
            }),
            "conv: needs equal floating types, got f32 and f64");
  EXPECT_EQ(error_of([&] {
              conv_input(zeros({1, 3, 3, 3}), zeros({3, 2, 3, 3}), spec, x.shape());
            }),
            "conv_input: g is [1,3,3,3], conv of x [1,2,4,4] gives [1,3,2,2]");
  EXPECT_NE(error_of([&] { conv(x, zeros({3, 2, 3}), spec); }), "");
  EXPECT_NE(error_of([&] { conv(x, zeros({3, 2, 3, 3}), ConvSpec::make(2, 0)); }), "");
  EXPECT_NE(error_of([&] { conv(x, zeros({3, 2, 3, 3}), ConvSpec::make(3)); }), "");
  EXPECT_NE(error_of([&] { conv_transpose(x, zeros({2, 1, 3, 3}), ConvSpec::make(2, 2), {2, 0}); }), "");
}

TEST(Conv, NoSamples) {
  const Tensor x = zeros({0, 2, 4, 4}, here), w = full({3, 2, 3, 3}, 1, here);
  EXPECT_EQ(conv(x, w, ConvSpec::make(2)).shape(), (Shape{0, 3, 2, 2}));
  EXPECT_EQ(share_of_zeros(conv_weight(zeros({0, 3, 2, 2}, here), x, ConvSpec::make(2), w.shape())), 1);
}

}  // namespace
