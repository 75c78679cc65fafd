// SPDX-License-Identifier: Apache-2.0
// Layers as functions: shapes, gradients by their parameters against finite differences, mixed precision.
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// The layer as a function of x and of its parameters, for gradcheck.
template <class Layer>
void check_layer(Layer& layer, const Shape& x_shape, GradcheckOptions options = {}) {
  layer.to(DType::f64);
  layer.to(test_device());
  Tensors inputs{random(x_shape, {.seed = 9})};
  Visitor v;
  std::vector<Tensor*> slots;
  v.tensor = [&](const std::string&, Tensor& t, bool trainable) {
    if (!trainable) return;
    slots.push_back(&t);
    inputs.push_back(random(t.shape(), {.seed = 50 + slots.size(), .lo = 0.5, .hi = 1.5}));
  };
  layer.visit(v);
  gradcheck(
      [&](const Tensors& in) {
        for (std::size_t i = 0; i < slots.size(); ++i) *slots[i] = in[i + 1];
        return layer(in[0]);
      },
      inputs, options);
}

TEST(Layers, Conv) {
  for (int dims = 1; dims <= 3; ++dims) {
    Conv conv(4, 6, {.dims = dims, .kernel = 3, .stride = 2, .pad = 1, .groups = 2});
    conv.to(test_device());
    Shape x{2, 4};
    for (int i = 0; i < dims; ++i) x.push_back(5);
    Shape y{2, 6};
    for (int i = 0; i < dims; ++i) y.push_back(3);
    EXPECT_EQ(conv(random(x, {.dtype = DType::f32})).shape(), y);
    EXPECT_EQ(conv.output_shape(x), y);
    EXPECT_EQ(conv.macs(x), y.count() * 2 * static_cast<std::int64_t>(std::pow(3, dims)));
    check_layer(conv, x, {.coordinates = 8});
  }
  Conv2d plain(3, 2, {.kernel = 1, .bias = false});
  EXPECT_EQ(plain.weight.shape(), (Shape{2, 3, 1, 1}));
  EXPECT_FALSE(plain.bias.defined());
  EXPECT_THROW(Conv(3, 4, {.groups = 2}), Error);
  EXPECT_NE(error_of([&] { plain(zeros({1, 4, 5, 5})); }).find("x has 4 channels"), std::string::npos);
}

TEST(Layers, Linear) {
  Linear linear(4, 3);
  linear.to(test_device());
  EXPECT_EQ(linear(zeros({5, 4}, on_device())).shape(), (Shape{5, 3}));
  check_layer(linear, {5, 4}, {.coordinates = 8});
}

TEST(Layers, Norms) {
  for (const Activation activation : {Activation::none, Activation::leaky_relu}) {
    // A small step stays on one side of the activation's kink.
    const GradcheckOptions options{.rtol = 1e-5, .step = activation == Activation::none ? 1e-3 : 1e-6, .coordinates = 8};
    BatchNorm batch(3, {.activation = activation, .slope = 0.2});
    check_layer(batch, {4, 3, 3, 2}, options);
    batch.eval();
    check_layer(batch, {4, 3, 3, 2}, options);
    InstanceNorm instance(3, {.activation = activation});
    check_layer(instance, {2, 3, 5, 4}, options);
  }
}

TEST(Layers, BatchNormLearnsStatisticsOnlyInTraining) {
  BatchNorm norm(2);
  norm.to(test_device());
  const Tensor x = random({8, 2, 4}, {.dtype = DType::f32, .lo = 3, .hi = 5});
  norm(x);
  const auto mean = norm.running_mean.to_vector(), var = norm.running_var.to_vector();
  EXPECT_NEAR(mean[0], 0.4, 0.05);
  norm.eval();
  norm(x);
  EXPECT_EQ(norm.running_mean.to_vector(), mean);
  EXPECT_EQ(norm.running_var.to_vector(), var);
}

TEST(Layers, DropoutNeedsAKeyAndFollowsIt) {
  struct Two : Module {
    Dropout a{0.5}, b{0.5};
    FIELDS(a, b)
  } net;
  const Tensor x = full({200}, 1, on_device());
  EXPECT_THROW(net.a(x), Error);
  set_random_step(net, 1, 0);
  const auto first = net.a(x).to_vector();
  EXPECT_EQ(net.a(x).to_vector(), first) << "recomputing an activation draws the same mask";
  EXPECT_NE(net.b(x).to_vector(), first);
  set_random_step(net, 1, 1);
  EXPECT_NE(net.a(x).to_vector(), first);
  set_random_step(net, 1, 0);
  EXPECT_EQ(net.a(x).to_vector(), first);
  net.eval();
  EXPECT_EQ(net.a(x).to_vector(), x.to_vector());
  EXPECT_TRUE(net.state_dict().empty());
  EXPECT_THROW(Dropout(1.0), Error);
}

TEST(MixedPrecision, ComputesIn16BitsAndKeepsMastersInF32) {
  const InitScope weights(0);
  Conv3d conv(4, 8, {.pad = 1});
  BatchNorm norm(8, {.activation = Activation::relu});
  Linear head(8, 2);
  conv.to(test_device());
  norm.to(test_device());
  head.to(test_device());
  const Tensor x = random({2, 4, 5, 5, 5}, {.dtype = DType::f32});
  const auto forward = [&] { return head(mean(norm(conv(x)), {2, 3, 4})); };
  const auto tensors = [&] {
    Tensors list = conv.parameters();
    for (const auto& p : norm.parameters()) list.push_back(p);
    for (const auto& p : head.parameters()) list.push_back(p);
    return list;
  };
  const Tensor seed = random({2, 2}, {.seed = 3, .dtype = DType::f32});
  const Tensor plain = forward();
  const Tensors expected = grad(plain, tensors(), {.seed = seed});
  Tensor y;
  {
    const ComputeIn scope(DType::bf16);
    EXPECT_EQ(conv(x).dtype(), DType::bf16);
    EXPECT_EQ(norm(conv(x)).dtype(), DType::bf16);
    y = cast(forward(), DType::f32);
  }
  EXPECT_FALSE(compute_dtype().has_value());
  EXPECT_TRUE(close(y, plain, {3e-2, 3e-2}));
  const Tensors got = grad(y, tensors(), {.seed = seed});
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].dtype(), DType::f32);
    if (i == 1) continue;  // the bias before a norm: its gradient is 0 but for rounding
    const auto a = got[i].to_vector(), b = expected[i].to_vector();
    double difference = 0, size = 0;
    for (std::size_t k = 0; k < a.size(); ++k) difference += (a[k] - b[k]) * (a[k] - b[k]), size += b[k] * b[k];
    EXPECT_LE(std::sqrt(difference / size), 0.05) << i;
  }
  EXPECT_THROW(ComputeIn(DType::i32), Error);
}

}  // namespace
