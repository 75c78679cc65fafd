// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/norm.h"

#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"
#include "tests/kernels/threads.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr const char* reference = "norm_statistics=reference,batch_norm=reference,instance_norm=reference";
constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::leaky_relu};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all{{4, 3}, {2, 5, 7}, {3, 33, 5, 4}, {2, 16, 3, 4, 5}, {1, 2, 1, 1, 9}, {2, 1, 30, 40}};
  return all;
}

struct Results {
  Tensor y, dx, dw, db, mean, var;
};
Results run_batch(const Shape& shape, DType dtype, Lies how, BatchNormOptions o, bool affine = true) {
  const std::int64_t c = shape[1];
  const DType stats = dtype == DType::f64 ? DType::f64 : DType::f32;
  Results r;
  r.mean = random({c}, {.seed = 5, .dtype = stats});
  r.var = random({c}, {.seed = 6, .dtype = stats, .lo = 0.5, .hi = 2});
  const Tensor x = laid(random(shape, {.dtype = dtype}), how).requires_grad(true);
  Tensor w, b;
  if (affine) {
    w = random({c}, {.seed = 2, .dtype = stats}).requires_grad(true);
    b = random({c}, {.seed = 3, .dtype = stats}).requires_grad(true);
  }
  const Tensor y = batch_norm(x, w, b, r.mean, r.var, o);
  const Tensor seed = laid(random(shape, {.seed = 4, .dtype = dtype}), how);
  const Tensors gs = grad(y, affine ? Tensors{x, w, b} : Tensors{x}, {.seed = seed});
  r.y = y.detach();
  r.dx = gs[0];
  if (affine) {
    r.dw = gs[1];
    r.db = gs[2];
  }
  return r;
}

// Against the plain loops in f64: another order of sums, another formula for the variance.
TEST(BatchNorm, EveryRowAgrees) {
  const Threads one(1);  // many tiny problems
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
    for (const Shape& shape : shapes())
      for (const bool training : {true, false})
        for (const Activation act : activations)
          for (const Lies how : every_way) {
            const BatchNormOptions o{.training = training, .momentum = 0.3, .activation = act, .slope = 0.2};
            const Results got = run_batch(shape, dtype, how, o);
            const dispatch::Forced forced(reference);
            const Results expected = run_batch(shape, dtype, Lies::contiguous, o);
            const Tolerance t = dtype == DType::f64    ? Tolerance{1e-11, 1e-12}
                                : dtype == DType::f32  ? Tolerance{2e-5, 2e-5}
                                : dtype == DType::bf16 ? Tolerance{2e-2, 2e-2}
                                                       : Tolerance{2e-3, 2e-3};
            SCOPED_TRACE(join_text(dtype, shape, training ? " training " : " evaluation ", name_of(how)));
            EXPECT_TRUE(close(got.y, expected.y, t));
            EXPECT_TRUE(close(got.dx, expected.dx, t));
            EXPECT_TRUE(close(got.dw, expected.dw, {1e-4, 1e-4}));
            EXPECT_TRUE(close(got.db, expected.db, {1e-4, 1e-4}));
            EXPECT_TRUE(close(got.mean, expected.mean, {1e-5, 1e-6}));
            EXPECT_TRUE(close(got.var, expected.var, {1e-5, 1e-6}));
            EXPECT_EQ(got.dx.dtype(), dtype);
          }
}

TEST(BatchNorm, KnownResult) {
  const Tensor x = values<float>({1, 3, 5, 7, 10, 10, 20, 20}, {2, 2, 2});  // channel 0: 1 3 10 10, channel 1: 5 7 20 20
  const auto both = [](float v) { return values<float>({v, v}, {2}); };
  const Tensor mean = both(0), var = both(1);
  const Tensor y = batch_norm(x, both(2), both(1), mean, var, {.training = true, .momentum = 0.5, .eps = 0});
  EXPECT_TRUE(close(mean, values<double>({3, 6.5}, {2}), {1e-6, 0}));
  // unbiased variances 22 and 66
  EXPECT_TRUE(close(var, values<double>({0.5 + 0.5 * 22, 0.5 + 0.5 * 66}, {2}), {1e-6, 0}));
  EXPECT_NEAR(y.to_vector()[0], (1 - 6) / std::sqrt(16.5) * 2 + 1, 1e-6);
}

// The spread is a thousandth of the mean, the variance a millionth of its square: the naive formula loses it in f32.
TEST(BatchNorm, FarFromZero) {
  for (const Lies how : {Lies::contiguous, Lies::channels_last}) {
    const Tensor x = laid(random({4, 8, 10, 10, 10}, {.dtype = DType::f32, .lo = 9990, .hi = 10010}), how);
    const Tensor got = batch_norm(x, {}, {}, {}, {}, {.training = true, .eps = 0});
    const Tensor wide = empty(x.shape(), {.dtype = DType::f64, .device = x.device()});
    copy(x, wide);
    const dispatch::Forced forced(reference);
    EXPECT_TRUE(close(got, batch_norm(wide, {}, {}, {}, {}, {.training = true, .eps = 0}), {0, 1e-3})) << name_of(how);
  }
}

