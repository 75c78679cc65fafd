// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/norm.h"

#include "kernels/dispatch.h"
#include "kernels/norm/cuda.h"
#include "kernels/norm/cudnn.h"
#include "kernels/norm/ranks.h"
#include "kernels/norm/rows.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

template <auto Is>
bool lies(const View& x, const Out&, const Out&) {
  return Is(x);
}
template <auto Is>
bool both_lie(const View& x, const View&, const View&, const View&, const View&, const Out& y, double) {
  return Is(x) && Is(y);
}
template <auto Is>
bool all_lie(const View& g, const View& x, const View&, const View&, const View&, const View&, const Out& dx, const Out&,
             const Out&, double, bool) {
  return Is(g) && Is(x) && (!dx.data || Is(dx));
}

constexpr Impl<NormStatistics> statistics_rows[] = {
#if CUBOID_CUDA
    {"rows", Device::cuda, lies<is_rows>, cuda::rows::norm_statistics},
    {"reference", Device::cuda, always, cuda::norm_statistics},
#endif
    {"rows", Device::cpu, lies<is_rows>, cpu::rows::norm_statistics},
    {"lines", Device::cpu, lies<is_lines>, cpu::lines::norm_statistics},
    {"reference", Device::cpu, always, cpu::norm_statistics},
};
constexpr Impl<NormApply> apply_rows[] = {
#if CUBOID_CUDA
    {"rows", Device::cuda, both_lie<is_rows>, cuda::rows::norm_apply},
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::norm_apply_fits, cudnn::norm_apply},
#endif
    {"reference", Device::cuda, always, cuda::norm_apply},
#endif
    {"rows", Device::cpu, both_lie<is_rows>, cpu::rows::norm_apply},
    {"lines", Device::cpu, both_lie<is_lines>, cpu::lines::norm_apply},
    {"reference", Device::cpu, always, cpu::norm_apply},
};
constexpr Impl<NormBackward> backward_rows[] = {
#if CUBOID_CUDA
    {"rows", Device::cuda, all_lie<is_rows>, cuda::rows::norm_backward},
#if CUBOID_CUDNN
    {"cudnn", Device::cuda, cudnn::norm_backward_fits, cudnn::norm_backward},
#endif
    {"reference", Device::cuda, always, cuda::norm_backward},
#endif
    {"rows", Device::cpu, all_lie<is_rows>, cpu::rows::norm_backward},
    {"lines", Device::cpu, all_lie<is_lines>, cpu::lines::norm_backward},
    {"reference", Device::cpu, always, cpu::norm_backward},
};
constexpr Impl<NormFinish> finish_rows[] = {
#if CUBOID_CUDA
    {"reference", Device::cuda, always, cuda::norm_finish},
#endif
    {"reference", Device::cpu, always, cpu::norm_finish},
};

/// What both norms share. Statistics over the samples of each segment, or given.
struct Norm {
  const char* op;
  std::int64_t segments;
  double eps, slope;
  Tensor given_mean, given_var;  // (C); undefined: those of x
  bool rebuilt = false;
  std::shared_ptr<const NormRanks> ranks = {};

  bool batch() const { return !given_mean.defined(); }
};

DType statistics_type(const Tensor& x) { return x.dtype() == DType::f64 ? DType::f64 : DType::f32; }

/// t, outside the graph, in `dtype`.
Tensor as_type(const Tensor& t, DType dtype) {
  if (!t.defined() || (t.dtype() == dtype && t.is(Layout::contiguous))) return t;
  const Tensor c = empty(t.shape(), {dtype, t.device()});
  copy(t, c);
  return c;
}
View view_or_none(const Tensor& t) { return t.defined() ? t.view() : View(); }

/// Dense, in `like`'s memory order; x itself where it is.
Tensor dense(const Tensor& x, const Tensor& like) {
  const Tensor target = empty_like(like);
  bool same = x.strides() == target.strides();
  for (Layout layout : {Layout::contiguous, Layout::channels_last}) same = same || (x.is(layout) && target.is(layout));
  if (same) return x;
  copy(x, target);
  return target;
}

/// (C) -> (1, C, 1, ...)
Tensor per_channel(const Tensor& t, int rank) {
  Shape shape = Shape::filled(rank, 1);
  shape[1] = t.size();
  return reshape(t, shape);
}

