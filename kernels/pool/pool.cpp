// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.h"

#include <limits>

#include "core/autograd.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "kernels/pool/cuda.h"
#include "kernels/pool/cudnn.h"
#include "kernels/pool/rows.h"
#include "kernels/reduce/reduce.h"

namespace cuboid {

PoolSpec PoolSpec::make(int rank, std::int64_t size, std::int64_t stride, std::int64_t pad) {
  const auto all = [&](std::int64_t v) { return Shape::filled(rank, v); };
  return {.size = all(size), .stride = all(stride > 0 ? stride : size), .pad_lo = all(pad), .pad_hi = all(pad)};
}

Shape PoolSpec::output_shape(const Shape& x) const {
  const int rank = size.rank();
  check(rank >= 1 && rank <= 3 && x.rank() == rank + 2, "pool: x ", x, " for a window ", size);
  for (const Shape* s : {&stride, &pad_lo, &pad_hi})
    check(s->empty() || s->rank() == rank, "pool: size ", size, ", stride ", stride, " and padding ", pad_lo, pad_hi,
          " differ in length");
  Shape y{x[0], x[1]};
  for (int i = 0; i < rank; ++i) {
    const std::int64_t k = size[i], s = stride.empty() ? k : stride[i];
    const std::int64_t lo = pad_lo.empty() ? 0 : pad_lo[i], hi = pad_hi.empty() ? 0 : pad_hi[i];
    check(k >= 1 && s >= 1, "pool: size ", size, " and stride ", stride, " must be positive");
    check(lo >= 0 && hi >= 0 && 2 * lo <= k && 2 * hi <= k, "pool: padding ", pad_lo, pad_hi, " is more than half the window ",
          size);
    const std::int64_t room = x[2 + i] + lo + hi - k;
    check(room >= 0, "pool: the result is empty: x ", x, " with padding ", pad_lo, pad_hi, " is smaller than the window ", size);
    std::int64_t n = (room + (ceil ? s - 1 : 0)) / s + 1;
    if (ceil && (n - 1) * s >= x[2 + i] + lo) --n;
    y.push_back(n);
  }
  return y;
}

namespace {

template <class... A>
bool channels_last(const View& a, const Out& b, const A&...) {
  return a.is(Layout::channels_last) && b.is(Layout::channels_last);
}
bool all_channels_last(const View& a, const View& b, const Out& c) { return channels_last(a, c) && b.is(Layout::channels_last); }
bool max_fits(const View& x, const Out& y, const Out& index, const PoolSpec&) { return all_channels_last(x, y, index); }
bool scatter_fits(const View& g, const View& index, const Out& dx, const PoolSpec&) { return all_channels_last(g, index, dx); }
bool avg_fits(const View& x, const Out& y, const PoolSpec&) { return channels_last(x, y); }

constexpr Impl<AvgPool> avg_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::avg_pool_fits, cuda::packets::avg_pool},
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::avg_pool_fits, cudnn::avg_pool},
#endif
    {"reference", Device::cuda, always, cuda::avg_pool},
#endif
    {"rows", Device::cpu, avg_fits, cpu::rows::avg_pool},
    {"reference", Device::cpu, always, cpu::avg_pool},
};
constexpr Impl<AvgPoolBackward> avg_backward_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::avg_pool_backward_fits, cuda::packets::avg_pool_backward},
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::avg_pool_backward_fits, cudnn::avg_pool_backward},
#endif
    {"reference", Device::cuda, always, cuda::avg_pool_backward},
#endif
    {"rows", Device::cpu, avg_fits, cpu::rows::avg_pool_backward},
    {"reference", Device::cpu, always, cpu::avg_pool_backward},
};
constexpr Impl<MaxPool> max_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::max_pool_fits, cuda::packets::max_pool},
    {"reference", Device::cuda, always, cuda::max_pool},
#endif
    {"wide", Device::cpu, cpu::wide::max_pool_fits, cpu::wide::max_pool},
    {"rows", Device::cpu, max_fits, cpu::rows::max_pool},
    {"reference", Device::cpu, always, cpu::max_pool},
};
constexpr Impl<MaxPoolScatter> scatter_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::max_pool_scatter_fits, cuda::packets::max_pool_scatter},
    {"reference", Device::cuda, always, cuda::max_pool_scatter},
