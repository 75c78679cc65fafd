// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce.h"

#include <limits>

#include "core/strided.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/cpu.h"
#include "kernels/reduce/cuda.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

using namespace reduce;

constexpr Impl<Sum> sum_rows[] = {
    {"chunks", Device::cpu, always, cpu::sum},
    {"reference", Device::cpu, always, cpu::sum_reference},
#if CUBOID_CUDA
    {"rows", Device::cuda, reduce::cuda::fits_rows, cuda::sum_rows},
    {"columns", Device::cuda, reduce::cuda::fits_columns, cuda::sum_columns},
    {"teams", Device::cuda, always, cuda::sum_teams},
    {"reference", Device::cuda, always, cuda::sum_reference},
#endif
};
constexpr Impl<Max> max_rows[] = {
    {"chunks", Device::cpu, always, cpu::max},
    {"reference", Device::cpu, always, cpu::max_reference},
#if CUBOID_CUDA
    {"teams", Device::cuda, always, cuda::max_teams},
    {"reference", Device::cuda, always, cuda::max_reference},
#endif
};
constexpr Impl<Mark> mark_rows[] = {
    {"reference", Device::cpu, always, cpu::mark},
#if CUBOID_CUDA
    {"reference", Device::cuda, always, cuda::mark},
#endif
};
constexpr Impl<Softmax> softmax_rows[] = {
    {"lines", Device::cpu, always, cpu::softmax},
    {"reference", Device::cpu, always, cpu::softmax_reference},
#if CUBOID_CUDA
    {"teams", Device::cuda, always, cuda::softmax_teams},
    {"reference", Device::cuda, always, cuda::softmax_reference},
#endif
};

int axis_of(const char* op, const Tensor& x, std::int64_t axis) {
  check(x.defined(), op, ": undefined tensor");
  check(axis >= -x.rank() && axis < x.rank(), op, ": axis ", axis, " of a tensor of shape ", x.shape());
  return static_cast<int>(axis < 0 ? axis + x.rank() : axis);
}

/// x's shape with 1 in place of `axes` (all of them when there are none).
Shape reduced_shape(const char* op, const Tensor& x, const Shape& axes) {
  check(x.defined(), op, ": undefined tensor");
  if (axes.empty()) return Shape::filled(x.rank(), 1);
  Shape seen = Shape::filled(x.rank(), 0), shape = x.shape();
  for (const auto a : axes) {
    const int d = axis_of(op, x, a);
    check(!seen[d], op, ": axis ", a, " is named twice in ", axes);
    seen[d] = 1;
    shape[d] = 1;
  }
  return shape;
}

/// y without the dimensions that were reduced.
Tensor dropped(const Tensor& y, const Tensor& x, const Shape& axes) {
  if (axes.empty()) return reshape(y, {});
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) {
    const bool gone = std::any_of(axes.begin(), axes.end(), [&](auto a) { return (a < 0 ? a + x.rank() : a) == d; });
    if (!gone) shape.push_back(x.dim(d));
  }
  return reshape(y, shape);
}

/// Scaled sum down to `shape` (same rank, 1 where reduced).
Tensor sum_scaled(const char* op, const Tensor& x, const Shape& shape, double scale) {
  const Tensor y = empty_like(x, shape);
  if (x.size() > 0) run({op, static_cast<double>(x.size())}, sum_rows, x.view(), y.mutate(), scale);
  else fill(y, 0 * scale);
  return record(op, y, {x}, [from = x.shape(), scale](const Tensor& g, const Step&) {
    return Tensors{expand(scale == 1 ? g : g * scale, from)};
  });
}

}  // namespace

Tensor sum(const Tensor& x, const Shape& axes, bool keepdim) {
  const Tensor y = sum_scaled("sum", x, reduced_shape("sum", x, axes), 1);
  return keepdim ? y : dropped(y, x, axes);
}

Tensor mean(const Tensor& x, const Shape& axes, bool keepdim) {
  const Shape shape = reduced_shape("mean", x, axes);
  check(is_floating(x.dtype()), "mean: needs a floating type, got ", x.dtype(), "; cast it");
  const Tensor y = sum_scaled("mean", x, shape, static_cast<double>(shape.count()) / static_cast<double>(x.size()));
  return keepdim ? y : dropped(y, x, axes);
}

