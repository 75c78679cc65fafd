// SPDX-License-Identifier: Apache-2.0
// Graphs: recorded once, replayed on new values in the same memory. And when the device says a call was.
#include "core/allocator.h"
#include "core/autograd.h"
#include "core/cuda.h"
#include "core/profiler.h"
#include "kernels/conv/matmul.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

class CudaGraph : public ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

constexpr TensorOptions on_device{.device = Device::cuda};

TEST_F(CudaGraph, IsReplayedOnNewValues) {
  const Tensor x = zeros({1000}, on_device), sum = zeros({1000}, on_device);
  cuda::Graph graph;
  EXPECT_FALSE(graph.recorded());
  const auto step = [&] {
    const Tensor twice = add(x, x);  // memory of the graph
    add_into(sum, add(twice, full({1000}, 1, on_device)));
  };
  graph.rehearse(step);  // runs
  EXPECT_TRUE(equal(sum, full({1000}, 1)));
  graph.record(step);  // does not
  EXPECT_TRUE(graph.recorded());
  EXPECT_TRUE(equal(sum, full({1000}, 1)));
  double expected = 1;
  for (int i = 0; i < 10; ++i) {
    fill(x, i);
    graph.replay();
    expected += 2 * i + 1;
    const Tensor noise = full({1000}, 99, on_device);  // others go on using memory
    EXPECT_TRUE(equal(sum, full({1000}, expected))) << i;
  }
}

TEST_F(CudaGraph, ItsMemoryIsNobodyElses) {
  const Shape shape{1 << 16};
  const Tensor x = full(shape, 2, on_device), sum = zeros(shape, on_device);
  cuda::Graph graph;
  graph.record([&] { add_into(sum, add(add(x, x), x)); });
  Tensors others;
  for (int i = 0; i < 40; ++i) others.push_back(full(shape, i, on_device));
  graph.replay();
  EXPECT_TRUE(equal(sum, full(shape, 6)));
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(equal(others[static_cast<std::size_t>(i)], full(shape, i))) << i;
}

TEST_F(CudaGraph, ResultsStayInItsMemory) {
  const Tensor x = full({300}, 2, on_device);
  cuda::Graph graph;
  Tensor y;
  graph.record([&] { y = add(add(x, x), x); });
  for (int i = 0; i < 5; ++i) {
    fill(x, i);
    graph.replay();
    Tensors others;
    for (int k = 0; k < 20; ++k) others.push_back(full({300}, 7, on_device));
    EXPECT_TRUE(equal(y, full({300}, 3 * i)));
  }
}

TEST_F(CudaGraph, WhatItReadsIsHeldEvenWhenItsTensorIsGone) {
  const Tensor y = zeros({300}, on_device);
  cuda::Graph graph;
  {
    Tensor x = full({300}, 5, on_device);
    graph.record([&] {
      copy(x, y);
      x = Tensor();
    });
  }
  Tensors others;
  for (int k = 0; k < 50; ++k) others.push_back(full({300}, 7, on_device));
  graph.replay();
  EXPECT_TRUE(equal(y, full({300}, 5)));
}

TEST_F(CudaGraph, MemoryComesBackWithItsEnd) {
  const auto before = memory_stats(Device::cuda).live;
  {
    cuda::Graph graph;
    Tensor kept;
    graph.record([&] { kept = add(full({5000}, 1, on_device), full({5000}, 2, on_device)); });
    graph.replay();
    EXPECT_GT(memory_stats(Device::cuda).live, before);
  }
  EXPECT_EQ(memory_stats(Device::cuda).live, before);
}

TEST_F(CudaGraph, ReadingBackCannotBeRecorded) {
  const Tensor x = full({1}, 3, on_device);
  cuda::Graph graph;
  EXPECT_THROW(graph.record([&] { add(x, x).item(); }), cuda::CannotRecord);
  EXPECT_FALSE(graph.recorded());
  EXPECT_THROW(graph.record([&] { to(zeros({3}), Device::cuda); }), cuda::CannotRecord);
  EXPECT_THROW(graph.record([&] { cuda::synchronize(); }), cuda::CannotRecord);
  EXPECT_THROW(graph.record([&] { fail("of the body"); }), Error);
  EXPECT_FALSE(cuda::recording_graph());
  EXPECT_THROW(graph.replay(), Error);
  EXPECT_EQ(add(x, x).item(), 6) << "the device goes on";
  Tensor y;
  graph.record([&] { y = add(x, x); });  // and the graph can be recorded after all
  graph.replay();
  EXPECT_EQ(y.item(), 6);
}

