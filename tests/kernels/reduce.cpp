// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.h"

#include <limits>

#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr DType every_dtype[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

/// Brute force in f64 over the elements of x: f(accumulator, value); axes as in the ops, keepdim.
Tensor folded(const Tensor& x, const Shape& axes, double start, double (*f)(double, double)) {
  Shape shape = axes.empty() ? Shape::filled(x.rank(), 1) : x.shape();
  for (const auto a : axes) shape[static_cast<int>(a)] = 1;
  const Tensor y = full(shape, start, {.dtype = DType::f64});
  const auto values = x.to_vector();
  const Strides strides = dense_strides(x.shape()), steps = dense_strides(shape);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    std::int64_t at = 0;
    for (int d = 0; d < x.rank(); ++d)
      if (shape[d] != 1) at += i / strides[d] % x.dim(d) * steps[d];
    double& v = y.mutable_data<double>()[at];
    v = f(v, values[static_cast<std::size_t>(i)]);
  }
  return y;
}
double plus(double a, double b) { return a + b; }
double larger(double a, double b) { return std::max(a, b); }

const std::pair<Shape, Shape> cases[] = {
    {{2, 3, 4, 5}, {}},
    {{2, 3, 4, 5}, {0, 2, 3}},
    {{2, 3, 4, 5}, {2, 3}},
    {{2, 3, 4, 5}, {1}},
    {{2, 3, 4, 5}, {-1, 0}},
    {{2, 3, 4, 5}, {0}},
    {{7}, {}},
    {{7}, {0}},
    {{}, {}},
    {{1, 1}, {0}},
    {{3, 1, 5}, {1}},
    {{5, 2000}, {0}},
    {{5, 2000}, {1}},
    {{2, 40, 7, 7, 7}, {-3, -2, -1}},
    {{3, 70, 9, 9}, {0, 2, 3}},
    {{2, 1500, 3, 3}, {0, 2, 3}},
    {{2, 1500, 3, 3}, {2, 3}},
    {{300, 300}, {}},
    {{100000}, {}},
    {{70000, 3}, {0}},
    {{3, 70000}, {1}},
    {{33, 40}, {0}},
    {{2, 2, 2, 2, 2, 2, 2, 2}, {1, 3, 5, 7}},
};

/// What the documented accumulation promises: lanes of at most 1024 terms.
Tolerance summed(DType t) {
  if (t == DType::f32) return {2e-6, 1e-4};
  return tolerance(t);
}

TEST(Sum, OverAnyAxes) {
  for (const auto& [shape, axes] : cases)
    for (const DType dtype : every_dtype)
      for (const Lies way : every_way) {
        if (shape.count() > 2000 && dtype != DType::f32 && (way == Lies::view || shape.count() > 20000)) continue;
        // Whole numbers: every partial sum is exact, so a lost or doubled element shows, in any dtype wide enough.
        const double hi = dtype == DType::u8 ? 1 : 3;
        const Tensor x =
            laid(random(shape, {.dtype = dtype, .lo = dtype == DType::u8 ? 0. : -3., .hi = hi, .integers = true}), way);
        const std::string what = join_text(dtype, shape, axes, name_of(way));
        Tensor expected = folded(x, axes, 0, plus);
        if (dtype == DType::u8) expected = cast(cast(expected, DType::i64) * 1, DType::u8);
        const bool wraps = dtype == DType::u8 && x.size() > 255;
        const bool rounds = (dtype == DType::bf16 || dtype == DType::f16) && x.size() > 250;
        if (!wraps) {
          EXPECT_TRUE(close(sum(x, axes, true), expected, rounds ? tolerance(dtype) : Tolerance{})) << what;
        }
        if (is_floating(dtype)) {
          const double n = static_cast<double>(x.size()) / static_cast<double>(expected.size());
          EXPECT_TRUE(close(mean(x, axes, true), expected / n, tolerance(dtype))) << what;
        }
        const Tensor noise = laid(random(shape, {.seed = 8, .dtype = dtype, .lo = 0, .hi = 1}), way);
        if (is_floating(dtype)) {
          const Tensor exact = folded(noise, axes, 0, plus);
          if (dtype != DType::f16 || x.size() < 60000) {
            EXPECT_TRUE(close(sum(noise, axes, true), exact, summed(dtype))) << what;
          }
        }
        const dispatch::Forced plain("sum=reference");
        if (!wraps) {
          EXPECT_TRUE(close(sum(x, axes, true), expected, rounds ? tolerance(dtype) : Tolerance{})) << what << " reference";
        }
      }
}

