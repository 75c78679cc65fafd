// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/cudnn.h"

#include <cudnn.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "core/cuda.h"
#include "kernels/dispatch.h"

namespace cuboid::cudnn {
namespace {

struct Attributes {  // of an operation: what cuDNN calls the three tensors and the rest
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, alpha, beta, convolution;
};
Attributes attributes_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC};
    case ConvPass::input:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC};
    default:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC};
  }
}

/// The last `rank` entries.
std::vector<std::int64_t> spatial(const Triple& t, int rank) { return {t.end() - rank, t.end()}; }

/// a, b, then the spatial sizes; the channels (b) lie next to each other.
Descriptor channels_last(std::int64_t id, DType dtype, std::int64_t a, std::int64_t b, const Triple& sizes, int rank,
                         std::int64_t alignment, bool is_virtual = false) {
  Shape shape{a, b};
  for (const auto n : spatial(sizes, rank)) shape.push_back(n);
  return tensor(id, dtype, shape, dense_strides(shape, Layout::channels_last), is_virtual, alignment);
}

Descriptor convolution_of(const ConvProblem& p) {
  const Geometry& g = p.geometry;
  const int rank = p.rank();
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto type = CUDNN_DATA_FLOAT;
  const auto mode = CUDNN_CROSS_CORRELATION;
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, rank);
  d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, spatial(g.dilation, rank));
  d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, spatial(g.stride, rank));
  d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, spatial(g.pad_lo, rank));
  d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, spatial(p.pad_hi, rank));
  d.finalize();
  return d;
}

}  // namespace

int ConvProblem::rank() const {
  const Geometry& g = geometry;
  return g.in[0] == 1 && g.out[0] == 1 && g.kernel[0] == 1 && g.pad_lo[0] == 0 && pad_hi[0] == 0 ? 2 : 3;
}

std::shared_ptr<const Plan> make_plan(const ConvProblem& p, const std::string& device_json) {
  const Geometry& g = p.geometry;
  const int rank = p.rank();
  const auto activation = [&](std::int64_t id, std::int64_t channels, const Triple& sizes) {
    return channels_last(id, g.dtype, g.samples, channels, sizes, rank, p.alignment);
  };
  const Descriptor x = activation(x_id, g.in_channels, g.in), y = activation(y_id, g.out_channels, g.out),
                   w = channels_last(w_id, g.dtype, g.out_channels, g.in_channels / g.groups, g.kernel, rank, p.alignment);
  const Attributes names = attributes_of(p.pass);
  const auto operation_with = [&](const Descriptor& result) {
    Descriptor operation(names.type);
    const float one = 1, zero = 0;
    operation.set(names.x, x);
    operation.set(names.w, w);
    operation.set(names.y, result);
    operation.set(names.convolution, convolution_of(p));
    operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1, &one);
    operation.set(names.beta, CUDNN_TYPE_FLOAT, 1, &zero);
    return operation;
  };
  std::vector<Descriptor> operations;
  if (g.bias) {
    const Descriptor sums = channels_last(bias_id + 1, DType::f32, g.samples, g.out_channels, g.out, rank, 16, true);
    const Descriptor bias = channels_last(bias_id, g.dtype, 1, g.out_channels, {1, 1, 1}, rank, p.alignment);
    operations.push_back(operation_with(sums));
    if (!operations.front().try_finalize()) return nullptr;
    operations.push_back(pointwise(CUDNN_POINTWISE_ADD, sums, &bias, y));
  } else {
    operations.push_back(operation_with(y));
    if (!operations.front().try_finalize()) return nullptr;
  }
  return Plan::find(operations,
                    {.deterministic = p.deterministic, .tf32 = p.tf32, .f32 = g.dtype == DType::f32, .device_json = device_json});
}

// ---- plans, kept -------------------------------------------------------------------------------

