// SPDX-License-Identifier: Apache-2.0
#include "kernels/dense_block/dense_block.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/parallel.h"
#include "kernels/conv/conv.h"
#include "kernels/dense_block/block.h"
#include "kernels/dispatch.h"
#include "kernels/norm/norm.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

using dense::Geometry;
using Layers = std::vector<DenseLayerTensors>;

// ---- the definition in other ops ----------------------------------------------------------------

Tensor composed(Tensor x, const Layers& layers, const DenseBlockOptions& o) {
  const int rank = x.rank() - 2;
  const auto norm = [&](const Tensor& t, const DenseNormTensors& n) {
    return batch_norm(t, n.weight, n.bias, n.running_mean, n.running_var,
                      {.training = o.training,
                       .momentum = o.momentum,
                       .eps = o.eps,
                       .activation = o.slope == 0 ? Activation::relu : Activation::leaky_relu,
                       .slope = o.slope});
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

// ---- the fused kernels --------------------------------------------------------------------------

Geometry geometry_of(const Tensor& x, const Layers& layers) {
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

bool fused_fits(const Tensor& x, const Layers& layers) {
  const Geometry g = geometry_of(x, layers);
  for (const std::int64_t c : {g.first, g.growth, g.mid})
    if (c % dense::panel_width != 0) return false;
  const auto plain = [](const Tensor& t) {
    return t.dtype() == DType::f32 && t.device() == Device::cpu && t.is(Layout::contiguous);
  };
  for (const auto& l : layers) {
    for (const auto* n : {&l.norm1, &l.norm2})
      if (!plain(n->weight) || !plain(n->bias) || !plain(n->running_mean) || !plain(n->running_var)) return false;
    if (!plain(l.conv1) || !plain(l.conv2)) return false;
  }
  return x.dtype() == DType::f32 && x.device() == Device::cpu && x.size() > 0;
}

/// What the backward pass needs beside the slab, which is the op's output.
struct Saved {
  Geometry geometry;
  std::vector<dense::Layer> layers;
  Tensors z;
};

dense::Norm norm_from(const DenseNormTensors& n, double eps) {
  dense::Norm norm{n.weight.data<float>(), n.bias.data<float>(), {}, {}, {}, {}};
  const float *mean = n.running_mean.data<float>(), *var = n.running_var.data<float>();
  for (std::int64_t c = 0; c < n.weight.size(); ++c) {
    norm.mean.push_back(mean[c]);
    norm.rstd.push_back(static_cast<float>(1 / std::sqrt(static_cast<double>(var[c]) + eps)));
  }
  norm.fold();
  return norm;
}

/// Statistics of the slab's channels, in f64, as they are made.
struct ChannelStatistics {
  std::vector<double> mean, var;
  void append(const dense::Moments& m, std::int64_t channels) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      mean.push_back(m.mean(c));
      var.push_back(m.variance(c));
    }
  }
};

/// The first channels of `s`; the running statistics take the unbiased variance.
dense::Norm norm_from(const DenseNormTensors& n, const ChannelStatistics& s, double count, const DenseBlockOptions& o) {
  dense::Norm norm{n.weight.data<float>(), n.bias.data<float>(), {}, {}, {}, {}};
  float *mean = n.running_mean.mutable_data<float>(), *var = n.running_var.mutable_data<float>();
  const auto move = [&](float& running, double now) {
    running = static_cast<float>((1 - o.momentum) * static_cast<double>(running) + o.momentum * now);
  };
  for (std::size_t c = 0; c < static_cast<std::size_t>(n.weight.size()); ++c) {
    norm.mean.push_back(static_cast<float>(s.mean[c]));
    norm.rstd.push_back(static_cast<float>(1 / std::sqrt(s.var[c] + o.eps)));
    move(mean[c], s.mean[c]);
    move(var[c], s.var[c] * count / std::max(1., count - 1));
  }
  norm.fold();
  return norm;
}

/// x into the first channels of the slab.
void put_first(const Geometry& g, const Tensor& x, const Tensor& slab) {
  if (!x.is(Layout::channels_last)) return copy(x, slice(slab.detach(), 1, 0, g.first));
  const float* from = x.data<float>();
  float* to = slab.mutable_data<float>();
  parallel_ranges(g.voxels(), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + i * g.first, g.first, to + i * g.width());
  });
}

