// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize/resize.h"

#include "core/autograd.h"
#include "kernels/dispatch.h"
#include "kernels/layout.h"
#include "kernels/resize/cuda.h"
#include "kernels/resize/rows.h"

namespace cuboid {
namespace {

bool channels_last(const View& a, const Out& b, const ResizeOptions&) {
  return a.is(Layout::channels_last) && b.is(Layout::channels_last);
}

constexpr Impl<ResizeForward> forward_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::resize_fits, cuda::packets::resize},
    {"reference", Device::cuda, always, cuda::resize},
#endif
    {"rows", Device::cpu, channels_last, cpu::rows::resize},
    {"reference", Device::cpu, always, cpu::resize},
};
constexpr Impl<ResizeBackward> backward_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::packets::resize_fits, cuda::packets::resize_backward},
    {"reference", Device::cuda, always, cuda::resize_backward},
#endif
    {"rows", Device::cpu, channels_last, cpu::rows::resize_backward},
    {"reference", Device::cpu, always, cpu::resize_backward},
};

Shape resized(const Shape& x, const Shape& size) {
  check(x.rank() >= 3 && x.rank() <= 5 && size.rank() == x.rank() - 2, "resize: x ", x, " to size ", size);
  Shape y{x[0], x[1]};
  for (int i = 0; i < size.rank(); ++i) {
    check(x[2 + i] > 0 && size[i] > 0, "resize: x ", x, " to size ", size, " is empty");
    y.push_back(size[i]);
  }
  return y;
}

}  // namespace

Tensor resize(const Tensor& x, const Shape& size, ResizeOptions options) {
  const Shape shape = resized(x.shape(), size);
  const Tensor inner = in_layout(x, Layout::channels_last);
  const Tensor y = empty(shape, {x.dtype(), x.device(), Layout::channels_last});
  if (y.size() > 0) run({"resize"}, forward_rows, inner.view(), y.mutate(), options);
  return record("resize", in_layout(y, layout_of(x)), {x},
                [options, from = x.shape()](const Tensor& g, const Step&) { return Tensors{resize_backward(g, from, options)}; });
}

Tensor resize_backward(const Tensor& g, const Shape& x_shape, ResizeOptions options) {
  Shape size;
  for (int d = 2; d < g.rank(); ++d) size.push_back(g.dim(d));
  check(resized(x_shape, size) == g.shape(), "resize_backward: g is ", g.shape(), " for x ", x_shape);
  const Tensor inner = in_layout(g, Layout::channels_last);
  const Tensor dx = empty(x_shape, {g.dtype(), g.device(), Layout::channels_last});
  if (dx.size() > 0) run({"resize_backward"}, backward_rows, inner.view(), dx.mutate(), options);
  return record("resize_backward", in_layout(dx, layout_of(g)), {g},
                [options, size](const Tensor& gg, const Step&) { return Tensors{resize(gg, size, options)}; });
}

}  // namespace cuboid
