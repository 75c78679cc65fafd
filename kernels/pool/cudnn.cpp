// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/cudnn.h"

#include <cudnn.h>

#include <algorithm>

#include "kernels/dispatch.h"
#include "kernels/pool/cuda.h"

namespace cuboid::cudnn {
namespace {

using Axes = std::array<WindowAxis<std::int64_t>, 3>;

int rank_of(const PoolProblem& p) { return std::max(p.spec.size.rank(), 2); }

/// One number per spatial dimension cuDNN sees.
template <class Number>
std::vector<std::int64_t> along(const PoolProblem& p, const Number& number) {
  const Axes axes = window_axes(p.x, p.y, p.spec);
  std::vector<std::int64_t> numbers;
  for (int i = 3 - rank_of(p); i < 3; ++i) numbers.push_back(number(axes[static_cast<std::size_t>(i)]));
  return numbers;
}

/// The padding that the last window needs.
std::int64_t padding_at_end(const WindowAxis<std::int64_t>& a) {
  return std::max<std::int64_t>(0, (a.out - 1) * a.stride + a.size - a.in - a.lo);
}

Descriptor activation(const PoolProblem& p, std::int64_t id, std::int64_t WindowAxis<std::int64_t>::*extent) {
  Shape shape{p.x[0], p.x[1]};
  for (const auto n : along(p, [&](const auto& a) { return a.*extent; })) shape.push_back(n);
  return tensor(id, p.dtype, shape, dense_strides(shape, Layout::channels_last), false, p.alignment);
}

/// cuDNN takes the numbers of a window as fractions.
void set_fractions(Descriptor& d, int attribute, const std::vector<std::int64_t>& numbers) {
  std::vector<cudnnFraction_t> fractions;
  for (const auto n : numbers) fractions.push_back({n, 1});
  d.set(attribute, CUDNN_TYPE_FRACTION, static_cast<std::int64_t>(fractions.size()), fractions.data());
}

Descriptor window_of(const PoolProblem& p) {
  Descriptor d(CUDNN_BACKEND_RESAMPLE_DESCRIPTOR);
  const auto mode = p.spec.count_include_pad ? CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING : CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING;
  const auto type = CUDNN_DATA_FLOAT;
  const auto padding = CUDNN_ZERO_PAD;
  d.set(CUDNN_ATTR_RESAMPLE_MODE, CUDNN_TYPE_RESAMPLE_MODE, 1, &mode);
  d.set(CUDNN_ATTR_RESAMPLE_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  d.set(CUDNN_ATTR_RESAMPLE_PADDING_MODE, CUDNN_TYPE_PADDING_MODE, 1, &padding);
  d.set(CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, rank_of(p));
  set_fractions(d, CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, along(p, [](const auto& a) { return a.size; }));
  set_fractions(d, CUDNN_ATTR_RESAMPLE_STRIDES, along(p, [](const auto& a) { return a.stride; }));
  set_fractions(d, CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, along(p, [](const auto& a) { return a.lo; }));
  set_fractions(d, CUDNN_ATTR_RESAMPLE_POST_PADDINGS, along(p, padding_at_end));
  d.finalize();
  return d;
}

std::shared_ptr<const Plan> plan_of(const PoolProblem& p) {
  std::vector<std::int64_t> key{
      p.backward, static_cast<std::int64_t>(p.dtype), p.alignment, p.deterministic, p.spec.count_include_pad, p.x[0], p.x[1]};
  for (const auto& a : window_axes(p.x, p.y, p.spec)) key.insert(key.end(), {a.in, a.out, a.size, a.stride, a.lo, a.hi});
  return kept_plan(PlanOwner::pool, key, [&] { return make_plan(p); });
}

PoolProblem problem(bool backward, const View& x, const View& y, const PoolSpec& spec) {
  return {backward, x.dtype, x.shape, y.shape, spec, alignment_of({x.data, y.data}), dispatch::deterministic()};
}
bool fits(const PoolProblem& p) {
  return (p.dtype == DType::f32 || p.dtype == DType::bf16 || p.dtype == DType::f16) && same_average(p) && usable() && plan_of(p);
}

}  // namespace

bool same_average(const PoolProblem& p) {
  const Axes axes = window_axes(p.x, p.y, p.spec);
  return !p.spec.count_include_pad ||
         std::all_of(axes.begin(), axes.end(), [](const auto& a) { return padding_at_end(a) <= a.hi; });
}

std::vector<Descriptor> operations_of(const PoolProblem& p) {
  const Descriptor x = activation(p, pool_x_id, &WindowAxis<std::int64_t>::in),
                   y = activation(p, pool_y_id, &WindowAxis<std::int64_t>::out);
  Descriptor operation(p.backward ? CUDNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR
                                  : CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR);
  operation.set(p.backward ? CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC : CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC, x);
  operation.set(p.backward ? CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC : CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC, y);
  operation.set(p.backward ? CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DESC : CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, window_of(p));
  if (!operation.try_finalize()) return {};
  return {operation};
}

std::shared_ptr<const Plan> make_plan(const PoolProblem& p, const std::string& device_json) {
  const auto operations = operations_of(p);
  if (operations.empty()) return nullptr;
  return Plan::find(operations, {.deterministic = p.deterministic, .device_json = device_json});
}

bool avg_pool_fits(const View& x, const Out& y, const PoolSpec& spec) {
  return cuda::packets::avg_pool_fits(x, y, spec) && fits(problem(false, x, y, spec));
}
void avg_pool(const View& x, const Out& y, const PoolSpec& spec) {
  plan_of(problem(false, x, y, spec))->run({{pool_x_id, x.data}, {pool_y_id, y.data}});
}

bool avg_pool_backward_fits(const View& g, const Out& dx, const PoolSpec& spec) {
  return cuda::packets::avg_pool_backward_fits(g, dx, spec) && fits(problem(true, dx, g, spec));
}
void avg_pool_backward(const View& g, const Out& dx, const PoolSpec& spec) {
  plan_of(problem(true, dx, g, spec))->run({{pool_x_id, dx.data}, {pool_y_id, g.data}});
}

}  // namespace cuboid::cudnn