#endif
    {"wide", Device::cpu, cpu::wide::max_pool_scatter_fits, cpu::wide::max_pool_scatter},
    {"rows", Device::cpu, scatter_fits, cpu::rows::max_pool_scatter},
    {"reference", Device::cpu, always, cpu::max_pool_scatter},
};
constexpr Impl<MaxPoolGather> gather_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::max_pool_gather_fits, cuda::packets::max_pool_gather},
    {"reference", Device::cuda, always, cuda::max_pool_gather},
#endif
    {"rows", Device::cpu, all_channels_last, cpu::rows::max_pool_gather},
    {"reference", Device::cpu, always, cpu::max_pool_gather},
};

/// The fast rows work channels-last; a row-major activation is converted on the way in and out.
Tensor inner(const Tensor& x) { return in_layout(x, Layout::channels_last); }
Tensor result(const Shape& shape, const Tensor& like, DType dtype) {
  return empty(shape, {dtype, like.device(), Layout::channels_last});
}

/// Additions or comparisons, windows counted as if they lay inside.
double flops(const Shape& windows, const PoolSpec& spec) {
  return static_cast<double>(windows.count()) * static_cast<double>(spec.size.count());
}

Tensor avg_pool_backward(const Tensor& g, const PoolSpec& spec, const Shape& x_shape) {
  const Tensor gi = inner(g), dx = result(x_shape, g, g.dtype());
  if (dx.size() > 0) run({"avg_pool_backward", flops(g.shape(), spec)}, avg_backward_rows, gi.view(), dx.mutate(), spec);
  return record("avg_pool_backward", in_layout(dx, layout_of(g)), {g},
                [=](const Tensor& gg, const Step&) { return Tensors{avg_pool(gg, spec)}; });
}

Tensor gather(const Tensor& x, const Tensor& index, const PoolSpec& spec);

Tensor scatter(const Tensor& g, const Tensor& index, const PoolSpec& spec, const Shape& x_shape) {
  const Tensor gi = inner(g), dx = result(x_shape, g, g.dtype());
  if (dx.size() > 0) run({"max_pool_backward", flops(g.shape(), spec)}, scatter_rows, gi.view(), index.view(), dx.mutate(), spec);
  return record("max_pool_backward", in_layout(dx, layout_of(g)), {g},
                [=](const Tensor& gg, const Step&) { return Tensors{gather(gg, index, spec)}; });
}

Tensor gather(const Tensor& x, const Tensor& index, const PoolSpec& spec) {
  const Tensor xi = inner(x), y = result(index.shape(), x, x.dtype());
  if (y.size() > 0) run({"max_pool_gather"}, gather_rows, xi.view(), index.view(), y.mutate());
  return record("max_pool_gather", in_layout(y, layout_of(x)), {x},
                [=, shape = x.shape()](const Tensor& g, const Step&) { return Tensors{scatter(g, index, spec, shape)}; });
}

}  // namespace

Tensor avg_pool(const Tensor& x, const PoolSpec& spec) {
  const Tensor xi = inner(x), y = result(spec.output_shape(x.shape()), x, x.dtype());
  if (y.size() > 0) run({"avg_pool", flops(y.shape(), spec)}, avg_rows, xi.view(), y.mutate(), spec);
  return record("avg_pool", in_layout(y, layout_of(x)), {x},
                [spec, shape = x.shape()](const Tensor& g, const Step&) { return Tensors{avg_pool_backward(g, spec, shape)}; });
}

Tensor max_pool(const Tensor& x, const PoolSpec& spec) {
  const Shape shape = spec.output_shape(x.shape());
  std::int64_t volume = 1;
  for (int d = 2; d < x.rank(); ++d) volume *= x.dim(d);
  check(volume <= std::numeric_limits<std::int32_t>::max(), "max_pool: x ", x.shape(), " has too many voxels for 32-bit indices");
  const Tensor xi = inner(x), y = result(shape, x, x.dtype()), index = result(shape, x, DType::i32);
  if (y.size() > 0) run({"max_pool", flops(y.shape(), spec)}, max_rows, xi.view(), y.mutate(), index.mutate(), spec);
  return record("max_pool", in_layout(y, layout_of(x)), {x}, [index, spec, x_shape = x.shape()](const Tensor& g, const Step&) {
    return Tensors{scatter(g, index, spec, x_shape)};
  });
}

Tensor global_avg_pool(const Tensor& x) {
  check(x.rank() >= 3, "global_avg_pool: needs x of shape N,C,spatial, got ", x.shape());
  Shape axes;
  for (int d = 2; d < x.rank(); ++d) axes.push_back(d);
  return mean(x, axes);
}

}  // namespace cuboid
