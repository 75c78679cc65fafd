// SPDX-License-Identifier: Apache-2.0
// The dense block on the CPU in bf16, layer by layer: all channels in multiples of 32, norms in f32.
#include <algorithm>

#include "core/parallel.h"
#include "core/profiler_memory.h"
#include "kernels/dense_block/bf16_block.h"
#include "kernels/dense_block/fused.h"
#include "kernels/dense_block/norm_math.h"
#include "kernels/dense_block/slab.h"
#include "kernels/views/views.h"

namespace cuboid::dense {
#if CUBOID_AVX512_BF16
namespace {

bool fits(const Tensor& x, const Layers& layers) { return in_panels(x, layers, DType::bf16, panel_width); }

/// What the backward pass needs beside the slab, which is the op's output.
struct Saved {
  Geometry geometry;
  std::vector<Layer16> layers;
  Tensors z;
};

Moments first_moments(const Geometry& g, const bf16* slab) {
  constexpr std::int64_t rows = 256;
  std::vector<Moments> parts(static_cast<std::size_t>((g.voxels() + rows - 1) / rows), Moments(g.first));
  parallel_ranges(g.voxels(), rows, [&](std::int64_t begin, std::int64_t end) {
    add_rows(parts[static_cast<std::size_t>(begin / rows)], g.first, slab + begin * g.width(), end - begin, g.width());
  });
  return merged(parts, g.first);
}

Tensor forward(const Tensor& x, const Layers& layers, const DenseBlockOptions& o, std::shared_ptr<const void>* keep) {
  const auto home = std::make_shared<Saved>();
  Saved& saved = *home;
  const Geometry g = saved.geometry = geometry_of(x, layers);
  Shape shape = x.shape();
  shape[1] = g.width();
  const Tensor slab = empty(shape, {.dtype = DType::bf16, .layout = Layout::channels_last});
  const NormRanks* ranks = o.ranks.get();
  ChannelStatistics made;
  {
    const profiler::Span span(Device::cpu, "dense_block.begin", "bf16", o.training ? g.flops_of_moments() : 0,
                              bytes16(g, (o.training ? 3 : 2) * g.first));
    put_first<bf16>(g, x, slab);
    if (o.training) made.append(first_moments(g, slab.data<bf16>()), g.first, ranks);
  }
  bf16* data = slab.mutable_data<bf16>();
  const auto slope = static_cast<float>(o.slope);
  const double count = ranks ? ranks->count(g.n, g.voxels() / g.n) : static_cast<double>(g.voxels());
  for (std::int64_t i = 0; i < g.layers; ++i) {
    const auto& l = layers[static_cast<std::size_t>(i)];
    if (keep || i == 0) {
      saved.z.push_back(empty({g.voxels(), g.mid}, {.dtype = DType::bf16}));
      if (profiler::watches_memory()) profiler::wrote("dense_block.conv1", saved.z.back().view().data, Device::cpu);
    }
    bf16* z = saved.z.back().mutable_data<bf16>();
    Layer16 layer{{}, {}, l.conv1.data<bf16>(), l.conv2.data<bf16>()};
    layer.norm1 = o.training ? norm_from(l.norm1, made, count, o) : norm_from(l.norm1, o.eps);
    const Moments of_z = bottleneck(g, i, layer, slope, data, z, o.training);
    ChannelStatistics z_statistics;
    if (o.training) z_statistics.append(of_z, g.mid, ranks);
    layer.norm2 = o.training ? norm_from(l.norm2, z_statistics, count, o) : norm_from(l.norm2, o.eps);
    const Moments of_new = new_features(g, i, layer, slope, z, data, o.training);
    if (o.training) made.append(of_new, g.growth, ranks);
    if (keep) saved.layers.push_back(std::move(layer));
  }
  if (keep) *keep = home;
  return slab;
}

Tensors backward(const void* kept, const Tensors& inputs, const Tensor& slab, const Tensor& g, const DenseBlockOptions& o) {
  const Saved& saved = *static_cast<const Saved*>(kept);
  const Geometry& geometry = saved.geometry;
  const Tensor gradient = empty(slab.shape(), {.layout = Layout::channels_last});  // f32: many layers add to it
  if (profiler::watches_memory()) profiler::wrote("dense_block.gradient", gradient.view().data, Device::cpu);
  {
    const profiler::Span span(Device::cpu, "dense_block.gradient", "bf16", 0., 3. * static_cast<double>(g.view().bytes()));
    if (g.is(Layout::channels_last)) {
      const bf16* from = g.data<bf16>();
      float* to = gradient.mutable_data<float>();
      parallel_ranges(g.size(), 1 << 15, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; i += bf::lanes) bf::store(to + i, bf::load(from + i));
      });
    } else {
      copy(g, gradient);
    }
  }
  Tensors result{Tensor()};
  std::vector<LayerGradients16> out;
  for (std::size_t i = 1; i < inputs.size(); ++i) result.push_back(empty(inputs[i].shape(), {.dtype = inputs[i].dtype()}));
  for (std::size_t i = 1; i < inputs.size(); i += 6) {
    const auto wide = [&](std::size_t k) { return result[i + k].mutable_data<float>(); };
    const auto narrow = [&](std::size_t k) { return result[i + k].mutable_data<bf16>(); };
    out.push_back({wide(0), wide(1), narrow(2), wide(3), wide(4), narrow(5)});
  }
  dense::backward(geometry, saved.layers, saved.z, static_cast<float>(o.slope), o.training, o.ranks.get(), slab.data<bf16>(),
                  gradient.mutable_data<float>(), out);
  result[0] = empty(inputs[0].shape(), {.dtype = DType::bf16, .layout = Layout::channels_last});
  const profiler::Span span(Device::cpu, "dense_block.gradient", "bf16", 0., bytes16(geometry, 3 * geometry.first));
  const float* from = gradient.data<float>();
  bf16* to = result[0].mutable_data<bf16>();
  parallel_ranges(geometry.voxels(), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < geometry.first; c += bf::lanes)
        bf::store(to + i * geometry.first + c, bf::load(from + i * geometry.width() + c));
  });
  return result;
}

}  // namespace

const Fused fused_cpu_bf16{Device::cpu, fits, forward, backward};
#else
const Fused fused_cpu_bf16{Device::cpu, [](const Tensor&, const Layers&) { return false; }, nullptr, nullptr};
#endif

}  // namespace cuboid::dense
