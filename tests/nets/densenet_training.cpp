// SPDX-License-Identifier: Apache-2.0
// DenseNet as a function: fused against composed, gradients for Grad-CAM, dropout, mixed precision, learning by heart.
#include "core/parallel.h"
#include "kernels/pointwise/pointwise.h"
#include "layers/loss.h"
#include "layers/precision.h"
#include "nets/densenet.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

DenseNetOptions tiny(int dims = 3) {
  return {.dims = dims,
          .growth = 8,
          .bn_size = 2,
          .init_features = 8,
          .blocks = {2, 2},
          .stem_kernel = 3,
          .stem_pool = false,
          .activation = Activation::leaky_relu,
          .seed = 5};
}

double largest(const Tensor& t) {
  double found = 0;
  for (const double v : t.to_vector()) found = std::max(found, std::abs(v));
  return found;
}

/// max |a - b| over the largest |b|, or over `scale` where that is greater.
double distance(const Tensor& a, const Tensor& b, double scale = 1e-30) {
  const auto x = a.to_vector(), y = b.to_vector();
  double difference = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference = std::max(difference, std::abs(x[i] - y[i]));
    scale = std::max(scale, std::abs(y[i]));
  }
  return difference / scale;
}

/// Nets this small are faster on one thread than the others are awake, above all on a busy machine.
struct TinyNet : ::testing::Test {
  const int before = thread_count();
  TinyNet() { set_thread_count(1); }
  ~TinyNet() override { set_thread_count(before); }
};

TEST_F(TinyNet, FusedEqualsComposed) {
  for (int dims : {2, 3})
    for (const bool training : {true, false}) {
      DenseNetOptions o = tiny(dims);  // the fused kernels want multiples of 32 channels everywhere
      o.growth = o.init_features = 32;
      o.bn_size = 1;
      o.blocks = {3, 2};
      DenseNet fused(o);
      o.fused = false;
      DenseNet composed(o);
      for (DenseNet* net : {&fused, &composed}) {
        net->to(test_device());
        net->train(training);
      }
      Shape shape{3, 1};
      for (int i = 0; i < dims; ++i) shape.push_back(16);
      const Tensor x = random(shape, {.dtype = DType::f32}), seed = random({3, 2}, {.seed = 2, .dtype = DType::f32});
      const Tensor a = fused(x), b = composed(x);
      EXPECT_LT(distance(a, b), 1e-5);
      const Tensors ga = grad(a, fused.parameters(), {.seed = seed}), gb = grad(b, composed.parameters(), {.seed = seed});
      const NamedTensors named = fused.named_parameters();
      double scale = 0;  // a weight before another norm has a gradient of 0 but for rounding
      for (const auto& g : gb) scale = std::max(scale, 1e-3 * largest(g));
      for (std::size_t i = 0; i < ga.size(); ++i) EXPECT_LT(distance(ga[i], gb[i], scale), 2e-4) << named[i].first;
      const NamedTensors state_a = fused.state_dict(), state_b = composed.state_dict();
      for (std::size_t i = 0; i < state_a.size(); ++i)
        EXPECT_LT(distance(state_a[i].second, state_b[i].second), 1e-5) << state_a[i].first;
    }
}

TEST_F(TinyNet, GradientOfAnActivation) {
  DenseNet net(tiny());
  net.to(test_device());
  net.eval();
  Activations keep{{"norm5", {}}, {"denseblock1", {}}};
  const Tensor logits = net.classify(net.forward_features(random({1, 1, 16, 16, 16}, {.dtype = DType::f32}), &keep));
  const Tensor score = values<float>({0, 1}, {1, 2});
  const Tensors g = grad(logits, {keep.at("norm5"), keep.at("denseblock1")}, {.seed = score, .stop_at_inputs = false});
  EXPECT_EQ(g[0].shape(), keep.at("norm5").shape());
  // Behind norm5 there are only the mean and the linear layer: the gradient is weight / voxels.
  const double voxels = static_cast<double>(g[0].size() / g[0].dim(1));
  EXPECT_NEAR(g[0].to_vector()[0] * voxels, net.classifier.weight.to_vector()[static_cast<std::size_t>(g[0].dim(1))], 1e-6);
  EXPECT_GT(largest(g[1]), 0);
}