namespace {

struct Hash {
  std::size_t operator()(const ConvProblem& p) const {
    const Geometry& g = p.geometry;
    std::uint64_t h = 0;
    const auto mix = [&](std::int64_t v) { h = (h ^ static_cast<std::uint64_t>(v)) * 0x9e3779b97f4a7c15ull, h ^= h >> 29; };
    mix(static_cast<int>(p.pass) * 16 + static_cast<int>(g.dtype));
    for (auto v : {g.samples, g.in_channels, g.out_channels, g.groups, p.alignment}) mix(v);
    mix(g.bias * 4 + p.deterministic * 2 + p.tf32);
    for (const auto* t : {&g.in, &g.out, &g.kernel, &g.stride, &g.dilation, &g.pad_lo, &p.pad_hi})
      for (auto v : *t) mix(v);
    return h;
  }
};

std::shared_ptr<const Plan> plan_of(const ConvProblem& p) {
  static std::mutex guard;
  static auto& known = *new std::unordered_map<ConvProblem, std::shared_ptr<const Plan>, Hash>;
  const std::scoped_lock lock(guard);
  const auto found = known.find(p);
  return found != known.end() ? found->second : known[p] = make_plan(p);
}

ConvProblem problem(ConvPass pass, const View& x, const Shape& w, const View& y, const ConvSpec& spec, bool bias,
                    std::int64_t alignment) {
  ConvProblem p{.pass = pass,
                .geometry = geometry(x.dtype, x.shape, w, y.shape, spec),
                .alignment = alignment,
                .deterministic = dispatch::deterministic(),
                .tf32 = x.dtype == DType::f32 && dispatch::tf32()};
  p.geometry.bias = bias;
  for (int i = 1; i <= spec.rank(); ++i) p.pad_hi[static_cast<std::size_t>(3 - i)] = spec.pad_hi[-i];
  return p;
}

bool lies_well(const View& a, const View& b) {
  return (a.dtype == DType::f32 || a.dtype == DType::bf16 || a.dtype == DType::f16) && a.is(Layout::channels_last) &&
         b.is(Layout::channels_last);
}

bool has_plan(const ConvProblem& p) { return usable(p.geometry.dtype, p.rank(), p.tf32) && plan_of(p) != nullptr; }

/// Weights in cuDNN's order, (K, kernel, C).
struct Packed {
  Scratch<char> memory;
  View view;
  explicit Packed(const View& w) : memory(w.bytes(), Device::cuda), view(w) {
    view.data = memory.data();
    view.strides = dense_strides(w.shape, Layout::channels_last);
  }
};

}  // namespace

// ---- rows --------------------------------------------------------------------------------------

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return lies_well(x, y) && has_plan(problem(ConvPass::forward, x, w.shape, y, spec, bias.data != nullptr,
                                             alignment_of({x.data, y.data, bias.data})));
}
void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Packed packed(w);
  cuda::copy(w, Out(packed.view));
  const auto p = problem(ConvPass::forward, x, w.shape, y, spec, bias.data != nullptr, alignment_of({x.data, y.data, bias.data}));
  const auto plan = plan_of(p);
  if (bias.data) plan->run({{x_id, x.data}, {w_id, packed.view.data}, {y_id, y.data}, {bias_id, bias.data}});
  else plan->run({{x_id, x.data}, {w_id, packed.view.data}, {y_id, y.data}});
}

bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  return lies_well(g, dx) && has_plan(problem(ConvPass::input, dx, w.shape, g, spec, false, alignment_of({g.data, dx.data})));
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Packed packed(w);
  cuda::copy(w, Out(packed.view));
  plan_of(problem(ConvPass::input, dx, w.shape, g, spec, false, alignment_of({g.data, dx.data})))
      ->run({{x_id, dx.data}, {w_id, packed.view.data}, {y_id, g.data}});
}

bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  return lies_well(g, x) && has_plan(problem(ConvPass::weight, x, dw.shape, g, spec, false, alignment_of({g.data, x.data})));
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Packed packed(dw);
  plan_of(problem(ConvPass::weight, x, dw.shape, g, spec, false, alignment_of({g.data, x.data})))
      ->run({{x_id, x.data}, {w_id, packed.view.data}, {y_id, g.data}});
  cuda::copy(packed.view, dw);
}

}  // namespace cuboid::cudnn
