// SPDX-License-Identifier: Apache-2.0
// The dense block on the CPU, layer by layer: f32, all channels in multiples of 32.
#include <algorithm>
#include <optional>

#include "core/parallel.h"
#include "core/profiler_memory.h"
#include "kernels/dense_block/block.h"
#include "kernels/dense_block/fused.h"
#include "kernels/dense_block/norm_math.h"
#include "kernels/dense_block/slab.h"
#include "kernels/packed_copies.h"
#include "kernels/views/views.h"

namespace cuboid::dense {
namespace {

bool fits(const Tensor& x, const Layers& layers) { return in_panels(x, layers, DType::f32, panel_width); }

/// What the backward pass needs beside the slab, which is the op's output.
struct Saved {
  Geometry geometry;
  std::vector<Layer> layers;
  Tensors z;
};

Moments first_moments(const Geometry& g, const float* slab) {
  constexpr std::int64_t rows = 256;
  std::vector<Moments> parts(static_cast<std::size_t>((g.voxels() + rows - 1) / rows), Moments(g.first));
  parallel_ranges(g.voxels(), rows, [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / rows)].add(slab + begin * g.width(), end - begin, g.width());
  });
  Moments all(g.first);
  for (const auto& part : parts) all.merge(part);
  return all;
}

/// A layer's weights in the order of the forward passes; copies are kept with weights that are not being trained.
class Packed {
 public:
  Packed(const Geometry& g, std::int64_t index, const DenseLayerTensors& l, bool kept) {
    const auto copy = [&](const Tensor& w, std::int64_t floats, const Order& order, auto&& pack) {
      return PackedCopies::get(kept ? w.storage().get() : nullptr, w.data<float>(), order, [&] {
        const profiler::Span span(Device::cpu, "dense_block.pack", "fused", 0, 8. * static_cast<double>(floats));
        const auto memory = std::make_shared<Scratch<float>>(floats);
        pack(memory->data());
        return std::shared_ptr<const void>(memory, memory->data());
      });
    };
    panels_ = copy(l.conv1, l.conv1.size(), {0}, [&](float* to) { pack_conv1(g, index, l.conv1.data<float>(), to); });
    points_ =
        copy(l.conv2, g.point_floats(), {g.tiling().points()}, [&](float* to) { pack_conv2(g, l.conv2.data<float>(), to); });
  }
  void give(Layer& layer) const {
    layer.panels = static_cast<const float*>(panels_.get());
    layer.points = static_cast<const float*>(points_.get());
  }

 private:
  struct Order {
    std::int64_t points;  // 0: panels
    bool operator==(const Order&) const = default;
  };
  std::shared_ptr<const void> panels_, points_;
};

/// Without batch statistics nothing ties the samples together: as many pass through all layers at a time as fit a cache.
std::int64_t samples_at_a_time(const Geometry& g) {
  constexpr double cache = 16 << 20;
  const auto most =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(cache * static_cast<double>(g.n) / g.bytes(g.width() + g.mid)), 1, g.n);
  const std::int64_t groups = (g.n + most - 1) / most;
  return (g.n + groups - 1) / groups;
}

void infer(const Geometry& g, const Layers& tensors, const DenseBlockOptions& o, float* slab) {
  std::vector<Packed> packed;
  std::vector<Layer> layers;
  for (std::int64_t i = 0; i < g.layers; ++i) {
    const auto& l = tensors[static_cast<std::size_t>(i)];
    packed.emplace_back(g, i, l, true);
    layers.push_back({norm_from(l.norm1, o.eps), norm_from(l.norm2, o.eps), l.conv1.data<float>(), l.conv2.data<float>()});
    packed.back().give(layers.back());
  }
  Geometry part = g;
  part.n = samples_at_a_time(g);
  const Tensor z = empty({part.voxels(), g.mid});
  if (profiler::watches_memory()) profiler::wrote("dense_block.conv1", z.view().data, Device::cpu);
  for (std::int64_t n = 0; n < g.n; n += part.n, slab += part.voxels() * g.width()) {
    part.n = std::min(part.n, g.n - n);
    for (std::int64_t i = 0; i < g.layers; ++i) {
      const Layer& layer = layers[static_cast<std::size_t>(i)];
      bottleneck(part, i, layer, static_cast<float>(o.slope), slab, z.mutable_data<float>(), false);
      new_features(part, i, layer, static_cast<float>(o.slope), z.data<float>(), slab, false);
    }
  }
}

