// SPDX-License-Identifier: Apache-2.0
// cuDNN's graphs for pooling and batch norm. Without a driver: whether cuDNN accepts the graphs, and refuses wrong ones. With
// one: whether it compiles them for an H200 that is only described. With a device: whether its rows compute what ours do.
#include <gtest/gtest.h>

#if CUBOID_CUDNN
#include <dlfcn.h>

#include "core/cuda.h"
#include "core/error.h"
#include "kernels/norm/cuda.h"
#include "kernels/norm/cudnn.h"
#include "kernels/pool/cuda.h"
#include "kernels/pool/cudnn.h"
#include "tests/cuda/h200.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::cudnn;
using namespace cuboid::test;

namespace {

constexpr DType dtypes[] = {DType::f32, DType::bf16, DType::f16};

struct PoolCase {
  const char* name;
  Shape x;
  PoolSpec spec;
};
PoolSpec without_padding_counted(PoolSpec spec) {
  spec.count_include_pad = false;
  return spec;
}
std::vector<PoolCase> pool_cases() {
  PoolSpec up = without_padding_counted(PoolSpec::make(3, 3, 2));
  up.ceil = true;
  return {{"transition", {8, 128, 16, 16, 16}, PoolSpec::make(3, 2)},
          {"padding counted", {8, 64, 32, 32, 32}, PoolSpec::make(3, 3, 2, 1)},
          {"padding not counted", {8, 64, 32, 32, 32}, without_padding_counted(PoolSpec::make(3, 3, 2, 1))},
          {"rounded up", {2, 64, 8, 9, 10}, up},
          {"2D", {8, 64, 57, 56}, PoolSpec::make(2, 3, 2, 1)},
          {"1D", {8, 64, 56}, PoolSpec::make(1, 2)}};
}
PoolProblem problem(const PoolCase& c, DType dtype, bool backward) {
  return {.backward = backward, .dtype = dtype, .x = c.x, .y = c.spec.output_shape(c.x), .spec = c.spec};
}

struct NormCase {
  const char* name;
  NormProblem problem;
};
constexpr NormCase norm_cases[] = {
    {"stem", {.rows = 8 * 32 * 32 * 32, .channels = 64, .slope = 0}},
    {"transition", {.rows = 8 * 16 * 16 * 16, .channels = 256}},
    {"odd", {.rows = 7 * 5 * 5 * 3, .channels = 24, .slope = 0.01}},
    {"no bias", {.rows = 4096, .channels = 32, .bias = false}},
    {"neither", {.rows = 4096, .channels = 32, .weight = false, .bias = false}},
    {"activation's gradient", {.pass = NormPass::activation_gradient, .rows = 8 * 32 * 32 * 32, .channels = 64, .slope = 0}},
    {"leaky one's, odd", {.pass = NormPass::activation_gradient, .rows = 7 * 5 * 5 * 3, .channels = 24, .slope = 0.01}},
    {"backward", {.pass = NormPass::backward, .rows = 8 * 32 * 32 * 32, .channels = 64}},
    {"backward, odd", {.pass = NormPass::backward, .rows = 7 * 5 * 5 * 3, .channels = 24}},
};

/// The engines of these graphs are compiled when they are asked for, which takes CUDA's driver.
bool has_driver() {
  void* library = dlopen("libcuda.so.1", RTLD_LAZY);
  if (library) dlclose(library);
  return library != nullptr;
}

template <class Problem>
void expect_plan(const Problem& p, const std::string& name) {
  EXPECT_FALSE(operations_of(p).empty()) << name;
  if (!has_driver() || (version() < 91100 && !cuda::available())) return;
  try {
    const auto plan = make_plan(p, cuda::available() ? "" : h200);
    ASSERT_TRUE(plan) << name;
    EXPECT_EQ(plan->engine().find("not deterministic"), std::string::npos) << name << ": " << plan->engine();
  } catch (const DeviceError& e) {
    // A driver without a device loads no machine code; that there is some to load is what we want to know.
    EXPECT_TRUE(!cuda::available() && std::string(e.what()).find("CUDA_DRIVER") != std::string::npos) << name << ": " << e.what();
  }
}

TEST(CudnnGraphs, AveragePooling) {
  for (const auto& c : pool_cases())
    for (const DType dtype : dtypes)
      for (const bool backward : {false, true})
        expect_plan(problem(c, dtype, backward), join_text(c.name, ' ', dtype, backward ? " backward" : ""));
}

TEST(CudnnGraphs, BatchNorm) {
  for (NormCase c : norm_cases)
    for (const DType dtype : dtypes) {
      c.problem.dtype = dtype;
      expect_plan(c.problem, join_text(c.name, ' ', dtype));
    }
}

TEST(CudnnGraphs, AnAverageThatIsAnotherDoesNotFit) {
  PoolSpec spec = PoolSpec::make(3, 3, 2);
  spec.ceil = true;  // the last windows reach beyond the volume, where we count nothing and cuDNN zeros
  const Shape x{1, 8, 8, 8, 8};
  PoolProblem p{.x = x, .y = spec.output_shape(x), .spec = spec};
  EXPECT_FALSE(same_average(p));
  p.spec.count_include_pad = false;
  EXPECT_TRUE(same_average(p));
  p.spec = PoolSpec::make(3, 3, 2, 1);
  p.y = p.spec.output_shape(x);
  EXPECT_TRUE(same_average(p));
}

struct CudnnRows : testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
  static Tensor result(const Shape& shape, DType dtype) {
    return empty(shape, {dtype, Device::cuda, shape.rank() > 2 ? Layout::channels_last : Layout::contiguous});
  }
  static Tensor filled(const Shape& shape, DType dtype, std::uint64_t seed) {
    const Tensor t = result(shape, dtype);
    copy(to(random(shape, {.seed = seed, .dtype = dtype}), Device::cuda), t);
    return t;
  }
};