/// The definition, in primitive ops; inputs are x and, where defined, weight and bias.
Tensor composed(const Norm& norm, const Tensors& inputs) {
  const DType type = statistics_type(inputs[0]);
  const auto wide = [&](const Tensor& t) { return t.dtype() == type ? t : cast(t, type); };
  const Tensor x = wide(inputs[0]);
  const int rank = x.rank();
  Tensor deviation, var;
  if (norm.batch()) {
    Shape axes;
    if (norm.segments == 1) axes.push_back(0);
    for (int d = 2; d < rank; ++d) axes.push_back(d);
    deviation = x - mean(x, axes, true);
    var = mean(square(deviation), axes, true);
  } else {
    deviation = x - per_channel(wide(norm.given_mean), rank);
    var = per_channel(wide(norm.given_var), rank);
  }
  Tensor y = deviation * rsqrt(var + norm.eps);
  if (inputs[1].defined()) y = y * per_channel(wide(inputs[1]), rank);
  if (inputs[2].defined()) y = y + per_channel(wide(inputs[2]), rank);
  if (norm.slope == 0) y = relu(y);
  else if (norm.slope != 1) y = leaky_relu(y, norm.slope);
  return inputs[0].dtype() == type ? y : cast(y, inputs[0].dtype());
}

/// [segments, C] -> (C), in the parameter's own type.
Tensor parameter_gradient(const Tensor& by_segment, const Tensor& parameter) {
  const Recording off(false);
  return as_type(by_segment.dim(0) == 1 ? reshape(by_segment, parameter.shape()) : sum(by_segment, {0}), parameter.dtype());
}

/// The running statistics of batch norm, and how they move.
struct Running {
  Tensor mean, var;
  double momentum = 0;
};

struct Statistics {
  Tensor mean, rstd;
};
Statistics statistics_of(const Norm& norm, const Tensor& x, const Running& running) {
  const DType type = statistics_type(x);
  const Shape shape{norm.segments, x.dim(1)};
  Tensor mean, var;
  NormUpdate update{norm.eps};
  if (norm.batch()) {
    mean = empty(shape, {type, x.device()});
    var = empty(shape, {type, x.device()});
    run({"norm_statistics", 3 * static_cast<double>(x.size())}, statistics_rows, x.view(), mean.mutate(), var.mutate());
    const double count = norm.ranks ? norm.ranks->count(x) : static_cast<double>(x.size() / shape.count());
    if (norm.ranks) norm.ranks->merge(mean, var);
    update = {norm.eps, running.momentum, count / (count - 1)};
  } else {
    mean = as_type(norm.given_mean, type);
    var = as_type(norm.given_var, type);
  }
  const auto out = [](const Tensor& t) { return Out(t.defined() ? t.mutate() : View()); };
  const Tensor rstd = empty(var.shape(), {type, x.device()});
  run({"norm_finish"}, finish_rows, mean.view(), var.view(), rstd.mutate(), out(running.mean), out(running.var), update);
  return {mean, rstd};
}

View by_segment(const Tensor& t, std::int64_t channels) {
  View v = t.view();
  v.shape = {t.size() / channels, channels};
  v.strides = {channels, 1};
  return v;
}

/// What the statistics of all ranks add to dx, which has nothing of them yet:
///   dx = weight * rstd * (da - sum(da) / n - xhat * sum(da * xhat) / n)
/// dw and db, [1, C], are this rank's sums of da * xhat and of da. An affine map of xhat is norm_apply.
void add_statistics_terms(const Norm& norm, const Tensor& x, const Statistics& s, const Tensor& weight, const Tensor& dw,
                          const Tensor& db, const Tensor& dx) {
  const Recording off(false);
  const std::int64_t channels = x.dim(1);
  const Tensor rstd = reshape(s.rstd, {channels}),
               scale = (weight.defined() ? rstd * weight : rstd) * (-1 / norm.ranks->count(x));
  const Tensor sums = norm.ranks->total(cat({dw, db}, 0)), added = empty_like(dx);
  const Tensor factor = select(sums, 0, 0) * scale, offset = select(sums, 0, 1) * scale;
  run({norm.op}, apply_rows, x.view(), by_segment(s.mean, channels), by_segment(s.rstd, channels), factor.view(), offset.view(),
      added.mutate(), 1.0);
  add_into(dx, added);
}

