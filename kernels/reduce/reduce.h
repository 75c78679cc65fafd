// SPDX-License-Identifier: Apache-2.0
// Sums, means and maxima over axes, their adjoint `expand`, and softmax. Axes may be negative; no axes means all.
// Sums of f32, bf16 and f16 are kept in f32 lanes whose partial sums meet in f64, so the error grows with the length
// of a lane (at most 1024 terms), not of the axis; f64 and integers sum in their own type. Results do not depend on the
// number of threads.
#pragma once
#include "core/autograd.h"

namespace cuboid {

/// x: any shape -> shape without `axes` (keepdim: with 1 in their place). The sum of nothing is 0.
Tensor sum(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
/// Floating types. The mean of nothing is NaN.
Tensor mean(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
/// NaN wins over numbers. The gradient goes to the first maximum in row-major order. No axis may have size 0.
Tensor max(const Tensor& x, const Shape& axes = {}, bool keepdim = false);
/// i64 position of the first maximum along `axis`; not differentiable.
Tensor argmax(const Tensor& x, int axis, bool keepdim = false);

/// i64 labels of any shape S -> S + [classes]: 1 at the label, 0 elsewhere (also where the label is out of range).
Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype);

/// Broadcasts x to `shape` as in NumPy (aligned at the last dimension): a view whose repeated dimensions have stride 0.
Tensor expand(const Tensor& x, const Shape& shape);
/// Sums x down to `shape`, which must broadcast to x's: the adjoint of expand. x itself when the shapes agree.
Tensor sum_to(const Tensor& x, const Shape& shape);

/// Along `axis`; same shape and layout as x. The maximum is subtracted first, so nothing overflows.
Tensor softmax(const Tensor& x, int axis);
Tensor log_softmax(const Tensor& x, int axis);

}  // namespace cuboid