namespace {

struct Maximum {
  Tensor value, index;
};
Maximum find_max(const char* op, const Tensor& x, const Shape& shape) {
  for (int d = 0; d < x.rank(); ++d)
    check(shape[d] == x.dim(d) || x.dim(d) > 0, op, ": nothing along axis ", d, " of shape ", x.shape());
  const Tensor value = empty_like(x, shape), index = empty(shape, {DType::i64, x.device()});
  if (x.size() > 0) run({op, static_cast<double>(x.size())}, max_rows, x.view(), value.mutate(), index.mutate());
  return {value, index};
}

/// 1 where `index` (i64, 1 in place of the reduced axes) says, 0 elsewhere.
Tensor marked(const Tensor& index, const Shape& shape, const TensorOptions& o) {
  const Tensor mask = empty(shape, o);
  if (mask.size() > 0) run({"max_mark"}, mark_rows, index.view(), mask.mutate());
  return mask;
}

}  // namespace

Tensor max(const Tensor& x, const Shape& axes, bool keepdim) {
  const Maximum m = find_max("max", x, reduced_shape("max", x, axes));
  const Tensor y =
      record("max", m.value, {x}, [index = m.index, from = x.shape(), o = x.options()](const Tensor& g, const Step&) {
        return Tensors{marked(index, from, o) * expand(g, from)};
      });
  return keepdim ? y : dropped(y, x, axes);
}

Tensor argmax(const Tensor& x, int axis, bool keepdim) {
  const Shape axes{axis_of("argmax", x, axis)};
  const Maximum m = find_max("argmax", x, reduced_shape("argmax", x, axes));
  return keepdim ? m.index : dropped(m.index, x, axes);
}

Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype) {
  check(labels.dtype() == DType::i64, "one_hot: labels are ", labels.dtype(), ", expected i64");
  Shape shape = labels.shape(), index = labels.shape();
  shape.push_back(classes);
  index.push_back(1);
  return marked(reshape(labels, index), shape, {dtype, labels.device()});
}

// ---- expand and its adjoint --------------------------------------------------------------------

Tensor expand(const Tensor& x, const Shape& shape) {
  check(x.defined(), "expand: undefined tensor");
  if (x.shape() == shape) return x;
  bool fits = x.rank() <= shape.rank();
  for (int i = 1; fits && i <= x.rank(); ++i) fits = x.dim(-i) == shape[-i] || x.dim(-i) == 1;
  check(fits, "expand: shape ", x.shape(), " does not broadcast to ", shape);
  const Tensor y(x.storage(), x.offset(), shape, broadcast(x.view(), shape).strides, x.dtype());
  return record("expand", y, {x}, [from = x.shape()](const Tensor& g, const Step&) { return Tensors{sum_to(g, from)}; });
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  check(x.defined(), "sum_to: undefined tensor");
  if (x.shape() == shape) return x;
  bool fits = shape.rank() <= x.rank();
  for (int i = 1; fits && i <= shape.rank(); ++i) fits = shape[-i] == x.dim(-i) || shape[-i] == 1;
  check(fits, "sum_to: shape ", shape, " does not broadcast to ", x.shape());
  Shape full = Shape::filled(x.rank(), 1);
  for (int i = 1; i <= shape.rank(); ++i) full[-i] = shape[-i];
  const Tensor y = sum_scaled("sum_to", x, full, 1);
  return full == shape ? y : reshape(y, shape);
}

// ---- softmax -----------------------------------------------------------------------------------
namespace {

Tensor softmax_or_log(const char* op, const Tensor& x, int axis, bool log) {
  check(is_floating(x.dtype()), op, ": needs a floating type, got ", x.dtype(), "; cast it");
  const Tensor y = empty_like(x);
  if (y.size() > 0) run({op}, softmax_rows, x.view(), y.mutate(), axis, log);
  return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int axis) {
  const int a = axis_of("softmax", x, axis);
  return record(
      "softmax", softmax_or_log("softmax", x, a, false), {x},
      [a](const Tensor& g, const Step& step) {
        const Tensor y = step.output(), gy = g * y;
        return Tensors{gy - y * sum(gy, {a}, true)};
      },
      Keep::output);
}

Tensor log_softmax(const Tensor& x, int axis) {
  const int a = axis_of("log_softmax", x, axis);
  return record(
      "log_softmax", softmax_or_log("log_softmax", x, a, true), {x},
      [a](const Tensor& g, const Step& step) { return Tensors{g - exp(step.output()) * sum(g, {a}, true)}; }, Keep::output);
}

}  // namespace cuboid
