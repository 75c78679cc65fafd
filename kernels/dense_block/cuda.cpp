// SPDX-License-Identifier: Apache-2.0
// The dense block on Device::cuda, layer by layer: f32, bf16 or f16, all channels in multiples of 8. Kept for the backward pass:
// the slab, per layer z [V][mid], and per norm four numbers per channel.
#if CUBOID_CUDA
#include "kernels/dense_block/cuda.h"

#include "core/profiler.h"
#include "kernels/dense_block/fused.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "kernels/norm/cuda.h"
#include "kernels/views/views.h"

namespace cuboid::dense {
namespace {

using device::Norm;
using device::Parts;
using device::Pending;

struct Saved {
  std::vector<device::Layer> layers;
  Tensors z;
  Tensor norms;  // what the layers' norms point to
};

bool fits(const Tensor& x, const Layers& layers) {
  const Geometry g = geometry_of(x, layers);
  for (const std::int64_t c : {g.first, g.growth, g.mid})
    if (c % 8 != 0) return false;
  const auto aligned = [&](const Tensor& t) {
    return t.dtype() == x.dtype() && reinterpret_cast<std::uintptr_t>(t.view().data) % 16 == 0;
  };
  const auto plain = [](const DenseNormTensors& n) {
    return n.weight.dtype() == DType::f32 && n.bias.dtype() == DType::f32 && n.running_mean.dtype() == DType::f32 &&
           n.running_var.dtype() == DType::f32;
  };
  for (const auto& l : layers)
    if (!plain(l.norm1) || !plain(l.norm2) || !aligned(l.conv1) || !aligned(l.conv2)) return false;
  return x.dtype() != DType::f64 && g.voxels() * 27 * g.mid < (1LL << 31);
}

template <class T>
const T* data_of(const Tensor& t) {
  return t.view().as<T>();
}
template <class T>
T* out_of(const Tensor& t) {
  return t.mutate().as<T>();
}
Tensor floats(std::int64_t count) { return empty({count}, {.device = Device::cuda}); }

/// One memory for all norms: where each of them keeps mean, rstd, scale and shift.
Tensor place_norms(const Layers& layers, std::vector<device::Layer>& to) {
  std::int64_t count = 0;
  for (const auto& l : layers) count += 4 * (l.norm1.weight.size() + l.norm2.weight.size());
  const Tensor memory = floats(count);
  auto* at = out_of<float>(memory);
  const auto place = [&](const DenseNormTensors& n, Norm& norm) {
    const std::int64_t c = n.weight.size();
    norm = {data_of<float>(n.weight),
            data_of<float>(n.bias),
            out_of<float>(n.running_mean),
            out_of<float>(n.running_var),
            at,
            at + c,
            at + 2 * c,
            at + 3 * c,
            static_cast<int>(c)};
    at += 4 * c;
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    place(layers[i].norm1, to[i].norm1);
    place(layers[i].norm2, to[i].norm2);
  }
  return memory;
}

template <class T>
Tensor packed(const Geometry& g, const std::vector<Tensor>& conv2, bool taps_first) {
  std::vector<const T*> weights;
  for (const Tensor& w : conv2) weights.push_back(data_of<T>(w));
  const Tensor to = empty({g.layers, g.growth * g.mid * g.depth_taps * 9}, {dtype_of<T>(), Device::cuda});
  device::pack(g, weights, taps_first, out_of<T>(to));
  return to;
}

Tensor neighbours_of(const Geometry& g) {
  const Tensor within = empty({2 * g.voxels()}, {DType::u8, Device::cuda});
  device::neighbours(g, out_of<std::uint16_t>(within));
  return within;
}

/// For the profiler, under the names of the CPU's passes.
profiler::Span passing(const char* op, double flops) { return {Device::cuda, op, "fused", flops, 0}; }

template <class T>
Tensor forward_as(const Tensor& x, const Layers& layers, const DenseBlockOptions& o, std::shared_ptr<const void>* keep) {
  const Geometry g = geometry_of(x, layers);
  const int voxels = static_cast<int>(g.voxels());
  const auto saved = std::make_shared<Saved>();
  const Tensor within = neighbours_of(g);
  Tensors conv2;
  for (const auto& l : layers) conv2.push_back(l.conv2);
  const Tensor weights = packed<T>(g, conv2, false);

  Shape shape = x.shape();
  shape[1] = g.width();
  const Tensor slab = empty(shape, {x.dtype(), Device::cuda, Layout::channels_last});
  const Tensor first = in_layout(x, Layout::channels_last);
  copy(first, slice(slab.detach(), 1, 0, g.first));
  T* data = out_of<T>(slab);

  for (int i = 0; i < static_cast<int>(layers.size()); ++i)
    saved->layers.push_back({g, i, {}, {}, static_cast<float>(o.slope), dispatch::tf32(), data_of<std::uint16_t>(within)});
  saved->norms = place_norms(layers, saved->layers);
  const Tensor mean = floats(g.width()), var = floats(g.width()), scratch = floats(2 * g.mid);
  const auto all_means = out_of<float>(mean), all_vars = out_of<float>(var), z_means = out_of<float>(scratch);
  if (o.training) {
    const auto row = [&](const Tensor& t) {
      View v = t.view();
      v.shape = {1, g.first};
      v.strides = {g.first, 1};
      return Out(v);
    };
    cuda::rows::norm_statistics(first.view(), row(mean), row(var));
  } else {
    std::vector<Norm> norms;
    for (const auto& l : saved->layers) norms.insert(norms.end(), {l.norm1, l.norm2});
    device::normalise_given(norms, o.eps);
  }

  Parts made;  // of the newest channels
  for (const device::Layer& l : saved->layers) {
    const std::int64_t channels = l.channels();
    if (o.training) {
      const int known = static_cast<int>(l.index == 0 ? channels : channels - g.growth);
      device::normalise(l.norm1, made, voxels, known, all_means, all_vars, o.eps, o.momentum);
    }
    if (keep || l.index == 0) saved->z.push_back(empty({g.voxels(), g.mid}, {x.dtype(), Device::cuda}));
    T* z = out_of<T>(saved->z.back());
    const auto index = static_cast<std::size_t>(l.index);
    const Parts of_z = [&] {
      const auto pass = passing("dense_block.conv1", l.geometry.flops1(l.index));
      return device::bottleneck<T>(l, data, data_of<T>(layers[index].conv1), z, o.training);
    }();
    if (o.training) device::normalise(l.norm2, of_z, voxels, 0, z_means, z_means + g.mid, o.eps, o.momentum);
    const bool last = l.index + 1 == g.layers;
    const auto pass = passing("dense_block.conv2", l.geometry.flops2());
    made = device::new_features<T>(l, z, data_of<T>(weights) + l.index * weights.dim(1), data, o.training && !last);
  }
  if (keep) *keep = saved;
  return slab;
}

template <class T>
Tensors backward_as(const Saved& saved, const Tensors& inputs, const Tensor& slab, const Tensor& g, const DenseBlockOptions& o) {
  const Geometry& geometry = saved.layers.front().geometry;
  const int voxels = static_cast<int>(geometry.voxels());
  const DType dtype = slab.dtype();
  Tensors result{empty(inputs[0].shape(), {dtype, Device::cuda, Layout::channels_last})};
  for (std::size_t i = 1; i < inputs.size(); ++i) result.push_back(empty(inputs[i].shape(), {inputs[i].dtype(), Device::cuda}));
  const auto input = [&](std::size_t layer, std::size_t which) -> const Tensor& { return inputs[1 + 6 * layer + which]; };
  const auto gradient_of = [&](std::size_t layer, std::size_t which) -> const Tensor& { return result[1 + 6 * layer + which]; };

  const Tensor within = neighbours_of(geometry);
  Tensors conv2;
  for (std::size_t i = 0; i < saved.layers.size(); ++i) conv2.push_back(input(i, 5));
  const Tensor weights = packed<T>(geometry, conv2, true);
  // In f32: many layers add to it.
  const Tensor gradient = empty(slab.shape(), {DType::f32, Device::cuda, Layout::channels_last});
  copy(g, gradient);
  const Tensor missing = zeros({2, geometry.width()}, {.device = Device::cuda}), own = floats(2 * geometry.mid);
  const Pending pending{out_of<float>(missing), out_of<float>(missing) + geometry.width()};
  const Pending terms{out_of<float>(own), out_of<float>(own) + geometry.mid};
  const Tensor dy = empty({geometry.voxels(), geometry.growth}, {dtype, Device::cuda});
  const Tensor da = empty({geometry.voxels(), geometry.mid}, {dtype, Device::cuda});
  const T *px = data_of<T>(slab), *pdy = data_of<T>(dy), *pda = data_of<T>(da);
  auto* pg = out_of<float>(gradient);

  for (std::size_t i = saved.layers.size(); i-- > 0;) {
    device::Layer l = saved.layers[i];
    l.within = data_of<std::uint16_t>(within);
    const T* z = data_of<T>(saved.z[i]);
    device::complete(geometry, l.channels(), l.growth(), pending, px, pg, out_of<T>(dy));
    const Parts sums2 = [&] {
      const auto pass = passing("dense_block.conv2_backward", 2 * l.geometry.flops2());
      device::features_weight(l, pdy, z, out_of<T>(gradient_of(i, 5)));
      const T* turned = data_of<T>(weights) + static_cast<std::int64_t>(i) * weights.dim(1);
      return device::features_input(l, pdy, turned, z, out_of<T>(da));
    }();
    device::finish_sums(l.norm2, sums2, voxels, o.training, false, out_of<float>(gradient_of(i, 3)),
                        out_of<float>(gradient_of(i, 4)), terms);
    const Parts sums1 = [&] {
      const auto pass = passing("dense_block.conv1_backward", 2 * l.geometry.flops1(l.index));
      device::bottleneck_weight(l, pda, z, terms, px, out_of<T>(gradient_of(i, 2)));
      return device::bottleneck_input(l, pda, z, terms, data_of<T>(input(i, 2)), px, pg);
    }();
    device::finish_sums(l.norm1, sums1, voxels, o.training, true, out_of<float>(gradient_of(i, 0)),
                        out_of<float>(gradient_of(i, 1)), pending);
  }
  device::complete(geometry, 0, static_cast<int>(geometry.first), pending, px, pg, out_of<T>(result[0]));
  return result;
}

/// f.operator()<T>() for the types of fits().
template <class F>
auto with_type(DType dtype, F&& f) {
  if (dtype == DType::f32) return f.template operator()<float>();
  return dtype == DType::bf16 ? f.template operator()<bf16>() : f.template operator()<f16>();
}
Tensor forward(const Tensor& x, const Layers& layers, const DenseBlockOptions& o, std::shared_ptr<const void>* keep) {
  return with_type(x.dtype(), [&]<class T>() { return forward_as<T>(x, layers, o, keep); });
}
Tensors backward(const void* kept, const Tensors& inputs, const Tensor& slab, const Tensor& g, const DenseBlockOptions& o) {
  const Saved& saved = *static_cast<const Saved*>(kept);
  return with_type(slab.dtype(), [&]<class T>() { return backward_as<T>(saved, inputs, slab, g, o); });
}

}  // namespace

const Fused fused_cuda{Device::cuda, fits, forward, backward};

}  // namespace cuboid::dense
#endif
