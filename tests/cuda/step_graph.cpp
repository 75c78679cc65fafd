// SPDX-License-Identifier: Apache-2.0
// A training step as a graph: the same bits as without, whatever changes between steps, and a reason where it cannot be.
#include "optim/step_graph.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/reduce/reduce.h"
#include "layers/dropout.h"
#include "layers/loss.h"
#include "layers/precision.h"
#include "nets/densenet.h"
#include "optim/ema.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Course {
  bool graph = true, bf16 = false, reads_back = false;
  std::string optimiser = "adamw";
  double dropout = 0.2;
  int steps = 20;
};
struct Result {
  std::vector<double> losses;
  NamedTensors state;  // weights, buffers, averages
  std::int64_t replays = 0;
  std::string said;
};

std::unique_ptr<Optimiser> optimiser_of(const std::string& name, DenseNet& net) {
  if (name == "sgd") return std::make_unique<Sgd>(net.named_parameters(), SgdOptions{.momentum = 0.9, .weight_decay = 0.01});
  return std::make_unique<AdamW>(net.named_parameters());
}

/// Batches of 4, every fifth one of 3; a learning rate, masks and averages that change with each step; evaluations now
/// and then, which pack weights that the replay between them changes.
Result train(const Course& run) {
  testing::internal::CaptureStderr();
  DenseNet net({.growth = 8,
                .bn_size = 2,
                .init_features = 8,
                .blocks = {1, 2},
                .stem_kernel = 3,
                .activation = Activation::leaky_relu,
                .dropout = run.dropout,
                .seed = 3});
  net.to(Device::cuda);
  const auto optimiser = optimiser_of(run.optimiser, net);
  Ema ema(net, {.decay = 0.9});
  const auto step = [&](const Tensors& in) {
    Tensor loss;
    {
      std::optional<ComputeIn> scope;
      if (run.bf16) scope.emplace(DType::bf16);
      loss = cross_entropy(net(in[0]), in[1]);
    }
    if (run.reads_back) loss.item();
    backward(loss);
    clip_grad_norm(net.parameters(), 0.5);
    optimiser->step();
    optimiser->zero_grad();
    return loss;
  };
  std::unique_ptr<StepGraph> graph;
  if (run.graph) graph = std::make_unique<StepGraph>(net, *optimiser, 4, step);
  Result result;
  for (int i = 0; i < run.steps; ++i) {
    const std::int64_t n = i % 5 == 4 ? 3 : 4;
    const auto number = static_cast<std::uint64_t>(i);
    const Tensor x = to(random({n, 1, 8, 8, 8}, {.seed = number + 1, .dtype = DType::f32}), Device::cuda);
    std::vector<std::int64_t> labels;
    for (std::int64_t k = 0; k < n; ++k) labels.push_back((i + k) % 2);
    const Tensor y = to(values(labels, {n}), Device::cuda);
    net.train();
    set_random_step(net, 7, number, graph ? graph->random_step() : nullptr);
    optimiser->set_lr(0.01 / (1 + i));
    result.losses.push_back((graph ? graph->run({x, y}, number) : step({x, y})).item());
    ema.update();
    if (i % 6 == 2 || i % 6 == 3) {
      net.eval();
      const Recording off(false);
      result.losses.push_back(sum(net(x)).item());
    }
  }
  for (const auto& [name, t] : net.state_dict()) result.state.emplace_back(name, to(clone(t), Device::cpu));
  for (const auto& [name, t] : ema.to_state().tensors) result.state.emplace_back(name, to(t, Device::cpu));
  EXPECT_EQ(optimiser->steps(), run.steps);
  if (graph) result.replays = graph->replays();
  graph.reset();
  result.said = testing::internal::GetCapturedStderr();
  return result;
}

void expect_same(const Result& a, const Result& b) {
  EXPECT_EQ(a.losses, b.losses);
  ASSERT_EQ(a.state.size(), b.state.size());
  for (std::size_t i = 0; i < a.state.size(); ++i) EXPECT_TRUE(equal(a.state[i].second, b.state[i].second)) << a.state[i].first;
}

class CudaStepGraph : public ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(CudaStepGraph, TwentyStepsGiveTheSameBits) {
  const Result with = train({}), without = train({.graph = false});
  expect_same(with, without);
  EXPECT_EQ(with.replays, 15) << "16 whole batches, the first one as it is";
  EXPECT_EQ(with.said, "note: without a graph: batches of 3, it is for 4\n");
}

TEST_F(CudaStepGraph, InMixedPrecisionAndWithMomentum) {
  const Course run{.bf16 = true, .optimiser = "sgd", .dropout = 0, .steps = 6};
  Course plain = run;
  plain.graph = false;
  const Result with = train(run);
  expect_same(with, train(plain));
  EXPECT_EQ(with.replays, 4);
}

TEST_F(CudaStepGraph, AStepThatReadsBackRunsAsItIs) {
  const Course run{.reads_back = true, .steps = 4};
  Course plain = run;
  plain.graph = false;
  const Result with = train(run);
  expect_same(with, train(plain));
  EXPECT_EQ(with.replays, 0);
  EXPECT_EQ(with.said, "note: without a graph: cannot be recorded: a value is read back to the host\n");
}

TEST_F(CudaStepGraph, GivesItsMemoryBack) {
  const auto before = memory_stats(Device::cuda).live;
  train({.steps = 4});
  EXPECT_EQ(memory_stats(Device::cuda).live, before);
}

TEST_F(CudaStepGraph, OnTheCpuItIsTheStep) {
  DenseNet net({.growth = 4, .init_features = 4, .blocks = {1}, .stem_kernel = 3});
  Sgd optimiser(net.named_parameters());
  testing::internal::CaptureStderr();
  StepGraph graph(net, optimiser, 2, [&](const Tensors& in) {
    const Tensor loss = cross_entropy(net(in[0]), in[1]);
    backward(loss);
    optimiser.step();
    optimiser.zero_grad();
    return loss;
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "note: without a graph: the net is on the CPU\n");
  const Tensor x = to(random({2, 1, 8, 8, 8}, {.dtype = DType::f32}), Device::cpu), y = from_values<std::int64_t>({0, 1}, {2});
  EXPECT_EQ(graph.random_step(), nullptr);
  const double first = graph.run({x, y}, 0).item(), second = graph.run({x, y}, 1).item();
  EXPECT_LT(second, first);
  EXPECT_EQ(optimiser.steps(), 2);
}

}  // namespace
