// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/pointwise/tables.h"
#include "kernels/reduce/reduce.h"

namespace cuboid {

using namespace pointwise;

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  Shape s = a.rank() >= b.rank() ? a : b;
  for (int i = 1; i <= std::min(a.rank(), b.rank()); ++i) {
    check(a[-i] == b[-i] || a[-i] == 1 || b[-i] == 1, op, ": shapes ", a, " and ", b, " do not broadcast");
    s[-i] = a[-i] == 1 ? b[-i] : a[-i];
  }
  return s;
}

// ---- two tensors -------------------------------------------------------------------------------

Tensor operator+(const Tensor& a, const Tensor& b) {
  const Tensor y = binary<Add>(a, b);
  return record("add", y, {a, b}, [as = a.shape(), bs = b.shape()](const Tensor& g, const Step& step) {
    return Tensors{step.wants(0) ? sum_to(g, as) : Tensor(), step.wants(1) ? sum_to(g, bs) : Tensor()};
  });
}

Tensor operator-(const Tensor& a, const Tensor& b) {
  const Tensor y = binary<Subtract>(a, b);
  return record("sub", y, {a, b}, [as = a.shape(), bs = b.shape()](const Tensor& g, const Step& step) {
    return Tensors{step.wants(0) ? sum_to(g, as) : Tensor(), step.wants(1) ? -sum_to(g, bs) : Tensor()};
  });
}

Tensor operator*(const Tensor& a, const Tensor& b) {
  const Tensor y = binary<Multiply>(a, b);
  // Each factor is only kept for the other one's derivative.
  const Tensor keep_a = b.requires_grad() ? a : Tensor(), keep_b = a.requires_grad() ? b : Tensor();
  return record("mul", y, {a, b}, [keep_a, keep_b, as = a.shape(), bs = b.shape()](const Tensor& g, const Step& step) {
    return Tensors{step.wants(0) ? sum_to(g * keep_b, as) : Tensor(), step.wants(1) ? sum_to(g * keep_a, bs) : Tensor()};
  });
}

Tensor operator/(const Tensor& a, const Tensor& b) {
  const Tensor y = binary<Divide>(a, b);
  const Tensor keep_a = b.requires_grad() ? a : Tensor();
  return record("div", y, {a, b}, [keep_a, b, as = a.shape()](const Tensor& g, const Step& step) {
    const Tensor slope = g / b;  // dy/da = 1/b, dy/db = -a/b^2
    return Tensors{step.wants(0) ? sum_to(slope, as) : Tensor(),
                   step.wants(1) ? -sum_to(slope * keep_a / b, b.shape()) : Tensor()};
  });
}

// ---- a tensor and a number ---------------------------------------------------------------------
namespace {

Constants constant_for(const char* op, const Tensor& x, double c) {
  check(x.defined(), op, ": undefined tensor");
  check(is_floating(x.dtype()) || (c == std::trunc(c) && std::abs(c) < 0x1p63), op, ": ", c, " is not an ", x.dtype(),
        "; cast the tensor");
  return {c};
}

}  // namespace

Tensor operator+(const Tensor& x, double c) {
  const Tensor y = pointwise::unary<AddConstant>(x, constant_for("add", x, c));
  return record("add", y, {x}, [](const Tensor& g, const Step&) { return Tensors{g}; });
}
Tensor operator-(const Tensor& x, double c) { return x + -c; }
Tensor operator+(double c, const Tensor& x) { return x + c; }

Tensor operator-(double c, const Tensor& x) {
  const Tensor y = unary<SubtractFromConstant>(x, constant_for("sub", x, c));
  return record("sub", y, {x}, [](const Tensor& g, const Step&) { return Tensors{-g}; });
}

Tensor operator*(const Tensor& x, double c) {
  const Tensor y = unary<MultiplyConstant>(x, constant_for("mul", x, c));
  return record("mul", y, {x}, [c](const Tensor& g, const Step&) { return Tensors{g * c}; });
}
Tensor operator*(double c, const Tensor& x) { return x * c; }

Tensor operator/(const Tensor& x, double c) {
  check(c != 0 || !x.defined() || is_floating(x.dtype()), "div: integer division by zero");
  const Tensor y = unary<DivideByConstant>(x, constant_for("div", x, c));
  return record("div", y, {x}, [c](const Tensor& g, const Step&) { return Tensors{g / c}; });
}

Tensor operator/(double c, const Tensor& x) {
  const Tensor y = unary<DivideConstant>(x, constant_for("div", x, c));
  return record("div", y, {x}, [x, c](const Tensor& g, const Step&) { return Tensors{g * -c / square(x)}; });
}

Tensor operator-(const Tensor& x) {
  return record("neg", unary<Negate>(x), {x}, [](const Tensor& g, const Step&) { return Tensors{-g}; });
}

}  // namespace cuboid
