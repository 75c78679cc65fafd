// SPDX-License-Identifier: Apache-2.0
// Arithmetic, activations, reductions, views, products and losses.
#include "kernels/conv/matmul.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"
#include "layers/loss.h"
#include "tests/torch_parity/parity.h"

using namespace cuboid;
using namespace cuboid::test;
using TorchTensors = std::vector<torch::Tensor>;

namespace {

/// Rank 1 to 5, sizes 1 to 6.
Shape any_shape(test::Random& r) {
  Shape shape;
  for (auto rank = r.integer(1, 5); rank > 0; --rank) shape.push_back(r.integer(1, 6));
  return shape;
}

/// A shape that broadcasts against `shape`: some sizes 1, some leading ones left out.
Shape broadcastable(test::Random& r, const Shape& shape) {
  Shape other;
  for (int i = static_cast<int>(r.integer(0, shape.rank() - 1)); i < shape.rank(); ++i)
    other.push_back(r.integer(0, 2) ? shape[i] : 1);
  return other;
}

TEST(Parity, Arithmetic) {
  repeat(8, [](test::Random& r) {
    const Shape a = any_shape(r), b = broadcastable(r, a);
    expect_parity(
        "add", [](auto& x) { return x[0] + x[1]; }, [](auto& x) { return x[0] + x[1]; }, {a, b});
    expect_parity(
        "subtract", [](auto& x) { return x[1] - x[0]; }, [](auto& x) { return x[1] - x[0]; }, {a, b});
    expect_parity(
        "multiply", [](auto& x) { return x[0] * x[1]; }, [](auto& x) { return x[0] * x[1]; }, {a, b});
    expect_parity(
        "divide", [](auto& x) { return x[0] / x[1]; }, [](auto& x) { return x[0] / x[1]; }, {a, b}, {.lo = 0.5, .hi = 2});
    expect_parity(
        "scalars", [](auto& x) { return 2.0 - (x[0] * 3.0 + 1.0) / 4.0; }, [](auto& x) { return 2.0 - (x[0] * 3.0 + 1.0) / 4.0; },
        {a});
    expect_parity(
        "divide scalar", [](auto& x) { return 1.0 / x[0] - 2.0; }, [](auto& x) { return 1.0 / x[0] - 2.0; }, {a}, {.lo = 0.5});
  });
}

TEST(Parity, Functions) {
  struct Function {
    const char* name;
    Tensor (*ours)(const Tensor&);
    torch::Tensor (*theirs)(const torch::Tensor&);
    double lo = -3;
  };
  const Function functions[] = {
      {"negative", [](const Tensor& x) { return -x; }, [](const torch::Tensor& x) { return -x; }},
      {"exp", [](const Tensor& x) { return exp(x); }, [](const torch::Tensor& x) { return x.exp(); }},
      {"log", [](const Tensor& x) { return log(x); }, [](const torch::Tensor& x) { return x.log(); }, 0.1},
      {"sqrt", [](const Tensor& x) { return sqrt(x); }, [](const torch::Tensor& x) { return x.sqrt(); }, 0.1},
      {"rsqrt", [](const Tensor& x) { return rsqrt(x); }, [](const torch::Tensor& x) { return x.rsqrt(); }, 0.1},
      {"square", [](const Tensor& x) { return square(x); }, [](const torch::Tensor& x) { return x.square(); }},
      {"pow", [](const Tensor& x) { return pow(x, 2.5); }, [](const torch::Tensor& x) { return x.pow(2.5); }, 0.1},
      {"abs", [](const Tensor& x) { return abs(x); }, [](const torch::Tensor& x) { return x.abs(); }},
      {"clamp", [](const Tensor& x) { return clamp(x, -1, 1.5); }, [](const torch::Tensor& x) { return x.clamp(-1, 1.5); }},
      {"relu", [](const Tensor& x) { return relu(x); }, [](const torch::Tensor& x) { return torch::relu(x); }},
      {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); },
       [](const torch::Tensor& x) { return torch::leaky_relu(x, 0.2); }},
      {"silu", [](const Tensor& x) { return silu(x); }, [](const torch::Tensor& x) { return torch::silu(x); }},
      {"sigmoid", [](const Tensor& x) { return sigmoid(x); }, [](const torch::Tensor& x) { return torch::sigmoid(x); }},
      {"softplus", [](const Tensor& x) { return softplus(x); }, [](const torch::Tensor& x) { return torch::softplus(x); }},
      {"tanh", [](const Tensor& x) { return tanh(x); }, [](const torch::Tensor& x) { return torch::tanh(x); }},
  };
  for (const Function& f : functions)
    repeat(3, [&](test::Random& r) {
      expect_parity(
          f.name, [&](const Tensors& x) { return f.ours(x[0]); }, [&](const TorchTensors& x) { return f.theirs(x[0]); },
          {any_shape(r)}, {.lo = f.lo, .hi = 3});
    });
}

