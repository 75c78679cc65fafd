// SPDX-License-Identifier: Apache-2.0
// A small DenseNet3D learns on the device what it learns on the CPU.
#include "nets/densenet.h"

#include <map>

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "layers/loss.h"
#include "optim/optimiser.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// The loss before each step. Channels in multiples of 8 everywhere, so that the device's fused blocks take it.
std::vector<double> losses(Device device, int steps) {
  DenseNet net({.growth = 8,
                .bn_size = 2,
                .init_features = 16,
                .blocks = {2, 3},
                .stem_kernel = 3,
                .activation = Activation::leaky_relu,
                .seed = 3});
  net.to(device);
  const Tensor x = to(random({6, 1, 16, 16, 16}, {.dtype = DType::f32}), device);
  const Tensor y = to(values<std::int64_t>({0, 1, 1, 0, 1, 0}, {6}), device);
  Sgd optimiser(net.named_parameters(), {.lr = 0.05, .momentum = 0.9});
  std::vector<double> found;
  for (int i = 0; i < steps; ++i) {
    const Tensor loss = cross_entropy(net(x), y);
    found.push_back(loss.item());
    backward(loss);
    optimiser.step();
    optimiser.zero_grad();
  }
  return found;
}

TEST(CudaDenseNet, TheProfileNamesThePassesOfFusedBlocks) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  profiler::enable(true);
  profiler::clear();
  losses(Device::cuda, 1);
  profiler::enable(false);
  std::map<std::string, int> calls;
  for (const auto& e : profiler::events()) {
    EXPECT_GT(e.duration_us, 0) << e.op;
    ++calls[e.op];
  }
  profiler::clear();
  for (const char* pass : {"conv1", "conv2", "conv1_backward", "conv2_backward"})
    EXPECT_EQ(calls[std::string("dense_block.") + pass], 5) << pass;
}

TEST(CudaDenseNet, TwentyStepsAsOnTheCpu) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  constexpr int steps = 20;
  const std::vector<double> there = losses(Device::cuda, steps), here = losses(Device::cpu, steps);
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], 1e-4) << "step " << i;
  EXPECT_LT(here.back(), 0.5 * here.front()) << "it learns";
}

}  // namespace