TEST(Sum, DropsOrKeepsAxes) {
  const Tensor x = random({2, 3, 4});
  EXPECT_EQ(sum(x).shape(), Shape{});
  EXPECT_EQ(sum(x, {}, true).shape(), (Shape{1, 1, 1}));
  EXPECT_EQ(sum(x, {1}).shape(), (Shape{2, 4}));
  EXPECT_EQ(mean(x, {-1, 0}).shape(), (Shape{3}));
  EXPECT_EQ(max(x, {0}, true).shape(), (Shape{1, 3, 4}));
  EXPECT_TRUE(equal(reshape(sum(x, {1}), {2, 1, 4}), sum(x, {1}, true)));
}

TEST(Sum, LosesLittleOnLongSums) {
  const Tensor x = random({3'000'000}, {.dtype = DType::f32, .lo = 0, .hi = 1});
  double exact = 0;
  for (const double v : x.to_vector()) exact += v;
  EXPECT_NEAR(sum(x).item() / exact, 1, 2e-7);
  EXPECT_NEAR(sum(reshape(x, {1'000'000, 3}), {0}).to_vector()[1] / (exact / 3), 1, 1e-3);
  const Tensor half = full({1 << 20}, 0.1, on_device({.dtype = DType::f16}));
  EXPECT_NEAR(mean(half).item(), 0.1, 1e-4) << "the sum alone would be beyond f16";
}

TEST(Sum, SameBitsForAnyNumberOfThreads) {
  const int usual = thread_count();
  for (const Lies way : {Lies::contiguous, Lies::channels_last})
    for (const Shape& axes : {Shape{}, Shape{0, 2, 3}, Shape{2, 3}, Shape{1}, Shape{0}}) {
      const Tensor x = laid(random({4, 24, 64, 50}, {.dtype = DType::f32}), way);
      std::vector<std::vector<double>> results;
      for (const int threads : {1, 2, 3, 7}) {
        set_thread_count(threads);
        results.push_back(sum(x, axes).to_vector());
      }
      for (const auto& r : results) EXPECT_EQ(r, results[0]) << name_of(way) << axes;
    }
  set_thread_count(usual);
}

