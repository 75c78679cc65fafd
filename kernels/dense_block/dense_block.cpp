// SPDX-License-Identifier: Apache-2.0
#include "kernels/dense_block/dense_block.h"

#include <algorithm>

#include "core/autograd.h"
#include "kernels/conv/conv.h"
#include "kernels/dense_block/fused.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

using dense::Layers;

// ---- the definition in other ops ----------------------------------------------------------------

Tensor composed(Tensor x, const Layers& layers, const DenseBlockOptions& o) {
  const int rank = x.rank() - 2;
  const auto norm = [&](const Tensor& t, const DenseNormTensors& n) {
    return batch_norm(t, n.weight, n.bias, n.running_mean, n.running_var,
                      {.training = o.training,
                       .momentum = o.momentum,
                       .eps = o.eps,
                       .activation = o.slope == 0 ? Activation::relu : Activation::leaky_relu,
                       .slope = o.slope,
                       .ranks = o.ranks});
  };
  for (const auto& l : layers) {
    const Tensor z = conv(norm(x, l.norm1), l.conv1, ConvSpec::make(rank));
    x = cat({x, conv(norm(z, l.norm2), l.conv2, ConvSpec::make(rank, 1, 1))});
  }
  return x;
}

/// What a gradient is wanted for, in a row: x, then six tensors per layer.
Tensors inputs_of(const Tensor& x, const Layers& layers) {
  Tensors all{x};
  for (const auto& l : layers)
    all.insert(all.end(), {l.norm1.weight, l.norm1.bias, l.conv1, l.norm2.weight, l.norm2.bias, l.conv2});
  return all;
}
/// The same layers made of other tensors. A replay must not count the batch twice in the running statistics.
Layers layers_of(const Tensors& inputs, Layers layers, bool training) {
  auto next = inputs.begin() + 1;
  for (auto& l : layers) {
    for (Tensor* t : {&l.norm1.weight, &l.norm1.bias, &l.conv1, &l.norm2.weight, &l.norm2.bias, &l.conv2}) *t = *next++;
    if (training) l.norm1.running_mean = l.norm1.running_var = l.norm2.running_mean = l.norm2.running_var = Tensor();
  }
  return layers;
}

void check_shapes(const Tensor& x, const Layers& layers) {
  check(!layers.empty(), "dense_block: no layers");
  check(x.rank() == 4 || x.rank() == 5, "dense_block: x has shape ", x.shape(), ", expected [N,C,(D,)H,W]");
  const std::int64_t growth = layers.front().conv2.dim(0), mid = layers.front().conv1.dim(0);
  std::int64_t channels = x.dim(1);
  for (std::size_t i = 0; i < layers.size(); ++i, channels += growth) {
    const auto& l = layers[i];
    Shape one{mid, channels}, three{growth, mid};
    for (int k = 2; k < x.rank(); ++k) {
      one.push_back(1);
      three.push_back(3);
    }
    check(l.conv1.shape() == one, "dense_block: conv1 of layer ", i + 1, " is ", l.conv1.shape(), ", expected ", one);
    check(l.conv2.shape() == three, "dense_block: conv2 of layer ", i + 1, " is ", l.conv2.shape(), ", expected ", three);
    for (const auto& [norm, size] : {std::pair{&l.norm1, channels}, std::pair{&l.norm2, mid}})
      for (const Tensor* t : {&norm->weight, &norm->bias, &norm->running_mean, &norm->running_var})
        check(t->defined() && t->shape() == Shape{size}, "dense_block: a norm of layer ", i + 1, " has ",
              t->defined() ? t->shape() : Shape{}, ", expected ", Shape{size});
  }
}

const dense::Fused* fused_for(const Tensor& x, const Layers& layers, const DenseBlockOptions& o) {
  if (x.size() == 0 || (o.ranks && x.device() != Device::cpu) || !dispatch::allowed("dense_block", "fused")) return nullptr;
  const dense::Fused* found = x.dtype() == DType::bf16 ? &dense::fused_cpu_bf16 : &dense::fused_cpu;
#if CUBOID_CUDA
  if (x.device() == Device::cuda) found = &dense::fused_cuda;
#endif
  for (const auto& l : layers)
    for (const Tensor* t : {&l.conv1, &l.conv2, &l.norm1.weight, &l.norm1.bias, &l.norm1.running_mean, &l.norm1.running_var,
                            &l.norm2.weight, &l.norm2.bias, &l.norm2.running_mean, &l.norm2.running_var})
      if (t->device() != x.device() || !t->is(Layout::contiguous)) return nullptr;
  return found->device == x.device() && found->fits(x, layers) ? found : nullptr;
}

}  // namespace

dense::Geometry dense::geometry_of(const Tensor& x, const Layers& layers) {
  const bool flat = x.rank() == 4;
  return {.n = x.dim(0),
          .d = flat ? 1 : x.dim(2),
          .h = x.dim(-2),
          .w = x.dim(-1),
          .first = x.dim(1),
          .growth = layers.front().conv2.dim(0),
          .mid = layers.front().conv1.dim(0),
          .layers = static_cast<std::int64_t>(layers.size()),
          .depth_taps = flat ? 1 : 3};
}

Tensor dense_block(const Tensor& x, const Layers& layers, const DenseBlockOptions& o) {
  check_shapes(x, layers);
  const dense::Fused* fused = fused_for(x, layers, o);
  if (!fused) return composed(x, layers, o);
  const Tensors inputs = inputs_of(x, layers);
  const bool keep = recording() && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& t) { return t.requires_grad(); });
  std::shared_ptr<const void> kept;
  Tensor slab;
  {
    const Recording off(false);
    slab = fused->forward(x, layers, o, keep ? &kept : nullptr);
  }
  if (!keep) return slab;
  return record(
      "dense_block", slab, inputs,
      [=](const Tensor& g, const Step& step) {
        if (recording())
          return replay([&](const Tensors& in) { return composed(in[0], layers_of(in, layers, o.training), o); }, inputs, g);
        return fused->backward(kept.get(), inputs, step.output(), g, o);
      },
      Keep::output);
}

}  // namespace cuboid
