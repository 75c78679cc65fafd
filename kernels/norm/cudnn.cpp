// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/cudnn.h"

#include <cudnn.h>

#include <bit>

#include "kernels/dispatch.h"

namespace cuboid::cudnn {
namespace {

/// The rows lie along cuDNN's height, whatever dimensions they come from.
Descriptor activation(const NormProblem& p, std::int64_t id) {
  const Shape shape{1, p.channels, p.rows, 1};
  return tensor(id, p.dtype, shape, dense_strides(shape, Layout::channels_last), false, p.alignment);
}
/// Between two steps.
Descriptor intermediate(const NormProblem& p, std::int64_t id) {
  const Shape shape{1, p.channels, p.rows, 1};
  return tensor(id, DType::f32, shape, dense_strides(shape, Layout::channels_last), true);
}
Descriptor per_channel(const NormProblem& p, std::int64_t id) {
  const Shape shape{1, p.channels, 1, 1};
  return tensor(id, DType::f32, shape, dense_strides(shape, Layout::channels_last), false, 4);
}

/// y = act((x - mean) * rstd * weight + bias), step by step; or the gradient of act, from that of y.
std::vector<Descriptor> steps_of(const NormProblem& p) {
  struct Step {
    int mode;
    std::int64_t operand;
  };
  std::vector<Step> steps{{CUDNN_POINTWISE_SUB, norm_mean_id}, {CUDNN_POINTWISE_MUL, norm_rstd_id}};
  if (p.weight) steps.push_back({CUDNN_POINTWISE_MUL, norm_weight_id});
  if (p.bias) steps.push_back({CUDNN_POINTWISE_ADD, norm_bias_id});
  const bool activated = p.slope != 1;
  std::vector<Descriptor> operations;
  Descriptor from = activation(p, norm_x_id);
  for (const Step& step : steps) {
    const bool last = &step == &steps.back() && !activated;
    const Descriptor operand = per_channel(p, step.operand);
    const Descriptor to =
        last ? activation(p, norm_y_id) : intermediate(p, norm_steps_id + static_cast<std::int64_t>(operations.size()));
    operations.push_back(pointwise(step.mode, from, &operand, to));
    from = to;
  }
  if (p.pass == NormPass::activation_gradient)
    operations.push_back(relu_backward(activation(p, norm_g_id), from, activation(p, norm_y_id), p.slope));
  else if (activated) operations.push_back(pointwise(CUDNN_POINTWISE_RELU_FWD, from, nullptr, activation(p, norm_y_id), p.slope));
  return operations;
}

Descriptor backward_of(const NormProblem& p) {
  Descriptor d(CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR);
  const auto mode = CUDNN_BATCH_NORM;
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_TYPE_NORM_MODE, 1, &mode);
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, activation(p, norm_x_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, activation(p, norm_g_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, activation(p, norm_dx_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, per_channel(p, norm_mean_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, per_channel(p, norm_rstd_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, per_channel(p, norm_weight_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, per_channel(p, norm_dweight_id));
  d.set(CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, per_channel(p, norm_dbias_id));
  return d;
}

std::shared_ptr<const Plan> plan_of(const NormProblem& p) {
  const std::vector<std::int64_t> key{static_cast<std::int64_t>(p.pass),
                                      static_cast<std::int64_t>(p.dtype),
                                      p.rows,
                                      p.channels,
                                      p.weight,
                                      p.bias,
                                      std::bit_cast<std::int64_t>(p.slope),
                                      p.alignment,
                                      p.deterministic};
  return kept_plan(PlanOwner::norm, key, [&] { return make_plan(p); });
}

NormProblem problem(NormPass pass, const View& x, const View& weight, const View& bias, double slope, std::int64_t alignment) {
  return {.pass = pass,
          .dtype = x.dtype,
          .rows = x.size() / x.shape[1],
          .channels = x.shape[1],
          .weight = weight.data != nullptr,
          .bias = bias.data != nullptr,
          .slope = slope,
          .alignment = alignment,
          .deterministic = dispatch::deterministic()};
}
NormProblem apply_problem(const View& x, const View& weight, const View& bias, const View& y, double slope) {
  return problem(NormPass::apply, x, weight, bias, slope, alignment_of({x.data, y.data}));
}
NormProblem gradient_problem(const View& g, const View& x, const View& weight, const View& bias, double slope) {
  return problem(NormPass::activation_gradient, x, weight, bias, slope, alignment_of({g.data, x.data}));
}
/// `g` is aligned like what the allocator gives where an activation's gradient takes its place.
NormProblem backward_problem(const void* g, const View& x, const View& weight, const View& dx) {
  return problem(NormPass::backward, x, weight, {}, 1, alignment_of({g, x.data, dx.data}));
}

bool lie_in_rows(const View& x, const View& y) {
  return (x.dtype == DType::f32 || x.dtype == DType::bf16 || x.dtype == DType::f16) && is_rows(x) && is_rows(y);
}
bool dense(std::initializer_list<const View*> views) {
  for (const View* v : views)
    if (v->data && !v->is(Layout::contiguous)) return false;
  return true;
}

}  // namespace

std::vector<Descriptor> operations_of(const NormProblem& p) {
  if (p.pass != NormPass::backward) return steps_of(p);
  Descriptor operation = backward_of(p);
  if (!operation.try_finalize()) return {};
  return {operation};
}

std::shared_ptr<const Plan> make_plan(const NormProblem& p, const std::string& device_json) {
  const auto operations = operations_of(p);
  if (operations.empty()) return nullptr;
  return Plan::find(operations, {.deterministic = p.deterministic, .device_json = device_json});
}

namespace {
/// What the steps read, besides y or g.
std::vector<Plan::Binding> operands(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias) {
  std::vector<Plan::Binding> tensors{{norm_x_id, x.data}, {norm_mean_id, mean.data}, {norm_rstd_id, rstd.data}};
  if (weight.data) tensors.push_back({norm_weight_id, weight.data});
  if (bias.data) tensors.push_back({norm_bias_id, bias.data});
  return tensors;
}
}  // namespace

bool norm_apply_fits(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                     double slope) {
  return mean.shape[0] == 1 && lie_in_rows(x, y) && dense({&mean, &rstd, &weight, &bias}) && slope >= 0 && slope <= 1 &&
         usable() && plan_of(apply_problem(x, weight, bias, y, slope));
}
void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  auto tensors = operands(x, mean, rstd, weight, bias);
  tensors.push_back({norm_y_id, y.data});
  plan_of(apply_problem(x, weight, bias, y, slope))->run(tensors);
}

bool norm_backward_fits(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                        const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  return batch && slope >= 0 && slope <= 1 && mean.shape[0] == 1 && weight.data && dx.data && lie_in_rows(x, g) &&
         lie_in_rows(x, dx) && dense({&mean, &rstd, &weight, &bias, &dweight, &dbias}) && usable() &&
         (slope == 1 || plan_of(gradient_problem(g, x, weight, bias, slope))) &&
         plan_of(backward_problem(slope == 1 ? g.data : nullptr, x, weight, dx));
}
void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool) {
  const Scratch<char> inner(slope == 1 ? 0 : g.bytes(), Device::cuda);
  if (slope != 1) {
    auto tensors = operands(x, mean, rstd, weight, bias);
    tensors.insert(tensors.end(), {{norm_g_id, g.data}, {norm_y_id, inner.data()}});
    plan_of(gradient_problem(g, x, weight, bias, slope))->run(tensors);
  }
  plan_of(backward_problem(slope == 1 ? g.data : nullptr, x, weight, dx))
      ->run({{norm_x_id, x.data},
             {norm_g_id, slope == 1 ? g.data : inner.data()},
             {norm_mean_id, mean.data},
             {norm_rstd_id, rstd.data},
             {norm_weight_id, weight.data},
             {norm_dx_id, dx.data},
             {norm_dweight_id, dweight.data},
             {norm_dbias_id, dbias.data}});
}

}  // namespace cuboid::cudnn
