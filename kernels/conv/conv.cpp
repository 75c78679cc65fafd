// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv.h"

#include "kernels/conv/cublas.h"
#include "kernels/conv/cuda.h"
#include "kernels/conv/cudnn.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/tables.h"
#include "kernels/layout.h"
#include "kernels/reduce/reduce.h"

namespace cuboid {
namespace {

// First row that fits wins; the last one of a device is its reference.
constexpr Impl<ConvForward> forward_rows[] = {
#if CUBOID_CUDA
    {"depthwise", Device::cuda, cuda::depthwise::forward_fits, cuda::depthwise::conv_forward},
    {"stem", Device::cuda, cuda::stem::forward_fits, cuda::stem::conv_forward},
#if CUBOID_CUBLAS
    {"cublas", Device::cuda, cublas::forward_fits, cublas::conv_forward},
#endif
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::forward_fits, cudnn::conv_forward},
#endif
    {"gemm", Device::cuda, cuda::gemm::forward_fits, cuda::gemm::conv_forward},
    {"wgmma", Device::cuda, cuda::wgmma::forward_fits, cuda::wgmma::conv_forward},
    {"mma", Device::cuda, cuda::mma::forward_fits, cuda::mma::conv_forward},
    {"simt", Device::cuda, cuda::simt::forward_fits, cuda::simt::conv_forward},
    {"reference", Device::cuda, always, cuda::conv_forward},
#endif
    {"depthwise", Device::cpu, depthwise::forward_fits, depthwise::conv_forward},
    {"slim", Device::cpu, slim::forward_fits, slim::conv_forward},
    {"winograd", Device::cpu, winograd::forward_fits, winograd::conv_forward},
    {"bf16_stem", Device::cpu, bf::stem::forward_fits, bf::stem::conv_forward},
    {"bf16_winograd", Device::cpu, bf::winograd::forward_fits, bf::winograd::conv_forward},
#if CUBOID_ONEDNN
    {"onednn", Device::cpu, onednn::forward_fits, onednn::conv_forward},
#endif
    {"reference", Device::cpu, always, cpu::conv_forward},
};
constexpr Impl<ConvInput> input_rows[] = {
#if CUBOID_CUDA
    {"depthwise", Device::cuda, cuda::depthwise::input_fits, cuda::depthwise::conv_input},
#if CUBOID_CUBLAS
    {"cublas", Device::cuda, cublas::input_fits, cublas::conv_input},
#endif
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::input_fits, cudnn::conv_input},
#endif
    {"gemm", Device::cuda, cuda::gemm::input_fits, cuda::gemm::conv_input},
    {"wgmma", Device::cuda, cuda::wgmma::input_fits, cuda::wgmma::conv_input},
    {"mma", Device::cuda, cuda::mma::input_fits, cuda::mma::conv_input},
    {"simt", Device::cuda, cuda::simt::input_fits, cuda::simt::conv_input},
    {"reference", Device::cuda, always, cuda::conv_input},
#endif
    {"depthwise", Device::cpu, depthwise::input_fits, depthwise::conv_input},
    {"winograd", Device::cpu, winograd::input_fits, winograd::conv_input},
    {"bf16_winograd", Device::cpu, bf::winograd::input_fits, bf::winograd::conv_input},
#if CUBOID_ONEDNN
    {"onednn", Device::cpu, onednn::input_fits, onednn::conv_input},
#endif
    {"reference", Device::cpu, always, cpu::conv_input},
};
constexpr Impl<ConvWeight> weight_rows[] = {
#if CUBOID_CUDA
    {"depthwise", Device::cuda, cuda::depthwise::weight_fits, cuda::depthwise::conv_weight},
    {"stem", Device::cuda, cuda::stem::weight_fits, cuda::stem::conv_weight},
#if CUBOID_CUBLAS
    {"cublas", Device::cuda, cublas::weight_fits, cublas::conv_weight},
#endif
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::weight_fits, cudnn::conv_weight},
#endif
    {"gemm", Device::cuda, cuda::gemm::weight_fits, cuda::gemm::conv_weight},
    {"wgmma", Device::cuda, cuda::wgmma::weight_fits, cuda::wgmma::conv_weight},
    {"mma", Device::cuda, cuda::mma::weight_fits, cuda::mma::conv_weight},
    {"simt", Device::cuda, cuda::simt::weight_fits, cuda::simt::conv_weight},
    {"reference", Device::cuda, always, cuda::conv_weight},
#endif
    {"depthwise", Device::cpu, depthwise::weight_fits, depthwise::conv_weight},
    {"winograd", Device::cpu, winograd::weight_fits, winograd::conv_weight},
    {"bf16_stem", Device::cpu, bf::stem::weight_fits, bf::stem::conv_weight},
    {"bf16_winograd", Device::cpu, bf::winograd::weight_fits, bf::winograd::conv_weight},
#if CUBOID_ONEDNN
    {"slim", Device::cpu, slim::weight_fits, slim::conv_weight},
    {"onednn", Device::cpu, onednn::weight_fits, onednn::conv_weight},
#endif
    {"reference", Device::cpu, always, cpu::conv_weight},
};