TEST_F(CudnnRows, AveragesAreOurs) {
  for (const auto& c : pool_cases())
    for (const DType dtype : dtypes) {
      const Shape y_shape = c.spec.output_shape(c.x);
      const Tensor x = filled(c.x, dtype, 1), g = filled(y_shape, dtype, 2);
      const Tensor y = result(y_shape, dtype), dx = result(c.x, dtype), own_y = result(y_shape, dtype),
                   own_dx = result(c.x, dtype);
      ASSERT_TRUE(avg_pool_fits(x.view(), Out(y.mutate()), c.spec)) << c.name << dtype;
      ASSERT_TRUE(avg_pool_backward_fits(g.view(), Out(dx.mutate()), c.spec)) << c.name << dtype;
      cudnn::avg_pool(x.view(), Out(y.mutate()), c.spec);
      cuda::avg_pool(x.view(), Out(own_y.mutate()), c.spec);
      EXPECT_TRUE(close(y, own_y, tolerance(dtype))) << c.name << dtype;
      cudnn::avg_pool_backward(g.view(), Out(dx.mutate()), c.spec);
      cuda::avg_pool_backward(g.view(), Out(own_dx.mutate()), c.spec);
      EXPECT_TRUE(close(dx, own_dx, tolerance(dtype))) << c.name << dtype << " backward";
    }
}

TEST_F(CudnnRows, NormsAreOurs) {
  const Shape shape{3, 24, 5, 6, 7}, one{1, 24}, channels{24};
  for (const DType dtype : dtypes) {
    const Tensor x = filled(shape, dtype, 1), g = filled(shape, dtype, 2), weight = filled(channels, DType::f32, 3),
                 bias = filled(channels, DType::f32, 4);
    const Tensor mean = result(one, DType::f32), var = result(one, DType::f32), rstd = result(one, DType::f32);
    cuda::norm_statistics(x.view(), Out(mean.mutate()), Out(var.mutate()));
    cuda::norm_finish(mean.view(), var.view(), Out(rstd.mutate()), Out(View()), Out(View()), {1e-5});
    for (const double slope : {1., 0., 0.01}) {
      const Tensor y = result(shape, dtype), own = result(shape, dtype);
      ASSERT_TRUE(norm_apply_fits(x.view(), mean.view(), rstd.view(), weight.view(), bias.view(), Out(y.mutate()), slope));
      cudnn::norm_apply(x.view(), mean.view(), rstd.view(), weight.view(), bias.view(), Out(y.mutate()), slope);
      cuda::norm_apply(x.view(), mean.view(), rstd.view(), weight.view(), bias.view(), Out(own.mutate()), slope);
      EXPECT_TRUE(close(y, own, tolerance(dtype))) << dtype << slope;
    }
    for (const double slope : {1., 0., 0.01}) {
      Tensor got[3], own[3];
      for (Tensor* t : {got, own}) t[0] = result(shape, dtype), t[1] = result(one, DType::f32), t[2] = result(one, DType::f32);
      const auto backward = [&](NormBackward* row, Tensor* t) {
        row(g.view(), x.view(), mean.view(), rstd.view(), weight.view(), bias.view(), Out(t[0].mutate()), Out(t[1].mutate()),
            Out(t[2].mutate()), slope, true);
      };
      ASSERT_TRUE(norm_backward_fits(g.view(), x.view(), mean.view(), rstd.view(), weight.view(), bias.view(),
                                     Out(got[0].mutate()), Out(got[1].mutate()), Out(got[2].mutate()), slope, true));
      backward(cudnn::norm_backward, got);
      backward(cuda::norm_backward, own);
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(close(got[i], own[i], tolerance(dtype))) << dtype << slope << " result " << i;
    }
  }
}

}  // namespace
#endif