TEST(BatchNorm, Gradcheck) {
  for (const Activation act : activations)
    for (const bool training : {true, false}) {
      const Tensor mean = random({3}, {.seed = 8}), var = random({3}, {.seed = 9, .lo = 0.5, .hi = 2});
      const BatchNormOptions o{.training = training, .activation = act};
      gradcheck(
          [&](const Tensors& in) {
            return batch_norm(in[0], in[1], in[2], training ? Tensor() : mean, training ? Tensor() : var, o);
          },
          {random({2, 3, 3, 2}), random({3}, {.seed = 2, .lo = 0.5}), random({3}, {.seed = 3})},
          {.second_order = true, .coordinates = 6});
    }
}

// The recorded sweep goes through the definition in primitive ops: it must give the fused kernel's gradient.
TEST(BatchNorm, TheDefinitionIsTheOracle) {
  const Tensor x = random({3, 4, 2, 3, 2}).requires_grad(true), w = random({4}, {.seed = 2}).requires_grad(true);
  const Tensor b = random({4}, {.seed = 3}).requires_grad(true), seed = random(x.shape(), {.seed = 4});
  for (const Activation act : activations) {
    const auto y = [&] { return batch_norm(x, w, b, {}, {}, {.training = true, .activation = act}); };
    const Tensors fused = grad(y(), {x, w, b}, {.seed = seed});
    const Tensors composed = grad(y(), {x, w, b}, {.create_graph = true, .seed = seed});
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(close(fused[i], composed[i], {1e-10, 1e-11})) << i;
  }
}

TEST(BatchNorm, BitsDoNotDependOnTheThreads) {
  for (const Lies how : {Lies::contiguous, Lies::channels_last}) {
    const auto with = [&](int threads) {
      const Threads scope(threads);
      return run_batch({3, 20, 17, 20, 21}, DType::f32, how, {.training = true});
    };
    const Results one = with(1), many = with(3);
    EXPECT_TRUE(equal(many.y, one.y));
    EXPECT_TRUE(equal(many.dx, one.dx));
    EXPECT_TRUE(equal(many.dw, one.dw));
    EXPECT_TRUE(equal(many.var, one.var));
  }
}

TEST(InstanceNorm, IsBatchNormOfEachSample) {
  for (const Lies how : every_way) {
    const Tensor x = laid(random({3, 4, 5, 6, 2}), how), w = random({4}, {.seed = 2}), b = random({4}, {.seed = 3});
    const Tensor y = instance_norm(x, w, b, 1e-5, Activation::leaky_relu, 0.1);
    for (std::int64_t n = 0; n < 3; ++n) {
      const BatchNormOptions o{.training = true, .activation = Activation::leaky_relu, .slope = 0.1};
      EXPECT_TRUE(close(slice(y, 0, n, 1), batch_norm(slice(x, 0, n, 1), w, b, {}, {}, o), {1e-11, 1e-12}));
    }
  }
}

TEST(InstanceNorm, Gradcheck) {
  for (const Activation act : activations)
    gradcheck([&](const Tensors& in) { return instance_norm(in[0], in[1], in[2], 1e-5, act, 0.1); },
              {random({2, 3, 3, 2}), random({3}, {.seed = 2, .lo = 0.5}), random({3}, {.seed = 3})},
              {.second_order = true, .coordinates = 6});
}

TEST(Norm, ErrorsNameBothSides) {
  const Tensor x = zeros({2, 3, 4});
  EXPECT_EQ(error_of([&] { batch_norm(x, full({4}, 1), {}, {}, {}, {.training = true}); }),
            "batch_norm: x has 3 channels, weight or bias is [4]");
  EXPECT_EQ(error_of([&] { batch_norm(x, {}, {}, {}, {}); }), "batch_norm: evaluation needs running statistics");
  EXPECT_EQ(error_of([&] {
              batch_norm(zeros({1, 3}), {}, {}, {}, {}, {.training = true});
            }),
            "batch_norm: training needs more than one value per channel, x is [1,3]");
  EXPECT_NE(error_of([&] { batch_norm(x, {}, {}, zeros({3}), {}); }), "");
  EXPECT_NE(error_of([&] { batch_norm(x, {}, {}, zeros({4}), zeros({4})); }), "");
  EXPECT_NE(error_of([&] { instance_norm(zeros({2, 3, 1}), {}, {}); }), "");
  EXPECT_NE(error_of([&] { batch_norm(zeros({0, 3, 4}), {}, {}, {}, {}, {.training = true}); }), "");
}

}  // namespace