Tensor forward(const Tensor& x, const Layers& layers, const DenseBlockOptions& o, std::shared_ptr<const void>* keep) {
  const auto home = std::make_shared<Saved>();
  Saved& saved = *home;
  const Geometry g = saved.geometry = geometry_of(x, layers);
  Shape shape = x.shape();
  shape[1] = g.width();
  const Tensor slab = empty(shape, {.layout = Layout::channels_last});
  const NormRanks* ranks = o.ranks.get();
  ChannelStatistics made;
  {
    const profiler::Span span(Device::cpu, "dense_block.begin", "fused", o.training ? g.flops_of_moments() : 0,
                              g.bytes((o.training ? 3 : 2) * g.first));
    put_first<float>(g, x, slab);
    if (o.training) made.append(first_moments(g, slab.data<float>()), g.first, ranks);
  }
  float* data = slab.mutable_data<float>();
  if (!keep && !o.training) {
    infer(g, layers, o, data);
    return slab;
  }
  const auto slope = static_cast<float>(o.slope);
  const double count = ranks ? ranks->count(g.n, g.voxels() / g.n) : static_cast<double>(g.voxels());
  for (std::int64_t i = 0; i < g.layers; ++i) {
    const auto& l = layers[static_cast<std::size_t>(i)];
    if (keep || i == 0) {
      saved.z.push_back(empty({g.voxels(), g.mid}));
      if (profiler::watches_memory()) profiler::wrote("dense_block.conv1", saved.z.back().view().data, Device::cpu);
    }
    float* z = saved.z.back().mutable_data<float>();
    Layer layer{{}, {}, l.conv1.data<float>(), l.conv2.data<float>()};
    const Packed packed(g, i, l, false);
    packed.give(layer);
    layer.norm1 = o.training ? norm_from(l.norm1, made, count, o) : norm_from(l.norm1, o.eps);
    const Moments of_z = bottleneck(g, i, layer, slope, data, z, o.training);
    ChannelStatistics z_statistics;
    if (o.training) z_statistics.append(of_z, g.mid, ranks);
    layer.norm2 = o.training ? norm_from(l.norm2, z_statistics, count, o) : norm_from(l.norm2, o.eps);
    const Moments of_new = new_features(g, i, layer, slope, z, data, o.training);
    if (o.training) made.append(of_new, g.growth, ranks);
    if (!keep) continue;
    layer.panels = layer.points = nullptr;  // they go now
    saved.layers.push_back(std::move(layer));
  }
  if (keep) *keep = home;
  return slab;
}

Tensors backward(const void* kept, const Tensors& inputs, const Tensor& slab, const Tensor& g, const DenseBlockOptions& o) {
  const Saved& saved = *static_cast<const Saved*>(kept);
  const Geometry& geometry = saved.geometry;
  const Tensor gradient = empty(slab.shape(), {.layout = Layout::channels_last});
  if (profiler::watches_memory()) profiler::wrote("dense_block.gradient", gradient.view().data, Device::cpu);
  std::optional<profiler::Span> span(std::in_place, Device::cpu, "dense_block.gradient", "fused", 0.,
                                     2. * static_cast<double>(g.view().bytes()));
  if (g.is(Layout::channels_last)) {
    const float* from = g.data<float>();
    float* to = gradient.mutable_data<float>();
    parallel_ranges(g.size(), 1 << 16,
                    [&](std::int64_t begin, std::int64_t end) { std::copy(from + begin, from + end, to + begin); });
  } else {
    copy(g, gradient);
  }
  span.reset();
  Tensors result{Tensor()};
  std::vector<LayerGradients> out;
  for (std::size_t i = 1; i < inputs.size(); ++i) result.push_back(empty(inputs[i].shape()));
  for (std::size_t i = 1; i < inputs.size(); i += 6) {
    float* p[6];
    for (std::size_t k = 0; k < 6; ++k) p[k] = result[i + k].mutable_data<float>();
    out.push_back({p[0], p[1], p[2], p[3], p[4], p[5]});
  }
  dense::backward(geometry, saved.layers, saved.z, static_cast<float>(o.slope), o.training, o.ranks.get(), slab.data<float>(),
                  gradient.mutable_data<float>(), out);
  result[0] = empty(inputs[0].shape(), {.layout = Layout::channels_last});
  span.emplace(Device::cpu, "dense_block.gradient", "fused", 0., geometry.bytes(2 * geometry.first));
  const float* from = gradient.data<float>();
  float* to = result[0].mutable_data<float>();
  parallel_ranges(geometry.voxels(), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + i * geometry.width(), geometry.first, to + i * geometry.first);
  });
  return result;
}

}  // namespace

const Fused fused_cpu{Device::cpu, fits, forward, backward};

}  // namespace cuboid::dense
