// SPDX-License-Identifier: Apache-2.0
// Random tensors and dropout on the device: the numbers of the CPU.
#include "kernels/random/random.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaRandom : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

const RandomKey key{.seed = 7, .stream = 3, .step = 11};

// A block of words, one more and one less; tails; several blocks of threads. The last two fill more than one tile of dropout in
// each direction: 64 in space, 32 channels, with rows that start within a block of words.
const Shape shapes[] = {
    {}, {1}, {3}, {4}, {5}, {1023}, {2, 3, 4, 5}, {3, 1031}, {2, 5, 1, 3, 7}, {2, 33, 5, 13}, {1, 70, 3, 3, 15}};

TEST_F(CudaRandom, DrawsTheNumbersOfTheCpu) {
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last})
        for (const char* row : {"", "random=reference"}) {
          const dispatch::Forced forced(row);
          const TensorOptions here{dtype, Device::cpu, layout}, there{dtype, Device::cuda, layout};
          EXPECT_TRUE(equal(uniform(shape, key, -2, 3.1, there), uniform(shape, key, -2, 3.1, here))) << dtype << shape << row;
          const double rounding = tolerance(dtype).rtol;  // of a device's log, sin and cos
          EXPECT_TRUE(close(normal(shape, key, 1, 0.3, there), normal(shape, key, 1, 0.3, here), {rounding, rounding}))
              << dtype << shape << row;
        }
}

TEST_F(CudaRandom, DropsWhatTheCpuDrops) {
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
      for (const Lies lies : every_way) {
        const Tensor x = laid(to(random(shape, {.dtype = dtype}), Device::cuda), lies);
        const Tensor expected = dropout(to(x, Device::cpu), 0.3, key);
        EXPECT_TRUE(equal(dropout(x, 0.3, key), expected)) << dtype << shape << name_of(lies);
        const dispatch::Forced reference("dropout=reference");
        EXPECT_TRUE(equal(dropout(x, 0.3, key), expected)) << dtype << shape << name_of(lies) << " reference";
      }
}

TEST_F(CudaRandom, ChoosesTheRowOfTheLayout) {
  const auto row_of = [](const Tensor& x) {
    profiler::enable(true);
    profiler::clear();
    dropout(x, 0.5, key);
    profiler::enable(false);
    return std::string(profiler::events().back().impl);
  };
  const Tensor x = to(random({2, 3, 4, 5}, {.dtype = DType::f32}), Device::cuda);
  EXPECT_EQ(row_of(x), "blocks");
  EXPECT_EQ(row_of(laid(x, Lies::channels_last)), "tiles");
  EXPECT_EQ(row_of(laid(x, Lies::view)), "reference");
}

// Memory that starts within a packet.
TEST_F(CudaRandom, UnalignedMemory) {
  const Tensor room = to(random({258}, {.dtype = DType::f32}), Device::cuda);
  const Tensor x(room.storage(), 1, {257}, {1}, DType::f32);
  const Tensor y = dropout(x, 0.3, key);
  EXPECT_TRUE(equal(y, dropout(to(x, Device::cpu), 0.3, key)));
}

TEST_F(CudaRandom, MoreElementsThanThreads) {
  const Shape shape{(4 << 20) + 4099};
  EXPECT_TRUE(equal(uniform(shape, key, 0, 1, {.device = Device::cuda}), uniform(shape, key)));
}

TEST_F(CudaRandom, GradientGoesThroughTheSameMask) {
  const Tensor x = to(random({2, 33, 4, 4}), Device::cuda).requires_grad(true);
  const Tensor seed = to(random({2, 33, 4, 4}, {.seed = 5}), Device::cuda);
  EXPECT_TRUE(equal(grad(dropout(x, 0.4, key), {x}, {.seed = seed})[0], dropout(to(seed, Device::cpu), 0.4, key)));
}

}  // namespace
