// SPDX-License-Identifier: Apache-2.0
// Streams, events, the order in which memory is reused, and running out of it.
#include <thread>

#include "core/allocator.h"
#include "core/cuda.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

class CudaRuntime : public ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

constexpr TensorOptions on_device{.device = Device::cuda};

TEST_F(CudaRuntime, TheDeviceSaysWhatItIs) {
  const cuda::DeviceInfo info = cuda::device_info();
  EXPECT_FALSE(info.name.empty());
  EXPECT_GT(info.multiprocessors, 0);
  EXPECT_GE(info.major, 7);
  EXPECT_GT(info.total_bytes, 0);
  EXPECT_LE(info.free_bytes, info.total_bytes);
}

TEST_F(CudaRuntime, StreamsAreScopesOfAThread) {
  EXPECT_EQ(cuda::stream(), nullptr);
  const cuda::OwnStream a, b;
  {
    const cuda::StreamScope outer(a);
    EXPECT_EQ(cuda::stream(), static_cast<cuda::Stream>(a));
    {
      const cuda::StreamScope inner(b);
      EXPECT_EQ(cuda::stream(), static_cast<cuda::Stream>(b));
      std::thread([] { EXPECT_EQ(cuda::stream(), nullptr) << "of this thread only"; }).join();
    }
    EXPECT_EQ(cuda::stream(), static_cast<cuda::Stream>(a));
  }
  EXPECT_EQ(cuda::stream(), nullptr);
}

TEST_F(CudaRuntime, AnEventOrdersTwoStreams) {
  const cuda::OwnStream a, b;
  for (int round = 0; round < 20; ++round) {
    const Tensor x = zeros({5000}, on_device), y = zeros({5000}, on_device);
    cuda::synchronize();
    cuda::Event written;
    {
      const cuda::StreamScope scope(a);
      for (int i = 0; i < 5; ++i) add_into(x, full({5000}, round, on_device));
      written.record();
    }
    {
      const cuda::StreamScope scope(b);
      written.wait();
      copy(x, y);
      EXPECT_TRUE(equal(y, full({5000}, 5 * round))) << round;  // on the same stream
    }
    EXPECT_TRUE(written.done());
  }
}

TEST_F(CudaRuntime, TimeBetweenEvents) {
  cuda::Event start(true), end(true);
  start.record();
  const Tensor x = full({1000}, 1, on_device);
  end.record();
  end.synchronize();
  EXPECT_GE(end.ms_since(start), 0);
}

TEST_F(CudaRuntime, FreedMemoryIsReusedAtOnceOnItsStream) {
  const cuda::OwnStream a;
  const cuda::StreamScope scope(a);
  const void* first = nullptr;
  for (int i = 0; i < 10; ++i) {
    const Tensor x = full({3000}, i, on_device);
    if (i == 0) first = x.view().data;
    EXPECT_EQ(x.view().data, first);
  }
}

TEST_F(CudaRuntime, WhatAnotherStreamStillReadsIsNotOverwritten) {
  // A chain on one stream frees what it made at once; the other takes memory all the time and writes to it.
  const cuda::OwnStream a, b;
  for (int round = 0; round < 30; ++round) {
    release_cached_memory(Device::cuda);  // so that the freed blocks of `a` are what is nearest at hand
    Tensor sum;
    {
      const cuda::StreamScope scope(a);
      sum = zeros({1 << 12}, on_device);
      for (int i = 0; i < 8; ++i) add_into(sum, full({1 << 12}, i, on_device));
    }
    {
      const cuda::StreamScope scope(b);
      for (int i = 0; i < 8; ++i) full({1 << 12}, 1000, on_device);
    }
    const cuda::StreamScope scope(a);
    EXPECT_TRUE(equal(sum, full({1 << 12}, 28))) << round;
  }
}

TEST_F(CudaRuntime, ThreadsWithStreamsOfTheirOwn) {
  const auto before = memory_stats(Device::cuda).live;
  std::vector<std::thread> threads;
  for (int t = 1; t <= 3; ++t)
    threads.emplace_back([t] {
      const cuda::OwnStream own;
      const cuda::StreamScope scope(own);
      for (int i = 0; i < 20; ++i) {
        const Tensor x = full({100 * t + i}, t, on_device), y = full({100 * t + i}, i, on_device);
        add_into(x, y);
        EXPECT_TRUE(equal(x, full(x.shape(), t + i)));
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(memory_stats(Device::cuda).live, before);
}

TEST_F(CudaRuntime, OutOfMemorySaysHowMuchAndTheProcessGoesOn) {
  const Tensor kept = full({1 << 18}, 3, on_device);  // 1 MiB
  const auto before = memory_stats(Device::cuda).live;
  for (int i = 0; i < 20; ++i) {
    set_memory_limit(before + (1 << 20), Device::cuda);
    const std::string text = error_of([&] {
      Tensors activations;
      for (;;) activations.push_back(full({10'000 + 1000 * i}, 1, on_device));
    });
    set_memory_limit(0, Device::cuda);
    for (const char* part : {"out of memory on cuda: ", " asked for, ", " in use (peak ", "limit "})
      EXPECT_NE(text.find(part), std::string::npos) << text;
    ASSERT_EQ(memory_stats(Device::cuda).live, before);
  }
  const std::int64_t more = 2 * cuda::device_info().total_bytes / 4;  // than there is
  const std::string text = error_of([&] { empty({more}, on_device); });
  EXPECT_NE(text.find("the system gives no more"), std::string::npos) << text;
  EXPECT_NE(text.find("held"), std::string::npos) << text;
  EXPECT_TRUE(equal(add(kept, kept), full({1 << 18}, 6)));
}

TEST_F(CudaRuntime, CachedMemoryGoesBack) {
  { const Tensor x = zeros({1 << 22}, on_device); }
  release_cached_memory(Device::cuda);
  const auto free_before = cuda::device_info().free_bytes;
  { const Tensor x = zeros({1 << 24}, on_device); }
  EXPECT_LT(cuda::device_info().free_bytes, free_before);
  release_cached_memory(Device::cuda);
  EXPECT_EQ(cuda::device_info().free_bytes, free_before);
}

TEST_F(CudaRuntime, WhatGoesBackLeavesItsNeighboursAlone) {
  Tensors all;
  for (int i = 0; i < 6; ++i) all.push_back(full({1 << 20}, i, on_device));
  for (const std::size_t i : {0, 2, 4}) all[i] = Tensor();
  release_cached_memory(Device::cuda);
  for (const std::size_t i : {1, 3, 5}) EXPECT_TRUE(equal(all[i], full({1 << 20}, static_cast<double>(i)))) << i;
}

TEST_F(CudaRuntime, PinnedMemoryIsCopiedWhileTheHostGoesOn) {
  const cuda::OwnStream side;
  for (int round = 0; round < 20; ++round) {
    const Tensor host = empty_pinned({4000});
    fill(host, round);
    cuda::Event copied;
    Tensor x;
    {
      const cuda::StreamScope scope(side);
      x = empty({4000}, on_device);
      cuda::to_device(x.mutate().data, host.view().data, host.view().bytes());
      copied.record();
    }
    copied.wait();  // the default stream
    EXPECT_TRUE(equal(x, full({4000}, round)));
    EXPECT_TRUE(copied.done());
  }
  const Tensor host = empty_pinned({100});
  fill(host, 1);
  const Tensor x = to(host, Device::cuda);
  fill(host, 2);  // the ordinary copy was done
  EXPECT_TRUE(equal(x, full({100}, 1)));
}

}  // namespace
