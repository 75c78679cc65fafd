// SPDX-License-Identifier: Apache-2.0
// What a person reads when a kernel is wrong: the kernel, the thread, the file and the line; and that the next launch works.
#include <gtest/gtest.h>

#include "tests/emulator/buffer.h"
#include "tests/emulator/options.h"
#include "tests/emulator/where.h"

namespace cuboid::test {
namespace {

constexpr unsigned barrier_line = __LINE__ + 2;
__global__ void half_a_barrier_kernel(int) {
  if (threadIdx.x < 32) __syncthreads();
  else
    while (threadIdx.x == 1000) {
    }
}
__global__ void beyond_kernel(int* x) { x[threadIdx.x + 7] = 1; }
__global__ void fill_kernel(int* x, int value) { x[blockIdx.x * blockDim.x + threadIdx.x] = value; }

std::string text_of(void (*f)()) {
  try {
    f();
    gpu::synchronize();
  } catch (const emulator::Error& e) {
    return e.what();
  }
  return "";
}
void expect_in(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
}
void expect_next_launch_works() {
  const Buffer<int> x(32);
  gpu::launch(fill_kernel, {.grid = dim3(1), .block = dim3(32)}, x, 5);
  EXPECT_EQ(x.host(), std::vector<int>(32, 5));
}

TEST(Reports, ABarrierNotAllReachSaysWhereTheyWait) {
  const std::string text =
      text_of([] { gpu::launch(half_a_barrier_kernel, {.grid = dim3(1), .block = dim3(64), .name = "half"}, 0); });
  expect_in(text, {"half", "reports.cu:" + std::to_string(barrier_line)});
  expect_next_launch_works();
}

TEST(Reports, TooHighAGridNamesTheKernel) {
  expect_in(text_of([] {
              const Buffer<int> x(64);
              gpu::launch(fill_kernel, {.grid = dim3(1, 70000), .block = dim3(32), .name = "tall"}, x, 1);
            }),
            {"tall", "70000"});
  expect_next_launch_works();
}

TEST(Reports, AWriteBeyondNamesThreadAndBytes) {
  if (!emulator::checking()) GTEST_SKIP() << "exact bounds are the check build's";
  const std::string text = text_of([] {
    const Buffer<int> x(32);
    gpu::launch(beyond_kernel, {.grid = dim3(1), .block = dim3(32), .name = "beyond"}, x);
    gpu::synchronize();
  });
  expect_in(text, {"global-bounds", "beyond", "thread"});
  expect_next_launch_works();
}

TEST(Reports, MemoryThatIsNotThereIsAnErrorAndNotTheEnd) {
  EXPECT_EQ(gpu::malloc_bytes(emulator::options().memory + 1), nullptr);
  expect_next_launch_works();
}

TEST(Statistics, CountLaunchesBlocksThreads) {
  const emulator::Statistics before = emulator::statistics();
  const Buffer<int> x(96);
  gpu::launch(fill_kernel, {.grid = dim3(3), .block = dim3(32)}, x, 1);
  gpu::launch(fill_kernel, {.grid = dim3(1), .block = dim3(64)}, x, 2);
  gpu::synchronize();
  EXPECT_EQ(emulator::statistics().launches - before.launches, 2);
  EXPECT_EQ(emulator::statistics().blocks - before.blocks, 4);
  EXPECT_EQ(emulator::statistics().threads - before.threads, 160);
}

}  // namespace
}  // namespace cuboid::test
