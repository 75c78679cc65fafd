// SPDX-License-Identifier: Apache-2.0
// In which order threads and blocks run under each option, and that a seed repeats it.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/emulator/buffer.h"
#include "tests/emulator/options.h"
#include "tests/emulator/where.h"

namespace cuboid::test {
namespace {

using emulator::Order;

/// Each thread draws a ticket per step and leaves its number there.
__global__ void tickets_kernel(int* counter, int* holders, int steps) {
  for (int step = 0; step < steps; ++step) {
    holders[atomicAdd(counter, 1)] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    __syncthreads();
  }
}

constexpr int threads = 64;
std::vector<int> tickets(int blocks, int steps, const emulator::Options& o) {
  const emulator::WithOptions with(o);
  emulator::statistics().launches = 0;  // a launch's order follows from the seed and from how many were before it
  const Buffer<int> counter(std::vector<int>{0}),
      holders(std::vector<int>(static_cast<std::size_t>(blocks * threads * steps), -1));
  gpu::launch(tickets_kernel, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(threads), .name = "tickets"}, counter,
              holders, steps);
  return holders.host();
}
emulator::Options with(Order order, std::uint64_t seed = 1, int resident = 1) {
  emulator::Options o = emulator::options();
  o.order = order;
  o.seed = seed;
  o.resident = resident;
  return o;
}
std::vector<int> counting(int n) {
  std::vector<int> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

TEST(Order, FirstInFirstOutAndItsReverse) {
  EXPECT_EQ(tickets(1, 1, with(Order::fifo)), counting(threads));
  auto reversed = counting(threads);
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(tickets(1, 1, with(Order::lifo)), reversed);
}

TEST(Order, ASeedRepeatsItAnotherDoesNot) {
  const auto once = tickets(3, 2, with(Order::random, 7));
  EXPECT_EQ(tickets(3, 2, with(Order::random, 7)), once);
  EXPECT_NE(tickets(3, 2, with(Order::random, 8)), once);
  auto sorted = once;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 3 * threads; ++i)  // each thread has one ticket per step
    for (int step = 0; step < 2; ++step) EXPECT_EQ(sorted[static_cast<std::size_t>(2 * i + step)], i);
}

/// How often the block changes from one ticket to the next.
int changes_of_block(const std::vector<int>& holders) {
  int changes = 0;
  for (std::size_t i = 1; i < holders.size(); ++i) changes += holders[i] / threads != holders[i - 1] / threads;
  return changes;
}

TEST(Order, ResidentBlocksInterleaveOthersDoNot) {
  EXPECT_EQ(changes_of_block(tickets(4, 3, with(Order::random, 1, 1))), 3);
  EXPECT_GT(changes_of_block(tickets(4, 3, with(Order::random, 1, 4))), 20);
  EXPECT_GT(changes_of_block(tickets(5, 3, with(Order::random, 1, 2))), 20);  // the last block starts when another is over
}

/// A sum over a block through shared memory, right in any order.
__global__ void sum_kernel(const int* x, int* sums) {
  GPU_SHARED(int, s, [threads]);
  const int i = static_cast<int>(threadIdx.x);
  s[i] = x[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  for (int step = threads / 2; step > 0; step /= 2) {
    if (i < step) s[i] += s[i + step];
    __syncthreads();
  }
  if (i == 0) sums[blockIdx.x] = s[0];
}

TEST(Order, InterleavedBlocksHaveSharedMemoryOfTheirOwn) {
  const auto x = counting(6 * threads);
  std::vector<int> expected(6);
  for (std::size_t i = 0; i < x.size(); ++i) expected[i / threads] += x[i];
  for (const int resident : {1, 2, 4, 6, 9})
    for (const Order order : {Order::fifo, Order::lifo, Order::random}) {
      const emulator::WithOptions scope(with(order, 3, resident));
      const Buffer<int> dx(x), sums(6);
      gpu::launch(sum_kernel, {.grid = dim3(6), .block = dim3(threads), .name = "sum"}, dx, sums);
      EXPECT_EQ(sums.host(), expected) << resident << " resident, order " << static_cast<int>(order);
    }
}

TEST(Order, PreemptionSwitchesWithinAThreadsAccesses) {
  if (!emulator::checking()) GTEST_SKIP() << "the check build sees accesses, this one does not";
  const auto x = counting(2 * threads);
  std::uint64_t switches[2] = {};
  for (const std::uint32_t preempt : {0u, 2u}) {
    emulator::Options o = with(Order::random);
    o.preempt = preempt;
    const emulator::WithOptions scope(o);
    const Buffer<int> dx(x), sums(2);
    const std::uint64_t before = emulator::statistics().switches;
    gpu::launch(sum_kernel, {.grid = dim3(2), .block = dim3(threads), .name = "sum"}, dx, sums);
    EXPECT_EQ(sums.host(), (std::vector<int>{threads * (threads - 1) / 2, threads * (3 * threads - 1) / 2}));
    switches[preempt != 0] = emulator::statistics().switches - before;
  }
  EXPECT_GT(switches[1], switches[0] + 100);
}

}  // namespace
}  // namespace cuboid::test