TEST(Parity, Reductions) {
  repeat(8, [](test::Random& r) {
    const Shape shape = any_shape(r);
    Shape axes;
    std::vector<std::int64_t> torch_axes;
    for (int i = 0; i < shape.rank(); ++i)
      if (r.integer(0, 1)) {
        axes.push_back(i);
        torch_axes.push_back(i);
      }
    const bool keep = r.integer(0, 1);
    if (axes.empty()) {
      expect_parity(
          "sum", [](auto& x) { return sum(x[0]); }, [](auto& x) { return x[0].sum(); }, {shape});
      expect_parity(
          "mean", [](auto& x) { return mean(x[0]); }, [](auto& x) { return x[0].mean(); }, {shape});
      expect_parity(
          "max", [](auto& x) { return max(x[0]); }, [](auto& x) { return x[0].max(); }, {shape});
    } else {
      expect_parity(
          "sum", [&](auto& x) { return sum(x[0], axes, keep); }, [&](auto& x) { return x[0].sum(torch_axes, keep); }, {shape});
      expect_parity(
          "mean", [&](auto& x) { return mean(x[0], axes, keep); }, [&](auto& x) { return x[0].mean(torch_axes, keep); }, {shape});
      expect_parity(
          "max", [&](auto& x) { return max(x[0], axes, keep); }, [&](auto& x) { return x[0].amax(torch_axes, keep); }, {shape});
    }
    const int axis = static_cast<int>(r.integer(0, shape.rank() - 1));
    expect_parity(
        "softmax", [=](auto& x) { return softmax(x[0], axis); }, [=](auto& x) { return torch::softmax(x[0], axis); }, {shape});
    expect_parity(
        "log_softmax", [=](auto& x) { return log_softmax(x[0], axis); }, [=](auto& x) { return torch::log_softmax(x[0], axis); },
        {shape});
    const Shape small = broadcastable(r, shape);
    const std::vector<std::int64_t> sizes(shape.begin(), shape.end());
    expect_parity(
        "expand", [=](auto& x) { return expand(x[0], shape); }, [=](auto& x) { return x[0].expand(sizes); }, {small});
  });
}

TEST(Parity, Views) {
  repeat(6, [](test::Random& r) {
    const Shape shape = any_shape(r);
    const int rank = shape.rank(), axis = static_cast<int>(r.integer(0, rank - 1));
    Shape order, lo, hi, axes, other = shape;
    std::vector<std::int64_t> torch_order, torch_pads, torch_axes;
    for (int i = 0; i < rank; ++i) order.push_back((i + axis) % rank), torch_order.push_back((i + axis) % rank);
    for (int i = 0; i < rank; ++i) lo.push_back(r.integer(0, 2)), hi.push_back(r.integer(0, 2));
    for (int i = rank - 1; i >= 0; --i) torch_pads.push_back(lo[i]), torch_pads.push_back(hi[i]);  // last dimension first
    for (int i = 0; i < rank; ++i)
      if (r.integer(0, 1) || i == axis) axes.push_back(i), torch_axes.push_back(i);
    other[axis] = r.integer(1, 4);
    const std::int64_t start = r.integer(0, shape[axis] - 1), step = r.integer(1, 2);
    const std::int64_t length = (shape[axis] - start + step - 1) / step;

    expect_parity(
        "permute", [&](auto& x) { return permute(x[0], order); }, [&](auto& x) { return x[0].permute(torch_order); }, {shape});
    expect_parity(
        "reshape", [](auto& x) { return reshape(x[0], {-1}); }, [](auto& x) { return x[0].reshape({-1}); }, {shape});
    expect_parity(
        "transpose", [&](auto& x) { return transpose(x[0], 0, axis); }, [&](auto& x) { return x[0].transpose(0, axis); },
        {shape});
    expect_parity(
        "flip", [&](auto& x) { return flip(x[0], axes); }, [&](auto& x) { return x[0].flip(torch_axes); }, {shape});
    expect_parity(
        "pad", [&](auto& x) { return pad(x[0], lo, hi, 1.5); },
        [&](auto& x) { return torch::constant_pad_nd(x[0], torch_pads, 1.5); }, {shape});
    expect_parity(
        "slice", [&](auto& x) { return slice(x[0], axis, start, length, step); },
        [&](auto& x) { return x[0].slice(axis, start, c10::nullopt, step); }, {shape});
    expect_parity(
        "select", [&](auto& x) { return select(x[0], axis, start); }, [&](auto& x) { return x[0].select(axis, start); }, {shape});
    expect_parity(
        "cat",
        [&](auto& x) {
          return cat({x[0], x[1], x[0]}, axis);
        },
        [&](auto& x) {
          return torch::cat({x[0], x[1], x[0]}, axis);
        },
        {shape, other});
    expect_parity(
        "to_layout", [](auto& x) { return to_layout(x[0], Layout::channels_last) * 2.0; }, [](auto& x) { return x[0] * 2.0; },
        {shape});
    expect_parity(
        "cast", [](auto& x) { return cast(cast(x[0], DType::f32) * 3.0, DType::f64); },
        [](auto& x) { return (x[0].to(torch::kFloat32) * 3.0).to(torch::kFloat64); }, {shape}, {.f64 = 1e-6});
  });
}