TEST(Sum, OfNothing) {
  EXPECT_EQ(sum(zeros({0, 3}, on_device())).item(), 0);
  EXPECT_EQ(sum(zeros({0, 3}, on_device()), {0}).to_vector(), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(sum(zeros({0, 3}, on_device()), {1}).shape(), Shape{0});
  EXPECT_TRUE(std::isnan(mean(zeros({0, 3}, on_device()), {0}).to_vector()[0]));
  EXPECT_EQ(sum(full({1}, std::nan(""), on_device())).dtype(), DType::f32);
  EXPECT_TRUE(std::isnan(sum(full({5}, std::nan(""), on_device())).item()));
  EXPECT_EQ(sum(full({}, 3, on_device())).item(), 3);
}

TEST(Max, OverAnyAxes) {
  for (const auto& [shape, axes] : cases)
    for (const DType dtype : every_dtype)
      for (const Lies way : every_way) {
        if (shape.count() > 2000 && (dtype != DType::f32 || shape.count() > 80000)) continue;
        const Tensor x =
            laid(random(shape, {.dtype = dtype, .lo = dtype == DType::u8 ? 0. : -50., .hi = 50, .integers = true}), way);
        const std::string what = join_text(dtype, shape, axes, name_of(way));
        EXPECT_TRUE(equal(max(x, axes, true), folded(x, axes, -1e9, larger))) << what;
        const dispatch::Forced plain("max=reference");
        EXPECT_TRUE(equal(max(x, axes, true), folded(x, axes, -1e9, larger))) << what << " reference";
      }
}

TEST(Max, FirstOfEqualsAndNaN) {
  const double nan = std::nan("");
  const Tensor x = values<double>({1, 5, 5, 2, nan, 7, nan, 0}, {2, 4});
  EXPECT_EQ(argmax(x, 1).to_vector(), (std::vector<double>{1, 0}));
  EXPECT_TRUE(equal(max(x, {1}), values<double>({5, nan}, {2})));
  EXPECT_EQ(argmax(x, 1).dtype(), DType::i64);
  EXPECT_EQ(argmax(x, -2, true).shape(), (Shape{1, 4}));
  Tensor leaf = values<double>({1, 5, 5, 2}, {2, 2});
  leaf.requires_grad(true);
  EXPECT_EQ(grad(max(leaf), {leaf})[0].to_vector(), (std::vector<double>{0, 1, 0, 0}));
}

TEST(Max, OneHot) {
  const Tensor labels = values<std::int64_t>({2, 0, 3, -1}, {2, 2});
  const Tensor y = one_hot(labels, 3, DType::bf16);
  EXPECT_EQ(y.shape(), (Shape{2, 2, 3}));
  EXPECT_EQ(y.dtype(), DType::bf16);
  EXPECT_EQ(y.to_vector(), (std::vector<double>{0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0})) << "nothing for labels out of range";
  EXPECT_EQ(one_hot(labels, 1, DType::f32).to_vector(), (std::vector<double>{0, 1, 0, 0}));
  EXPECT_THROW(one_hot(random({2}), 3, DType::f32), Error);
}

TEST(Reduce, Gradients) {
  const Shape axes[] = {{}, {0}, {1}, {2, 3}, {0, 2, 3}};
  for (const Shape& a : axes) {
    SCOPED_TRACE(join_text(a));
    const Tensor x = random({2, 3, 2, 3});
    for (const bool keep : {false, true}) {
      gradcheck([&](const Tensors& in) { return square(sum(in[0], a, keep)); }, {x}, {.second_order = true});
      gradcheck([&](const Tensors& in) { return square(mean(in[0], a, keep)); }, {x}, {.second_order = true});
      gradcheck([&](const Tensors& in) { return square(max(in[0], a, keep)); }, {x}, {.second_order = true});
    }
  }
}

// ---- expand, sum_to ----------------------------------------------------------------------------

TEST(Expand, RepeatsWithoutMemory) {
  const Tensor x = random({3, 1}, {.lo = -9, .hi = 9, .integers = true}), y = expand(x, {2, 3, 4});
  EXPECT_EQ(y.storage(), x.storage());
  EXPECT_EQ(y.strides(), (Strides{0, 1, 0}));
  EXPECT_TRUE(equal(y, x + zeros({2, 3, 4}, on_device({.dtype = DType::f64}))));
  EXPECT_EQ(expand(x, {3, 0}).size(), 0);
  EXPECT_TRUE(equal(sum_to(y, {3, 1}), x * 8));
  EXPECT_EQ(sum_to(x, {3, 1}).id(), x.id());
}

TEST(Expand, GradientsAreNotAddedIntoRepeatedMemory) {
  const Tensor x = random({5}).requires_grad(true), w = random({5}, {.seed = 2});
  EXPECT_TRUE(equal(grad(sum(x) + sum(x * w), {x})[0], w + 1));
  EXPECT_TRUE(equal(grad(sum(x * w) + sum(x), {x})[0], w + 1));
}

TEST(Expand, Gradients) {
  const std::pair<Shape, Shape> pairs[] = {{{3, 1}, {2, 3, 4}}, {{}, {2, 3}}, {{1, 3, 1, 1}, {2, 3, 2, 2}}, {{4}, {4}}};
  for (const auto& [small, large] : pairs) {
    SCOPED_TRACE(join_text(small, large));
    gradcheck([&, to = large](const Tensors& in) { return square(expand(in[0], to)); }, {random(small)}, {.second_order = true});
    gradcheck([&, to = small](const Tensors& in) { return square(sum_to(in[0], to)); }, {random(large)}, {.second_order = true});
  }
}

// ---- softmax -----------------------------------------------------------------------------------

TEST(Softmax, AgainstTheFormula) {
  const std::pair<Shape, int> softmaxes[] = {{{3, 4}, 1}, {{3, 4}, 0}, {{2, 5, 3, 7}, 1}, {{2, 5, 3, 37}, -1},
                                             {{6}, 0},    {{0, 3}, 1}, {{2, 1}, 1}};
  for (const auto& [shape, axis] : softmaxes)
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
      for (const Lies way : every_way) {
        const Tensor x = laid(random(shape, {.dtype = dtype, .lo = -4, .hi = 4}), way);
        const Tensor wide = cast(to(x, Device::cpu), DType::f64), e = exp(wide), total = sum(e, {axis}, true);
        for (const char* row : {"", "softmax=reference,log_softmax=reference"}) {
          const dispatch::Forced forced(row);
          EXPECT_TRUE(close(softmax(x, axis), e / total, tolerance(dtype))) << dtype << shape << axis << name_of(way) << row;
          EXPECT_TRUE(close(log_softmax(x, axis), wide - log(total), tolerance(dtype)))
              << dtype << shape << axis << name_of(way) << row;
        }
        EXPECT_EQ(softmax(x, axis).options().layout, x.options().layout);
      }
}

TEST(Softmax, LargeNumbers) {
  const Tensor x = values<float>({1e30f, 1e30f, -1e30f, 1000, 1001, -1000}, {2, 3});
  const double e = std::exp(1.0);
  EXPECT_TRUE(close(softmax(x, 1), values<double>({0.5, 0.5, 0, 1 / (1 + e), e / (1 + e), 0}, {2, 3}), {1e-6}));
  EXPECT_TRUE(
      close(log_softmax(x, 1),
            values<double>({-std::log(2.0), -std::log(2.0), -2e30, -std::log1p(e), 1 - std::log1p(e), -2001 + 1 - std::log1p(e)},
                           {2, 3}),
            {1e-6}));
}

TEST(Softmax, Gradients) {
  for (const int axis : {0, 1, -1}) {
    gradcheck([=](const Tensors& in) { return softmax(in[0], axis); }, {random({2, 3, 4})}, {.second_order = true});
    gradcheck([=](const Tensors& in) { return log_softmax(in[0], axis); }, {random({2, 3, 4})}, {.second_order = true});
  }
}

TEST(Reduce, BadArguments) {
  const Tensor x = zeros({2, 3}, on_device()), whole = zeros({2, 3}, on_device({.dtype = DType::i64}));
  const struct {
    const char* says;
    std::function<void()> call;
  } bad[] = {
      {"sum: axis 2 of a tensor of shape [2,3]", [&] { sum(x, {2}); }},
      {"sum: axis -1 is named twice in [1,-1]",
       [&] {
         sum(x, {1, -1});
       }},
      {"mean: needs a floating type, got i64; cast it", [&] { mean(whole); }},
      {"max: nothing along axis 0 of shape [0,3]",
       [&] {
         max(zeros({0, 3}, on_device()));
       }},
      {"argmax: axis -3", [&] { argmax(x, -3); }},
      {"expand: shape [2,3] does not broadcast to [2,4]",
       [&] {
         expand(x, {2, 4});
       }},
      {"expand: shape [2,3] does not broadcast to [3]", [&] { expand(x, {3}); }},
      {"sum_to: shape [2] does not broadcast to [2,3]", [&] { sum_to(x, {2}); }},
      {"softmax: needs a floating type", [&] { softmax(whole, 1); }},
      {"log_softmax: axis 2", [&] { log_softmax(x, 2); }},
      {"sum: undefined tensor", [&] { sum(Tensor()); }},
  };
  for (const auto& b : bad) EXPECT_NE(error_of(b.call).find(b.says), std::string::npos) << b.says << " | " << error_of(b.call);
}

}  // namespace
