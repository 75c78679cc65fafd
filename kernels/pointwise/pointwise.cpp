// SPDX-License-Identifier: Apache-2.0
// Functions and activations with their derivatives. Where one kernel computes a derivative (sigmoid_grad, ...), it only
// does so in an unrecorded sweep; a recorded one multiplies the formula out in ops.
#include "kernels/pointwise/pointwise.h"

#include "kernels/pointwise/tables.h"

namespace cuboid {

using namespace pointwise;

Tensor exp(const Tensor& x) {
  return record(
      "exp", unary<Exp>(x), {x}, [](const Tensor& g, const Step& step) { return Tensors{g * step.output()}; }, Keep::output);
}

Tensor log(const Tensor& x) {
  return record("log", unary<Log>(x), {x}, [x](const Tensor& g, const Step&) { return Tensors{g / x}; });
}

Tensor sqrt(const Tensor& x) {
  return record(
      "sqrt", unary<Sqrt>(x), {x}, [](const Tensor& g, const Step& step) { return Tensors{g * 0.5 / step.output()}; },
      Keep::output);
}

Tensor rsqrt(const Tensor& x) {
  return record(
      "rsqrt", unary<Rsqrt>(x), {x},
      [](const Tensor& g, const Step& step) {
        const Tensor y = step.output();
        return Tensors{g * -0.5 * (y * y * y)};
      },
      Keep::output);
}

Tensor square(const Tensor& x) {
  return record("square", unary<Square>(x), {x}, [x](const Tensor& g, const Step&) { return Tensors{g * 2 * x}; });
}

Tensor pow(const Tensor& x, double p) {
  if (p == 1) return x;
  if (p == 2) return square(x);
  if (p == 0.5) return sqrt(x);
  if (p == -0.5) return rsqrt(x);
  const Tensor y = unary<Pow>(x, {p});
  if (p == 0) return y;  // 1 everywhere: no derivative, not even 0 / 0 at x = 0
  return record("pow", y, {x}, [x, p](const Tensor& g, const Step&) { return Tensors{g * p * pow(x, p - 1)}; });
}

Tensor abs(const Tensor& x) {
  return record("abs", unary<Abs>(x), {x}, [x](const Tensor& g, const Step&) { return Tensors{g * sign(x)}; });
}

Tensor sign(const Tensor& x) { return unary<Sign>(x); }

namespace {

/// Linear in g; x only selects.
Tensor clamp_grad(const Tensor& g, const Tensor& x, double lo, double hi) {
  return record("clamp_grad", binary<ClampGrad>(g, x, {lo, hi}), {g},
                [x = x.detach(), lo, hi](const Tensor& gg, const Step&) { return Tensors{clamp_grad(gg, x, lo, hi)}; });
}

}  // namespace

Tensor clamp(const Tensor& x, double lo, double hi) {
  check(lo <= hi, "clamp: bounds ", lo, " and ", hi, " are not in order");
  return record("clamp", unary<Clamp>(x, {lo, hi}), {x},
                [x, lo, hi](const Tensor& g, const Step&) { return Tensors{clamp_grad(g, x, lo, hi)}; });
}

// ---- activations -------------------------------------------------------------------------------

Tensor leaky_relu_grad(const Tensor& g, const Tensor& x, double slope) {
  return record("leaky_relu_grad", binary<LeakyReluGrad>(g, x, {slope}), {g},
                [x = x.detach(), slope](const Tensor& gg, const Step&) { return Tensors{leaky_relu_grad(gg, x, slope)}; });
}

Tensor relu(const Tensor& x) {
  return record(
      "relu", unary<Relu>(x), {x},
      [](const Tensor& g, const Step& step) { return Tensors{leaky_relu_grad(g, step.output(), 0)}; }, Keep::output);
}

Tensor leaky_relu(const Tensor& x, double slope) {
  const Tensor y = unary<LeakyRelu>(x, {slope});
  if (slope >= 0)  // the output's sign is the input's, and the next op is likely to keep the output anyway
    return record(
        "leaky_relu", y, {x},
        [slope](const Tensor& g, const Step& step) { return Tensors{leaky_relu_grad(g, step.output(), slope)}; }, Keep::output);
  return record("leaky_relu", y, {x}, [x, slope](const Tensor& g, const Step&) { return Tensors{leaky_relu_grad(g, x, slope)}; });
}

Tensor sigmoid(const Tensor& x) {
  return record(
      "sigmoid", unary<Sigmoid>(x), {x},
      [](const Tensor& g, const Step& step) {
        const Tensor y = step.output();
        return Tensors{recording() ? g * (y * (1 - y)) : binary<SigmoidGrad>(g, y)};
      },
      Keep::output);
}

Tensor tanh(const Tensor& x) {
  return record(
      "tanh", unary<Tanh>(x), {x},
      [](const Tensor& g, const Step& step) {
        const Tensor y = step.output();
        return Tensors{recording() ? g * (1 - square(y)) : binary<TanhGrad>(g, y)};
      },
      Keep::output);
}

Tensor silu(const Tensor& x) {
  return record("silu", unary<Silu>(x), {x}, [x](const Tensor& g, const Step&) {
    if (!recording()) return Tensors{binary<SiluGrad>(g, x)};
    const Tensor s = sigmoid(x);
    return Tensors{g * (s + x * (s * (1 - s)))};
  });
}

Tensor softplus(const Tensor& x) {
  return record("softplus", unary<Softplus>(x), {x},
                [x](const Tensor& g, const Step&) { return Tensors{recording() ? g * sigmoid(x) : binary<SoftplusGrad>(g, x)}; });
}

Tensor cast(const Tensor& x, DType dtype) {
  check(x.defined(), "cast: undefined tensor");
  if (x.dtype() == dtype) return x;
  const Tensor y = empty_like(x, dtype);
  copy(x, y);
  if (!is_floating(dtype)) return y;
  return record("cast", y, {x}, [from = x.dtype()](const Tensor& g, const Step&) { return Tensors{cast(g, from)}; });
}

}  // namespace cuboid
