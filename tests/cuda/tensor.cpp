// SPDX-License-Identifier: Apache-2.0
// Memory, copies and the core's own kernels on the device.
#include "core/autograd.h"
#include "core/cuda.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

class CudaTensor : public ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

Tensor on_cpu(const Shape& shape, DType dtype) { return to(random(shape, {.dtype = dtype, .lo = -100, .hi = 100}), Device::cpu); }

TEST_F(CudaTensor, ThereAndBackInEveryLayoutAndType) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8})
    for (const Lies from : every_way)
      for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{1}, Shape{257}, Shape{2, 3, 5, 7}}) {
        const Tensor x = laid(on_cpu(shape, dtype), from);
        const Tensor there = to(x, Device::cuda);
        EXPECT_EQ(there.device(), Device::cuda);
        EXPECT_TRUE(equal(there, x)) << dtype << shape;
        for (const Lies way : every_way) EXPECT_TRUE(equal(to(laid(there, way), Device::cpu), x)) << dtype << shape;
      }
}

TEST_F(CudaTensor, ConvertsAsTheCpuDoes) {
  const Tensor x = on_cpu({3, 67}, DType::f64);
  for (const DType a : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8})
    for (const DType b : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
      const Tensor first = empty(x.shape(), {.dtype = a}), second = empty(x.shape(), {.dtype = b});
      copy(x, first);
      copy(first, second);
      const Tensor across = empty(x.shape(), {.dtype = b, .device = Device::cuda});
      copy(first, across);  // from the CPU, another type
      EXPECT_TRUE(equal(across, second)) << a << " to " << b;
      const Tensor inside = empty(x.shape(), {.dtype = b, .device = Device::cuda});
      copy(to(first, Device::cuda), inside);
      EXPECT_TRUE(equal(inside, second)) << a << " to " << b;
    }
}

TEST_F(CudaTensor, FillsAndAdds) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32})
    for (const Lies way : every_way) {
      const Tensor a = on_cpu({5, 3, 130}, dtype), b = laid(to(on_cpu({5, 3, 130}, dtype), Device::cuda), way);
      const Tensor target = laid(to(a, Device::cuda), way);
      add_into(target, b);
      add_into(a, to(b, Device::cpu));
      EXPECT_TRUE(equal(target, a)) << dtype;
      fill(target, 3);
      EXPECT_TRUE(equal(target, full(a.shape(), 3, {.dtype = dtype}))) << dtype;
    }
}

TEST_F(CudaTensor, DerivativesCross) {
  Tensor x = to(random({4, 3}), Device::cpu).requires_grad(true);
  const Tensor g = random({4, 3}, {.seed = 2});
  const Tensor y = to(x, Device::cuda);
  const Tensor dx = grad(add(y, y), {x}, {.seed = to(g, Device::cuda)})[0];
  EXPECT_EQ(dx.device(), Device::cpu);
  EXPECT_TRUE(equal(dx, add(to(g, Device::cpu), to(g, Device::cpu))));
}

TEST_F(CudaTensor, WrongDevicesAreErrors) {
  const Tensor a = on_cpu({2}, DType::f32), b = to(a, Device::cuda);
  EXPECT_EQ(error_of([&] { add_into(a, b); }), "add: tensors on cpu and cuda");
  EXPECT_EQ(error_of([&] { b.data<float>(); }), "data: tensor is on cuda; copy it to the CPU first");
}

TEST_F(CudaTensor, MemoryIsCountedAndGivenBack) {
  const auto before = memory_stats(Device::cuda).live;
  {
    const Tensor x = zeros({1000}, {.device = Device::cuda});
    EXPECT_GE(memory_stats(Device::cuda).live, before + 4000);
  }
  EXPECT_EQ(memory_stats(Device::cuda).live, before);
}

}  // namespace