TEST_F(CudaGraph, AnotherRecordingReplacesTheFirst) {
  const Tensor x = full({10}, 1, on_device), y = zeros({10}, on_device);
  cuda::Graph graph;
  graph.record([&] { copy(x, y); });
  graph.record([&] { add_into(y, x); });
  graph.replay();
  graph.replay();
  EXPECT_TRUE(equal(y, full({10}, 2)));
}

TEST_F(CudaGraph, GradientsWithinIt) {
  Tensor w = full({50}, 3, on_device);
  const Tensor x = full({50}, 1, on_device);
  w.requires_grad(true);
  cuda::Graph graph;
  Tensor g;
  const auto step = [&] { g = grad(add(add(w, w), x), {w}, {.seed = x})[0]; };
  graph.rehearse(step);
  graph.record(step);
  for (int i = 1; i < 4; ++i) {
    fill(x, i);
    graph.replay();
    EXPECT_TRUE(equal(g, full({50}, 2 * i)));
  }
}

TEST_F(CudaGraph, ACallIsTimedByTheDevice) {
  const auto call = [](const Tensor& x) {
    const profiler::Span span(Device::cuda, "op", "row", 10, 20);
    fill(x, 1);
  };
  const Tensor x = zeros({1000}, on_device);
  profiler::enable(true);
  profiler::clear();
  const double before = profiler::now_us();
  for (int i = 0; i < 3; ++i) call(x);
  cuda::synchronize();
  const double after = profiler::now_us();
  cuda::Graph graph;
  graph.record([&] { call(x); });  // does not run
  for (int i = 0; i < 2; ++i) graph.replay();
  profiler::enable(false);
  call(x);
  auto events = profiler::events();
  std::erase_if(events, [](const auto& e) { return std::string(e.op) == "fill"; });
  profiler::clear();
  ASSERT_EQ(events.size(), 5u);
  double end = before - 1000;  // two clocks that meet once, to a millisecond here
  for (int i = 0; i < 5; ++i) {
    const auto& e = events[static_cast<std::size_t>(i)];
    EXPECT_STREQ(e.op, i < 3 ? "op" : "graph");
    EXPECT_STREQ(e.impl, i < 3 ? "row" : "replay");
    EXPECT_EQ(e.flops, i < 3 ? 10 : 0);
    EXPECT_EQ(e.bytes, i < 3 ? 20 : 0);
    EXPECT_GT(e.duration_us, 0);
    EXPECT_GE(e.start_us, end - 1);
    end = e.start_us + e.duration_us;
    EXPECT_LT(end, after + 1e6 * (i >= 3) + 1000);
  }
}

TEST_F(CudaGraph, NothingIsMeasuredWhileItIsRecorded) {
  int asked = 0;
  Autotuner tuner(
      "machine", [&](const std::function<void()>& work) { return work(), static_cast<double>(++asked); }, "");
  const WithAutotuner scope(Device::cuda, tuner);
  const Tensor a = test::random({32, 16}, {.dtype = DType::f32}), b = test::random({16, 32}, {.dtype = DType::f32});
  const Tensor x = to(a, Device::cuda), y = to(b, Device::cuda);
  cuda::Graph graph;
  Tensor product;
  graph.record([&] { product = matmul(x, y); });
  EXPECT_EQ(asked, 0);
  graph.rehearse([&] { product = matmul(x, y); });
  EXPECT_GT(asked, 0);
  const int before = asked;
  graph.record([&] { product = matmul(x, y); });
  EXPECT_EQ(asked, before);
  graph.replay();
  EXPECT_TRUE(close(product, matmul(a, b), {.rtol = 1e-5, .atol = 1e-5}));
}

}  // namespace