Tensor normalise(const Norm& norm, const Tensor& x, const Tensor& weight, const Tensor& bias, const Running& running = {}) {
  const DType type = statistics_type(x);
  const std::int64_t channels = x.dim(1);
  const Statistics s = statistics_of(norm, dense(x, x), running);
  const Tensor mean = s.mean, rstd = s.rstd;
  const double elements = static_cast<double>(x.size());
  const auto applied = [=](const Tensor& t) {
    const Tensor from = dense(t, t), y = empty_like(from);
    run({norm.op, 4 * elements}, apply_rows, from.view(), by_segment(mean, channels), by_segment(rstd, channels),
        view_or_none(as_type(weight, type)), view_or_none(as_type(bias, type)), y.mutate(), norm.slope);
    return y;
  };
  const Kept kept(x);
  Tensor y = record(norm.op, applied(x), {x, weight, bias}, [=](const Tensor& g, const Step& step) {
    check(!recording() || !norm.ranks, norm.op, ": over several ranks it has no second derivative");
    const Tensor input = kept();
    if (recording()) return replay([&](const Tensors& in) { return composed(norm, in); }, {input, weight, bias}, g);
    const Tensor own = dense(input, input), gd = dense(g, own), dx = step.wants(0) ? empty_like(own) : Tensor();
    const Shape shape{norm.segments, channels};
    const Tensor dw = empty(shape, {type, input.device()}), db = empty(shape, {type, input.device()});
    run({norm.op, 10 * elements}, backward_rows, gd.view(), own.view(), by_segment(mean, channels), by_segment(rstd, channels),
        view_or_none(as_type(weight, type)), view_or_none(as_type(bias, type)), Out(dx.defined() ? dx.mutate() : View()),
        dw.mutate(), db.mutate(), norm.slope, norm.batch() && !norm.ranks);
    if (norm.ranks && dx.defined()) add_statistics_terms(norm, own, s, as_type(weight, type), dw, db, dx);
    return Tensors{dx, step.wants(1) ? parameter_gradient(dw, weight) : Tensor(),
                   step.wants(2) ? parameter_gradient(db, bias) : Tensor()};
  });
  return norm.rebuilt ? rebuilt_by(y, [=] { return applied(kept()); }) : y;
}

void check_arguments(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check(x.rank() >= 2 && is_floating(x.dtype()), op, ": needs a floating x of shape N,C,..., got ", x.dtype(), x.shape());
  for (const Tensor& t : {weight, bias})
    check(!t.defined() || t.shape() == Shape{x.dim(1)}, op, ": x has ", x.dim(1), " channels, weight or bias is ",
          t.defined() ? t.shape() : Shape{});
  check(x.size() > 0, op, ": x ", x.shape(), " is empty");
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, BatchNormOptions o) {
  check_arguments("batch_norm", x, weight, bias);
  check(running_mean.defined() == running_var.defined(), "batch_norm: one of running_mean and running_var is missing");
  for (const Tensor& t : {running_mean, running_var})
    check(!t.defined() || (t.shape() == Shape{x.dim(1)} && t.is(Layout::contiguous)), "batch_norm: x has ", x.dim(1),
          " channels, the running statistics are ", t.defined() ? t.shape() : Shape{});
  check(o.training || running_mean.defined(), "batch_norm: evaluation needs running statistics");
  Norm norm{"batch_norm", 1, o.eps, slope_of(o.activation, o.slope), {}, {}, o.rebuilt};
  if (!o.training) {
    norm.given_mean = running_mean.detach();
    norm.given_var = running_var.detach();
    return normalise(norm, x, weight, bias);
  }
  norm.ranks = std::move(o.ranks);
  check((norm.ranks ? norm.ranks->count(x) : static_cast<double>(x.size() / x.dim(1))) > 1,
        "batch_norm: training needs more than one value per channel, x is ", x.shape());
  return normalise(norm, x, weight, bias, {running_mean, running_var, o.momentum});
}

Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Activation activation, double slope) {
  check_arguments("instance_norm", x, weight, bias);
  check(x.rank() >= 3 && x.size() / x.dim(0) / x.dim(1) > 1,
        "instance_norm: needs more than one value per channel and sample, x is ", x.shape());
  return normalise({"instance_norm", x.dim(0), eps, slope_of(activation, slope), {}, {}, false}, x, weight, bias);
}

}  // namespace cuboid
