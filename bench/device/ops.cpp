// SPDX-License-Identifier: Apache-2.0
#include "bench/device/ops.h"

#include <array>
#include <cmath>

#include "core/autograd.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/random/random.h"
#include "kernels/resize/resize.h"
#include "kernels/update/update.h"
#include "nets/densenet.h"

namespace bench {
namespace {

double bytes(const Shape& shape, DType dtype) { return static_cast<double>(shape.count() * size_of(dtype)); }

std::string named(const Shape& s) {
  std::string text = join_text("b", s[0], "_c", s[1], "_s", s[2]);
  if (s[2] != s[3] || s[3] != s[4]) text += join_text('x', s[3], 'x', s[4]);
  return text;
}

Tensor noise(const Shape& shape, DType dtype, Device device, std::uint64_t stream, double size = 1,
             Layout layout = Layout::channels_last) {
  const Tensor x = empty(shape, {dtype, device, shape.rank() == 5 ? layout : Layout::contiguous});
  copy(uniform(shape, {.seed = 1, .stream = stream}, -size, size, {.device = device}), x);
  return x;
}

/// `call` under each of these rows for all of these ops. Rows that do not exist or do not fit are left out when they are run.
std::vector<Candidate> forced_rows(const std::vector<std::string>& ops, std::vector<std::string> rows, const OpOptions& o,
                                   const std::function<Tensor()>& call) {
  std::vector<Candidate> all;
  if (o.with_reference || o.check) rows.insert(rows.begin(), "reference");
  for (const std::string& row : rows) {
    std::string force;
    for (const std::string& op : ops) force += (force.empty() ? "" : ",") + op + "=" + row;
    all.push_back({row,
                   [=] {
                     const dispatch::Forced forced(force);
                     return call();
                   },
                   row != "reference" || o.with_reference});
  }
  return all;
}

Tensor gradient(const Tensor& y, const Tensor& x, const Tensor& seed) { return grad(y, {x}, {.seed = seed})[0]; }

/// The op alone, then with its backward pass; `f` maps x to y. Bytes are those of `forward` and `both`.
template <class F>
void both_ways(std::vector<OpCase>& all, const std::string& op, const std::vector<std::string>& ops,
               const std::vector<std::string>& rows, const Shape& shape, DType dtype, double forward, double both,
               const OpOptions& o, const F& f) {
  all.push_back({op + "_fwd", named(shape), dtype, {0, forward}, [=] {
                   const Tensor x = noise(shape, dtype, o.device, 1);
                   return forced_rows(ops, rows, o, [=] {
                     const Recording off(false);
                     return f(x);
                   });
                 }});
  all.push_back({op + "_train", named(shape), dtype, {0, both}, [=] {
                   const Tensor x = noise(shape, dtype, o.device, 1).requires_grad(true);
                   const Tensor seed = noise(f(x).shape(), dtype, o.device, 2);
                   return forced_rows(ops, rows, o, [=] { return gradient(f(x), x, seed); });
                 }});
}

}  // namespace

std::vector<OpCase> norms(DType dtype, const OpOptions& o) {
  std::vector<Shape> shapes{
      {8, 64, 32, 32, 32}, {8, 256, 16, 16, 16}, {8, 512, 8, 8, 8}, {8, 1024, 2, 2, 2}, {2, 64, 128, 128, 64}};
  if (o.tiny) shapes = {{2, 8, 4, 4, 4}};
  std::vector<OpCase> all;
  for (const Shape& shape : shapes) {
    const std::int64_t c = shape[1];
    const Tensor weight = full({c}, 1, {.device = o.device}).requires_grad(true), bias = zeros({c}, {.device = o.device}),
                 mean = zeros({c}, {.device = o.device}), var = full({c}, 1, {.device = o.device});
    const auto norm = [=](const Tensor& x) {
      return batch_norm(x, weight, bias, mean, var, {.training = true, .activation = Activation::relu});
    };
    // Forward reads x twice and writes y; backward reads g and x twice and writes dx.
    const double one = bytes(shape, dtype);
    both_ways(all, "batch_norm_relu", {"norm_statistics", "batch_norm"}, {"rows", "cudnn"}, shape, dtype, 3 * one, 8 * one, o,
              norm);
  }
  return all;
}

std::vector<OpCase> pools(DType dtype, const OpOptions& o) {
  std::vector<OpCase> all;
  const auto add = [&](const std::string& op, const Shape& shape, const PoolSpec& spec, double index) {
    const double in = bytes(shape, dtype), out = bytes(spec.output_shape(shape), dtype);
    const auto pool = [=](const Tensor& x) { return op == "max_pool" ? max_pool(x, spec) : avg_pool(x, spec); };
    both_ways(all, op, {op, op + "_backward"}, {"packets", "rows", "cudnn"}, shape, dtype, in + out * (1 + index),
              2 * (in + out * (1 + index)), o, pool);
  };
  const double index = 4. / static_cast<double>(size_of(dtype));  // a position beside each maximum
  add("max_pool", o.tiny ? Shape{1, 8, 6, 6, 6} : Shape{8, 64, 32, 32, 32}, PoolSpec::make(3, 3, 2, 1), index);
  for (const Shape& shape : o.tiny ? std::vector<Shape>{{1, 8, 4, 4, 4}}
                                   : std::vector<Shape>{{8, 128, 16, 16, 16}, {8, 256, 8, 8, 8}, {8, 128, 32, 32, 32}})
    add("avg_pool", shape, PoolSpec::make(3, 2), 0);
  return all;
}

std::vector<OpCase> resizes(DType dtype, const OpOptions& o) {
  std::vector<OpCase> all;
  for (const Shape& shape :
       o.tiny ? std::vector<Shape>{{1, 8, 3, 3, 3}} : std::vector<Shape>{{2, 64, 64, 64, 32}, {2, 64, 32, 32, 16}}) {
    const Shape size{2 * shape[2], 2 * shape[3], 2 * shape[4]};
    const double one = 9 * bytes(shape, dtype);
    both_ways(all, "resize_linear", {"resize", "resize_backward"}, {"packets", "rows"}, shape, dtype, one, 2 * one, o,
              [=](const Tensor& x) { return resize(x, size, {.mode = Resize::linear, .align_corners = true}); });
  }
  return all;
}

namespace {

struct Block {
  Shape x;
  std::int64_t layers, growth, mid;
};

std::vector<Candidate> block_rows(const Block& b, DType dtype, bool training, Device device) {
  std::uint64_t stream = 0;
  const auto weight = [&](const Shape& shape, std::int64_t fan) {
    return noise(shape, dtype, device, ++stream, std::sqrt(6. / static_cast<double>(fan)), Layout::contiguous)
        .requires_grad(true);
  };
  const auto norm = [&](std::int64_t n) -> DenseNormTensors {
    return {full({n}, 1, {.device = device}).requires_grad(true), zeros({n}, {.device = device}).requires_grad(true),
            zeros({n}, {.device = device}), full({n}, 1, {.device = device})};
  };
  std::vector<DenseLayerTensors> layers;
  Tensors inputs{noise(b.x, dtype, device, ++stream).requires_grad(true)};
  for (std::int64_t i = 0; i < b.layers; ++i) {
    const std::int64_t n = b.x[1] + i * b.growth;
    const Tensor conv1 = weight({b.mid, n, 1, 1, 1}, n), conv2 = weight({b.growth, b.mid, 3, 3, 3}, 27 * b.mid);
    layers.push_back({norm(n), conv1, norm(b.mid), conv2});
    const auto& l = layers.back();
    inputs.insert(inputs.end(), {l.norm1.weight, l.norm1.bias, l.conv1, l.norm2.weight, l.norm2.bias, l.conv2});
  }
  Shape out = b.x;
  out[1] += b.layers * b.growth;
  const Tensor seed = noise(out, dtype, device, ++stream);
  std::vector<Candidate> all;
  for (const char* row : {"composed", "fused"})
    all.push_back({row, [=, force = std::string("dense_block=") + row] {
                     const dispatch::Forced forced(force);
                     const Recording on(training);
                     const Tensor y = dense_block(inputs[0], layers, {.training = training});
                     if (training) grad(y, inputs, {.seed = seed});
                     return y.detach();
                   }});
  return all;
}

}  // namespace

std::vector<OpCase> dense_blocks(DType dtype, const OpOptions& o) {
  std::vector<Block> blocks;
  if (o.tiny) blocks = {{{1, 8, 3, 3, 3}, 2, 8, 16}};
  else
    for (const auto& [channels, side, layers] :
         {std::array<std::int64_t, 3>{64, 16, 6}, {128, 8, 12}, {256, 4, 24}, {512, 2, 16}, {64, 32, 6}, {128, 16, 12}})
      blocks.push_back({{8, channels, side, side, side}, layers, 32, 128});
  std::vector<OpCase> all;
  for (const bool training : {true, false})
    for (const Block& b : blocks) {
      const double voxels = static_cast<double>(b.x.count() / b.x[1]);
      double weights = 0;
      for (std::int64_t i = 0; i < b.layers; ++i)
        weights += static_cast<double>(b.mid * (b.x[1] + i * b.growth) + 27 * b.growth * b.mid);
      const double side = static_cast<double>(b.x[2]), inside = std::pow((3 * side - 2) / (3 * side), 3);  // taps of the 3x3x3
      const double three = static_cast<double>(27 * b.growth * b.mid * b.layers);
      Shape out = b.x;
      out[1] += b.layers * b.growth;
      const Cost cost{(training ? 6 : 2) * voxels * (weights - three + inside * three),
                      (training ? 4 : 1) * (bytes(b.x, dtype) + bytes(out, dtype)) +
                          (training ? 3 : 1) * weights * static_cast<double>(size_of(dtype))};
      all.push_back({training ? "dense_block_train" : "dense_block_infer", named(b.x) + join_text("_l", b.layers), dtype, cost,
                     [=] { return block_rows(b, dtype, training, o.device); },
                     dtype == DType::f32 ? 1e-3 : 5e-2});  // roundings of 16-bit numbers, layer upon layer
    }
  return all;
}

std::vector<OpCase> optimisers(const OpOptions& o) {
  const auto lists = [o](int count) {
    DenseNetOptions net = monai_densenet121();
    if (o.tiny) net.blocks = {1}, net.init_features = net.growth = 8;
    std::vector<Tensors> all(static_cast<std::size_t>(count));
    std::uint64_t stream = 0;
    for (const Tensor& p : DenseNet(net).parameters())
      for (auto& list : all) list.push_back(noise(p.shape(), DType::f32, o.device, ++stream, 1e-3, Layout::contiguous));
    return all;
  };
  double parameters = 0;
  const std::vector<Tensors> sizes = lists(1);
  for (const Tensor& p : sizes[0]) parameters += static_cast<double>(p.size());
  const std::vector<std::string> rows{"chunks", "pieces"};
  OpOptions timed_only = o;
  timed_only.check = false;  // a step changes what the next one starts from
  std::vector<OpCase> all;
  all.push_back({"sgd_momentum", join_text("p", parameters), DType::f32, {4 * parameters, 5 * 4 * parameters}, [=] {
                   const auto l = lists(3);
                   return forced_rows({"sgd"}, rows, timed_only, [=] {
                     sgd_update(l[0], l[1], l[2], {.lr = 1e-3, .momentum = 0.9});
                     return Tensor();
                   });
                 }});
  all.push_back({"adam", join_text("p", parameters), DType::f32, {12 * parameters, 7 * 4 * parameters}, [=] {
                   const auto l = lists(4);
                   for (const Tensor& v : l[3]) fill(v, 1e-6);
                   return forced_rows({"adam"}, rows, timed_only, [=] {
                     adam_update(l[0], l[1], l[2], l[3], {.lr = 1e-3});
                     return Tensor();
                   });
                 }});
  return all;
}

}  // namespace bench
