// SPDX-License-Identifier: Apache-2.0
// What the fused blocks on the CPU share, whatever their element type.
#pragma once
#include <algorithm>

#include "core/parallel.h"
#include "kernels/dense_block/fused.h"
#include "kernels/views/views.h"

namespace cuboid::dense {

/// True where x and the convolutions' weights are of `dtype`, the norms of f32, and all channels multiples of `width`.
inline bool in_panels(const Tensor& x, const Layers& layers, DType dtype, std::int64_t width) {
  const Geometry g = geometry_of(x, layers);
  for (const std::int64_t c : {g.first, g.growth, g.mid})
    if (c % width != 0) return false;
  const auto plain = [](const DenseNormTensors& n) {
    return n.weight.dtype() == DType::f32 && n.bias.dtype() == DType::f32 && n.running_mean.dtype() == DType::f32 &&
           n.running_var.dtype() == DType::f32;
  };
  for (const auto& l : layers)
    if (!plain(l.norm1) || !plain(l.norm2) || l.conv1.dtype() != dtype || l.conv2.dtype() != dtype) return false;
  return x.dtype() == dtype;
}

/// x into the first channels of the slab.
template <class T>
void put_first(const Geometry& g, const Tensor& x, const Tensor& slab) {
  if (!x.is(Layout::channels_last)) return copy(x, slice(slab.detach(), 1, 0, g.first));
  const T* from = x.data<T>();
  T* to = slab.mutable_data<T>();
  parallel_ranges(g.voxels(), 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(from + i * g.first, g.first, to + i * g.width());
  });
}

}  // namespace cuboid::dense