TEST(Parity, Products) {
  repeat(6, [](test::Random& r) {
    const std::int64_t b = r.integer(1, 3), m = r.integer(1, 20), k = r.integer(1, 33), n = r.integer(1, 17);
    const auto ours = [](const Tensors& x) { return matmul(x[0], x[1]); };
    const auto theirs = [](const TorchTensors& x) { return torch::matmul(x[0], x[1]); };
    expect_parity("matmul", ours, theirs, {{m, k}, {k, n}});
    expect_parity("matmul", ours, theirs, {{b, m, k}, {b, k, n}});
    expect_parity(
        "matmul transposed", [](auto& x) { return matmul(transpose(x[0], 0, 1), transpose(x[1], 0, 1)); },
        [](auto& x) { return torch::matmul(x[0].t(), x[1].t()); }, {{k, m}, {n, k}});
    expect_parity(
        "linear", [](auto& x) { return linear(x[0], x[1], x[2]); }, [](auto& x) { return torch::linear(x[0], x[1], x[2]); },
        {{m, k}, {n, k}, {n}});
  });
}

TEST(Parity, Losses) {
  namespace F = torch::nn::functional;
  repeat(4, [](test::Random& r) {
    const std::int64_t n = r.integer(1, 9), c = r.integer(2, 7);
    std::vector<std::int64_t> classes;
    for (std::int64_t i = 0; i < n; ++i) classes.push_back(r.integer(0, c - 1));
    const Tensor labels = from_values(classes, {n}), weights = random({c}, {.lo = 0.5, .hi = 2});
    for (const double smoothing : {0.0, 0.15})
      expect_parity(
          "cross_entropy",
          [&](auto& x) { return cross_entropy(x[0], labels, {.class_weights = weights, .label_smoothing = smoothing}); },
          [&](auto& x) {
            return F::cross_entropy(
                x[0], to_torch(labels),
                F::CrossEntropyFuncOptions().weight(to_torch(weights).to(x[0].scalar_type())).label_smoothing(smoothing));
          },
          {{n, c}});
    const Tensor targets = random({n, c}, {.seed = 3, .lo = 0});
    expect_parity(
        "bce_with_logits", [&](auto& x) { return bce_with_logits(x[0], targets, {.positive_weight = weights}); },
        [&](auto& x) {
          const auto type = x[0].scalar_type();
          return F::binary_cross_entropy_with_logits(
              x[0], to_torch(targets).to(type),
              F::BinaryCrossEntropyWithLogitsFuncOptions().pos_weight(to_torch(weights).to(type)));
        },
        {{n, c}});
    expect_parity(
        "mse", [&](auto& x) { return mse(x[0], targets); },
        [&](auto& x) { return F::mse_loss(x[0], to_torch(targets).to(x[0].scalar_type())); }, {{n, c}});
  });
}

}  // namespace
