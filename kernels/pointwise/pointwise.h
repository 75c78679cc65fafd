// SPDX-License-Identifier: Apache-2.0
// Elementwise ops. Every one is differentiable to any order on the floating types; arithmetic, abs and clamp take
// integers too. 16-bit floats are computed in f32 and rounded once. Results come in the memory order of the operand.
#pragma once
#include "core/autograd.h"

namespace cuboid {

// ---- arithmetic --------------------------------------------------------------------------------
// Two tensors of one dtype; shapes broadcast as in NumPy: aligned at the last dimension, 1 (or absent) meets anything.
// A double meets every element; with an integer tensor it must be a whole number. Integer division truncates; by zero it is
// an error on the CPU and gives 0 on a device, whose kernels cannot throw.
Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& x, double c);
Tensor operator-(const Tensor& x, double c);
Tensor operator*(const Tensor& x, double c);
Tensor operator/(const Tensor& x, double c);
Tensor operator+(double c, const Tensor& x);
Tensor operator-(double c, const Tensor& x);
Tensor operator*(double c, const Tensor& x);
Tensor operator/(double c, const Tensor& x);
Tensor operator-(const Tensor& x);

/// The shape two operands broadcast to; `op` names the caller in the error.
Shape broadcast_shape(const char* op, const Shape& a, const Shape& b);

// ---- functions ---------------------------------------------------------------------------------
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor square(const Tensor& x);
Tensor pow(const Tensor& x, double exponent);
Tensor abs(const Tensor& x);   // derivative 0 at 0
Tensor sign(const Tensor& x);  // -1, 0, 1; derivative 0
/// Into [lo, hi]; the derivative is 1 there, ends included, and 0 outside. NaN stays NaN.
Tensor clamp(const Tensor& x, double lo, double hi);

// ---- activations: finite for every finite x ----------------------------------------------------
Tensor relu(const Tensor& x);
Tensor leaky_relu(const Tensor& x, double slope = 0.01);
Tensor silu(const Tensor& x);      // x sigmoid(x)
Tensor sigmoid(const Tensor& x);   // 1 / (1 + exp(-x))
Tensor softplus(const Tensor& x);  // log(1 + exp(x))
Tensor tanh(const Tensor& x);

/// g where x > 0, slope * g elsewhere: the derivative of leaky_relu (slope 0: of relu). x may be the activation's
/// output instead when slope >= 0. Differentiable in g; x only selects.
Tensor leaky_relu_grad(const Tensor& g, const Tensor& x, double slope);

/// Another dtype, same values rounded to nearest even; the gradient is cast back. To integers: truncated towards
/// zero, out-of-range values saturate, NaN gives 0, and no gradient flows. x itself when it already has `dtype`.
Tensor cast(const Tensor& x, DType dtype);

}  // namespace cuboid
