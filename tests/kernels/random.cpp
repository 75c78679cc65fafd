// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include "core/autograd.h"
#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

const RandomKey key{.seed = 7, .stream = 3, .step = 11};

TEST(RandomTensors, ElementIsAFunctionOfKeyAndIndex) {
  for (const Shape& shape : {Shape{5}, Shape{2, 3, 4, 5}, Shape{3, 7, 1, 2, 3}, Shape{}})
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
        const Tensor u = uniform(shape, key, -2, 3, on_device({.dtype = dtype, .layout = layout}));
        const Tensor n = normal(shape, key, 1, 0.5, on_device({.dtype = dtype, .layout = layout}));
        const Tensor expected_u = empty(shape, {.dtype = DType::f64}), expected_n = empty(shape, {.dtype = DType::f64});
        for (std::int64_t i = 0; i < u.size(); ++i) {
          expected_u.mutable_data<double>()[i] = -2 + 5 * random_uniform(key, static_cast<std::uint64_t>(i));
          expected_n.mutable_data<double>()[i] = 1 + 0.5 * random_normal(key, static_cast<std::uint64_t>(i));
        }
        EXPECT_TRUE(close(u, expected_u, tolerance(dtype))) << dtype << shape;
        EXPECT_TRUE(close(n, expected_n, tolerance(dtype))) << dtype << shape;
      }
}

TEST(RandomTensors, MomentsAreThoseOfTheDistribution) {
  const std::vector<double> u = uniform({100'000}, key, 2, 4, on_device()).to_vector(),
                            n = normal({100'000}, key, -1, 3, on_device()).to_vector();
  const auto moments = [](const std::vector<double>& v) {
    double sum = 0, squares = 0;
    for (const double x : v) sum += x;
    const double mean = sum / static_cast<double>(v.size());
    for (const double x : v) squares += (x - mean) * (x - mean);
    return std::pair(mean, squares / static_cast<double>(v.size()));
  };
  // Five standard errors: the deviation is 1/sqrt(3) and 3, of 1e5 numbers each.
  EXPECT_NEAR(moments(u).first, 3, 5 * 0.577 / 316);
  EXPECT_NEAR(moments(u).second, 1.0 / 3, 0.01);
  EXPECT_NEAR(moments(n).first, -1, 5 * 3.0 / 316);
  EXPECT_NEAR(moments(n).second, 9, 9 * 5 * 1.42 / 316);
}

TEST(RandomTensors, RefusesIntegers) { EXPECT_THROW(uniform({2}, key, 0, 1, on_device({.dtype = DType::i32})), Error); }

TEST(DropoutOp, RowsAgreeInEveryLayoutAndForAnyThreads) {
  const int threads = thread_count();
  for (const Shape& shape : {Shape{3}, Shape{4, 5}, Shape{2, 3, 5, 7}, Shape{2, 5, 9, 4, 13}})
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (const Lies lies : every_way) {
        const Tensor x = laid(random(shape, {.dtype = dtype}), lies);
        Tensor expected;
        {
          const dispatch::Forced reference("dropout=reference");
          expected = dropout(x, 0.3, key);
        }
        for (const int t : {1, 3}) {
          set_thread_count(t);
          EXPECT_TRUE(equal(dropout(x, 0.3, key), expected)) << dtype << shape << test::name_of(lies);
        }
      }
  set_thread_count(threads);
}

TEST(DropoutOp, KeepsTheShareAndScalesIt) {
  const std::vector<double> y = dropout(full({1, 8, 50, 50}, 2, on_device()), 0.25, key).to_vector();
  double dropped = 0;
  for (const double v : y) {
    if (v == 0) ++dropped;
    else EXPECT_FLOAT_EQ(static_cast<float>(v), 2 / 0.75f);
  }
  EXPECT_NEAR(dropped / static_cast<double>(y.size()), 0.25, 5 * 0.433 / 141);
}

TEST(DropoutOp, MaskDependsOnEveryPartOfTheKey) {
  const Tensor x = full({1000}, 1, on_device());
  const auto base = dropout(x, 0.5, {1, 2, 3}).to_vector();
  EXPECT_EQ(base, dropout(x, 0.5, {1, 2, 3}).to_vector());
  EXPECT_NE(base, dropout(x, 0.5, {2, 2, 3}).to_vector());
  EXPECT_NE(base, dropout(x, 0.5, {1, 3, 3}).to_vector());
  EXPECT_NE(base, dropout(x, 0.5, {1, 2, 4}).to_vector());
}

TEST(DropoutOp, GradientGoesThroughTheSameMask) {
  const Tensor x = random({2, 3, 4, 4}).requires_grad(true), seed = random({2, 3, 4, 4}, {.seed = 5});
  const Tensor y = dropout(x, 0.4, key);
  EXPECT_TRUE(equal(grad(y, {x}, {.seed = seed})[0], dropout(seed, 0.4, key)));
  EXPECT_THROW(dropout(x, 1, key), Error);
}

}  // namespace
