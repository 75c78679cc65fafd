// SPDX-License-Identifier: Apache-2.0
#include "bench/elements.h"

#include "core/autograd.h"
#include "kernels/conv/matmul.h"
#include "kernels/dispatch.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"

namespace bench {
namespace {

ConvCase flat(const char* net, std::int64_t batch, std::int64_t channels, std::int64_t filters, std::int64_t side,
              std::int64_t kernel, std::int64_t stride = 1, std::int64_t groups = 1) {
  ConvCase c{{batch, channels, 1, side, side}, {filters, channels / groups, 1, kernel, kernel}, ConvSpec::make(3, stride)};
  c.spec.stride[0] = 1;
  c.spec.pad_lo[1] = c.spec.pad_lo[2] = c.spec.pad_hi[1] = c.spec.pad_hi[2] = kernel / 2;
  c.spec.groups = groups;
  c.layers[net] = 1;
  return c;
}

/// One op as a case: its rows by name, on data made when it is its turn.
struct Kind {
  std::string op;                 // as the tables call it
  std::vector<std::string> rows;  // besides the reference
  double flops_each, bytes_each;  // per element
};

std::vector<Candidate> forced(const Kind& k, const OpOptions& o, const std::function<Tensor()>& call) {
  std::vector<std::string> rows = k.rows;
  if (o.with_reference) rows.insert(rows.begin(), "reference");
  std::vector<Candidate> all;
  for (const std::string& row : rows)
    all.push_back({row, [=, force = k.op + "=" + row] {
                     const dispatch::Forced scope(force);
                     const Recording off(false);
                     return call();
                   }});
  return all;
}

Tensor noise(const Shape& shape, DType dtype, std::uint64_t stream) {
  const Tensor x = empty(shape, {.dtype = dtype, .layout = shape.rank() == 5 ? Layout::channels_last : Layout::contiguous});
  copy(uniform(shape, {.seed = 1, .stream = stream}, -1, 1), x);
  return x;
}

}  // namespace

std::vector<ConvCase> flat_convolutions() {
  return {
      flat("efficientnet_b5", 8, 3, 48, 456, 3, 2),
      flat("efficientnet_b5", 8, 48, 48, 228, 3, 1, 48),
      flat("efficientnet_b5", 8, 144, 144, 228, 3, 2, 144),
      flat("efficientnet_b5", 8, 240, 240, 114, 3, 1, 240),
      flat("efficientnet_b5", 8, 384, 384, 57, 5, 1, 384),
      flat("efficientnet_b5", 8, 1056, 1056, 29, 5, 1, 1056),
      flat("efficientnet_b5", 8, 1824, 1824, 15, 5, 1, 1824),
      flat("efficientnet_b5", 8, 240, 40, 114, 1),
      flat("efficientnet_b5", 8, 176, 1056, 29, 1),
      flat("efficientnet_b5", 8, 1824, 304, 15, 1),
      flat("efficientnet_b5", 8, 512, 2048, 15, 1),
      flat("stylegan2", 4, 512, 512, 4, 3),
      flat("stylegan2", 4, 512, 512, 16, 3),
      flat("stylegan2", 4, 512, 512, 32, 3),
      flat("stylegan2", 4, 512, 256, 64, 3),
      flat("stylegan2", 4, 128, 128, 128, 3),
      flat("stylegan2", 4, 64, 64, 256, 3),
      flat("stylegan2", 4, 64, 128, 256, 3, 2),
      flat("densenet121_2d", 8, 3, 64, 256, 7, 2),
      flat("densenet121_2d", 8, 128, 32, 64, 3),
      flat("densenet121_2d", 8, 256, 128, 64, 1),
      flat("densenet121_2d", 8, 128, 32, 16, 3),
      flat("densenet121_2d", 8, 512, 128, 16, 1),
      flat("densenet121_2d", 8, 1024, 128, 8, 1),
  };
}

std::vector<OpCase> elements(DType dtype, const OpOptions& o) {
  const double size = static_cast<double>(size_of(dtype));
  const Shape shape = o.tiny ? Shape{1, 8, 4, 4, 4} : Shape{8, 64, 32, 32, 32};
  const double count = static_cast<double>(shape.count());
  const std::string name = join_text("b", shape[0], "_c", shape[1], "_s", shape[2]);
  std::vector<OpCase> all;
  const auto add = [&](const Kind& k, const std::string& label, const std::string& sizes, double elements,
                       const std::function<std::function<Tensor()>()>& prepare) {
    all.push_back(
        {label, sizes, dtype, {k.flops_each * elements, k.bytes_each * elements}, [=] { return forced(k, o, prepare()); }});
  };
  const auto one = [&](const Kind& k, const std::string& label, const std::function<Tensor(const Tensor&)>& f) {
    add(k, label, name, count, [=]() -> std::function<Tensor()> {
      const Tensor x = noise(shape, dtype, 1);
      return [=] { return f(x); };
    });
  };
  one({"relu", {"blocks"}, 0, 2 * size}, "relu", [](const Tensor& x) { return relu(x); });
  one({"silu", {"blocks"}, 0, 2 * size}, "silu", [](const Tensor& x) { return silu(x); });
  one({"leaky_relu", {"blocks"}, 0, 2 * size}, "leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); });
  one({"sum", {"chunks"}, 1, size}, "sum_per_channel", [](const Tensor& x) { return sum(x, {0, 2, 3, 4}); });
  one({"max", {"chunks"}, 0, size}, "max", [](const Tensor& x) { return max(x); });
  one({"softmax", {"lines"}, 0, 2 * size}, "softmax_channels", [](const Tensor& x) { return softmax(x, 1); });
  one({"dropout", {"tiled"}, 0, 2 * size}, "dropout", [](const Tensor& x) { return dropout(x, 0.4, {.seed = 3}); });
  one({"norm_statistics", {"rows", "lines"}, 0, 3 * size}, "instance_norm_relu",
      [](const Tensor& x) { return instance_norm(x, {}, {}, 1e-5, Activation::relu); });
  add({"add", {"blocks"}, 1, 3 * size}, "add", name, count, [=]() -> std::function<Tensor()> {
    const Tensor a = noise(shape, dtype, 1), b = noise(shape, dtype, 2);
    return [=] { return a + b; };
  });
  if (dtype != DType::f32) return all;
  add({"random", {"blocks"}, 0, size}, "uniform", name, count,
      [=]() -> std::function<Tensor()> { return [=] { return uniform(shape, {.seed = 5}); }; });
  for (const std::int64_t n :
       o.tiny ? std::vector<std::int64_t>{8} : std::vector<std::int64_t>{512, 2048}) {  // StyleGAN2's mapping: 512
    const std::int64_t m = o.tiny ? 4 : 64;
    const double work = static_cast<double>(m * n * n), operands = static_cast<double>(2 * m * n + n * n);
    add({"matmul", {"onednn"}, 2, 4 * operands / work}, "matmul", join_text("m", m, "_k", n, "_n", n), work,
        [=]() -> std::function<Tensor()> {
          const Tensor a = noise({m, n}, dtype, 1), b = noise({n, n}, dtype, 2);
          return [=] { return matmul(a, b); };
        });
  }
  const std::int64_t rows = o.tiny ? 4 : 4096, classes = 1000;
  add({"cross_entropy", {"reference"}, 0, size}, "cross_entropy", join_text("b", rows, "_c", classes),
      static_cast<double>(rows * classes), [=]() -> std::function<Tensor()> {
        const Tensor logits = noise({rows, classes}, dtype, 1), labels = zeros({rows}, {.dtype = DType::i64});
        return [=] { return cross_entropy(logits, labels); };
      });
  return all;
}

}  // namespace bench