dense::Moments first_moments(const Geometry& g, const float* slab) {
  constexpr std::int64_t rows = 256;
  std::vector<dense::Moments> parts(static_cast<std::size_t>((g.voxels() + rows - 1) / rows), dense::Moments(g.first));
  parallel_ranges(g.voxels(), rows, [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / rows)].add(slab + begin * g.width(), end - begin, g.width());
  });
  dense::Moments all(g.first);
  for (const auto& part : parts) all.merge(part);
  return all;
}

Tensor fused_forward(const Tensor& x, const Layers& layers, const DenseBlockOptions& o, bool keep, Saved& saved) {
  const Geometry g = saved.geometry = geometry_of(x, layers);
  Shape shape = x.shape();
  shape[1] = g.width();
  const Tensor slab = empty(shape, {.layout = Layout::channels_last});
  put_first(g, x, slab);
  float* data = slab.mutable_data<float>();
  const auto slope = static_cast<float>(o.slope);
  const double count = static_cast<double>(g.voxels());
  ChannelStatistics made;
  if (o.training) made.append(first_moments(g, data), g.first);
  for (std::int64_t i = 0; i < g.layers; ++i) {
    const auto& l = layers[static_cast<std::size_t>(i)];
    if (keep || i == 0) saved.z.push_back(empty({g.voxels(), g.mid}));
    float* z = saved.z.back().mutable_data<float>();
    dense::Layer layer{{}, {}, l.conv1.data<float>(), l.conv2.data<float>()};
    layer.norm1 = o.training ? norm_from(l.norm1, made, count, o) : norm_from(l.norm1, o.eps);
    const dense::Moments of_z = bottleneck(g, i, layer, slope, data, z, o.training);
    ChannelStatistics z_statistics;
    if (o.training) z_statistics.append(of_z, g.mid);
    layer.norm2 = o.training ? norm_from(l.norm2, z_statistics, count, o) : norm_from(l.norm2, o.eps);
    const dense::Moments of_new = new_features(g, i, layer, slope, z, data, o.training);
    if (o.training) made.append(of_new, g.growth);
    if (keep) saved.layers.push_back(std::move(layer));
  }
  return slab;
}

Tensors fused_backward(const Saved& saved, const Tensors& inputs, const Tensor& slab, const Tensor& g,
                       const DenseBlockOptions& o) {
  const Geometry& geometry = saved.geometry;
  const Tensor gradient = empty(slab.shape(), {.layout = Layout::channels_last});
  if (g.is(Layout::channels_last)) {
    const float* from = g.data<float>();
    float* to = gradient.mutable_data<float>();
    parallel_ranges(g.size(), 1 << 16,
                    [&](std::int64_t begin, std::int64_t end) { std::copy(from + begin, from + end, to + begin); });
  } else {
    copy(g, gradient);
  }
  Tensors result{Tensor()};
  std::vector<dense::LayerGradients> out;
  for (std::size_t i = 1; i < inputs.size(); ++i) result.push_back(empty(inputs[i].shape()));
  for (std::size_t i = 1; i < inputs.size(); i += 6) {
    float* p[6];
    for (std::size_t k = 0; k < 6; ++k) p[k] = result[i + k].mutable_data<float>();
    out.push_back({p[0], p[1], p[2], p[3], p[4], p[5]});
  }
  dense::backward(geometry, saved.layers, saved.z, static_cast<float>(o.slope), o.training, slab.data<float>(),
                  gradient.mutable_data<float>(), out);
  result[0] = empty(inputs[0].shape(), {.layout = Layout::channels_last});
  const float* from = gradient.data<float>();
  float* to = result[0].mutable_data<float>();
  parallel_ranges(geometry.voxels(), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + i * geometry.width(), geometry.first, to + i * geometry.first);
  });
  return result;
}

}  // namespace

Tensor dense_block(const Tensor& x, const Layers& layers, const DenseBlockOptions& o) {
  check_shapes(x, layers);
  if (!fused_fits(x, layers) || !dispatch::allowed("dense_block", "fused")) return composed(x, layers, o);
  const Tensors inputs = inputs_of(x, layers);
  const bool keep = recording() && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& t) { return t.requires_grad(); });
  const auto saved = std::make_shared<Saved>();
  Tensor slab;
  {
    const Recording off(false);
    slab = fused_forward(x, layers, o, keep, *saved);
  }
  if (!keep) return slab;
  return record(
      "dense_block", slab, inputs,
      [=](const Tensor& g, const Step& step) {
        if (recording())
          return replay([&](const Tensors& in) { return composed(in[0], layers_of(in, layers, o.training), o); }, inputs, g);
        return fused_backward(*saved, inputs, step.output(), g, o);
      },
      Keep::output);
}

}  // namespace cuboid