/// The fast rows read and write channels-last; a contiguous activation is converted once on the way in and out.
Tensor activation(const Tensor& t) {
  return is_floating(t.dtype()) && t.dtype() != DType::f64 ? in_layout(t, Layout::channels_last) : t;
}
Tensor result(const Shape& shape, const Tensor& like) {
  return empty(shape, {like.dtype(), like.device(), Layout::channels_last});
}

void check_types(const char* op, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype() && is_floating(a.dtype()), op, ": needs equal floating types, got ", a.dtype(), " and ",
        b.dtype());
}

double flops(const Shape& x, const Shape& w, const Shape& y, const ConvSpec& spec) {
  return geometry(DType::f32, x, w, y, spec).valid_flops();
}

/// Packed copies of weights pay when the weights stay as they are, so not while they are being trained.
Storage* home_of(const Tensor& w) { return recording() && w.requires_grad() ? nullptr : w.storage().get(); }

Tensor input_of(const Tensor& g, const Tensor& w, const ConvSpec& spec, const Shape& x_shape, Storage* home) {
  check_types("conv_input", g, w);
  const Shape expected = spec.output_shape(x_shape, w.shape());
  check(g.shape() == expected, "conv_input: g is ", g.shape(), ", conv of x ", x_shape, " gives ", expected);
  const Tensor gl = activation(g), wl = in_layout(w, Layout::contiguous), dx = result(x_shape, g);
  if (dx.size() > 0)
    run_fastest({"conv_input", flops(x_shape, w.shape(), expected, spec)}, input_rows, gl.view(), wl.view(), dx.mutate(), spec,
                wl.storage() == w.storage() ? home : nullptr);
  return record("conv_input", in_layout(dx, layout_of(g)), {g, w}, [=](const Tensor& gg, const Step& step) {
    return Tensors{step.wants(0) ? conv(gg, w, spec) : Tensor(), step.wants(1) ? conv_weight(g, gg, spec, w.shape()) : Tensor()};
  });
}

}  // namespace

std::span<const Impl<ConvForward>> conv_rows() { return forward_rows; }
std::span<const Impl<ConvInput>> conv_input_rows() { return input_rows; }
std::span<const Impl<ConvWeight>> conv_weight_rows() { return weight_rows; }

Tensor conv(const Tensor& x, const Tensor& w, const ConvSpec& spec) { return conv(x, w, Tensor(), spec); }

Tensor conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvSpec& spec) {
  check_types("conv", x, w);
  const Shape shape = spec.output_shape(x.shape(), w.shape());
  if (bias.defined()) {
    check_types("conv", x, bias);
    check(bias.shape() == Shape{w.dim(0)}, "conv: bias is ", bias.shape(), ", w ", w.shape(), " expects ", Shape{w.dim(0)});
  }
  const Tensor xl = activation(x), wl = in_layout(w, Layout::contiguous), y = result(shape, x);
  if (y.size() > 0)
    run_fastest({"conv", flops(x.shape(), w.shape(), shape, spec)}, forward_rows, xl.view(), wl.view(),
                bias.defined() ? bias.view() : View(), y.mutate(), spec, wl.storage() == w.storage() ? home_of(w) : nullptr);
  Tensors inputs{x, w};
  if (bias.defined()) inputs.push_back(bias);
  const Layout layout = layout_of(x);
  const std::size_t count = inputs.size();
  const Shape x_shape = x.shape();
  return record("conv", in_layout(y, layout), inputs, [=, kept = Kept(x)](const Tensor& g, const Step& step) {
    Tensors gs(count);
    if (step.wants(1)) gs[1] = conv_weight(g, kept(), spec, w.shape());  // first: x may be made for it, and dropped
    if (step.wants(0)) gs[0] = conv_input(g, w, spec, x_shape);
    if (count == 3 && step.wants(2)) {
      Shape axes{0};
      for (int d = 2; d < g.rank(); ++d) axes.push_back(d);
      gs[2] = sum(g, axes);
    }
    return gs;
  });
}

Tensor conv_input(const Tensor& g, const Tensor& w, const ConvSpec& spec, const Shape& x_shape) {
  return input_of(g, w, spec, x_shape, nullptr);
}

Tensor conv_weight(const Tensor& g, const Tensor& x, const ConvSpec& spec, const Shape& w_shape) {
  check_types("conv_weight", g, x);
  const Shape expected = spec.output_shape(x.shape(), w_shape);
  check(g.shape() == expected, "conv_weight: g is ", g.shape(), ", conv of x ", x.shape(), " gives ", expected);
  const Tensor gl = activation(g), xl = activation(x), dw = empty(w_shape, {x.dtype(), x.device()});
  if (x.size() > 0)
    run_fastest({"conv_weight", flops(x.shape(), w_shape, expected, spec)}, weight_rows, gl.view(), xl.view(), dw.mutate(), spec);
  else fill(dw, 0);
  return record("conv_weight", dw, {g, x}, [=](const Tensor& gw, const Step& step) {
    return Tensors{step.wants(0) ? conv(x, gw, spec) : Tensor(), step.wants(1) ? conv_input(g, gw, spec, x.shape()) : Tensor()};
  });
}

Tensor conv_transpose(const Tensor& x, const Tensor& w, const ConvSpec& spec, const Shape& output_pad) {
  return input_of(x, w, spec, spec.transposed_shape(x.shape(), w.shape(), output_pad), home_of(w));
}

}  // namespace cuboid