TEST_F(TinyNet, DropoutActsInTrainingOnly) {
  DenseNetOptions o = tiny();
  o.dropout = 0.3;
  DenseNet net(o);
  net.to(test_device());
  const Tensor x = random({2, 1, 16, 16, 16}, {.dtype = DType::f32});
  set_random_step(net, 1, 0);
  const auto first = net(x).to_vector();
  EXPECT_EQ(net(x).to_vector(), first);
  set_random_step(net, 1, 1);
  EXPECT_NE(net(x).to_vector(), first);
  net.eval();
  EXPECT_TRUE(equal(net(x), net(x)));
}

TEST_F(TinyNet, MixedPrecisionStaysClose) {
  DenseNet net(tiny());
  net.to(test_device());
  const Tensor x = random({4, 1, 16, 16, 16}, {.dtype = DType::f32}), y = values<std::int64_t>({0, 1, 1, 0}, {4});
  const Tensor plain = cross_entropy(net(x), y);
  Tensor mixed;
  {
    const ComputeIn scope(DType::bf16);
    mixed = cross_entropy(net(x), y);
  }
  EXPECT_EQ(mixed.dtype(), DType::f32);
  EXPECT_NEAR(mixed.item(), plain.item(), 0.03 * plain.item());
  const Tensors a = grad(plain, net.parameters()), b = grad(mixed, net.parameters());
  double dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(b[i].dtype(), DType::f32);
    const auto u = a[i].to_vector(), v = b[i].to_vector();
    for (std::size_t k = 0; k < u.size(); ++k) dot += u[k] * v[k], aa += u[k] * u[k], bb += v[k] * v[k];
  }
  EXPECT_GT(dot / std::sqrt(aa * bb), 0.97) << "cosine of the two gradients";
}

TEST_F(TinyNet, DoesNotDependOnThreads) {
  for (const bool fused : {true, false}) {
    DenseNetOptions o = tiny();
    o.growth = o.init_features = 32;
    o.bn_size = 1;
    o.fused = fused;
    const Tensor x = random({3, 1, 24, 24, 24}, {.dtype = DType::f32}), y = values<std::int64_t>({0, 1, 1}, {3});
    std::vector<std::vector<double>> results[2];
    for (const int threads : {1, 3}) {
      set_thread_count(threads);
      DenseNet net(o);
      net.to(test_device());
      const Tensor loss = cross_entropy(net(x), y);
      auto& result = results[threads == 3];
      result.push_back(loss.to_vector());
      for (const auto& g : grad(loss, net.parameters())) result.push_back(g.to_vector());
      for (const auto& [name, t] : net.state_dict()) result.push_back(t.to_vector());
    }
    EXPECT_EQ(results[0], results[1]) << (fused ? "fused" : "composed");
  }
}

// The emulated device is slow: there it need not finish.
TEST_F(TinyNet, LearnsEightSamplesByHeart) {
  const bool quick = test_device() == Device::cpu;
  DenseNet net(tiny());
  net.to(test_device());
  const Tensor x = random({8, 1, 12, 12, 12}, {.dtype = DType::f32}), y = values<std::int64_t>({0, 1, 1, 0, 1, 0, 0, 1}, {8});
  const double first = cross_entropy(net(x), y).item();
  double loss = first;
  for (int step = 0; step < (quick ? 100 : 12) && loss > 0.01; ++step) {
    const Tensor now = cross_entropy(net(x), y);
    loss = now.item();
    const Tensors parameters = net.parameters();
    const Tensors g = grad(now, parameters);
    for (std::size_t i = 0; i < g.size(); ++i) add_into(parameters[i].detach(), g[i] * -0.3);
  }
  EXPECT_GT(first, 0.5);
  EXPECT_LT(loss, quick ? 0.02 : 0.5 * first);
}

}  // namespace
