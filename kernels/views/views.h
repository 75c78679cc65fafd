// SPDX-License-Identifier: Apache-2.0
// Other ways to look at the same elements, and ways to put them together. What can be a view is one (it shares memory
// with x and costs nothing); cat, pad and flip copy. Axes may be negative. All dtypes; all differentiable.
#pragma once
#include "core/autograd.h"

namespace cuboid {

/// Row-major order of elements is kept. One dimension may be -1: what is left. A view when the strides allow it.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Dimension i of the result is dimension axes[i] of x.
Tensor permute(const Tensor& x, const Shape& axes);
Tensor transpose(const Tensor& x, int a, int b);
/// A dimension of size 1 put in before `axis` (of the result), or taken out.
Tensor unsqueeze(const Tensor& x, int axis);
Tensor squeeze(const Tensor& x, int axis);

/// Elements start, start+step, ... (`length` of them) along `axis`; step >= 1, start may be negative (from the end).
Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t length, std::int64_t step = 1);
/// The element `index` along `axis`, which disappears.
Tensor select(const Tensor& x, int axis, std::int64_t index);

/// Same rank and dtype, same shape but for `axis`. In the layout of the first tensor.
Tensor cat(const Tensors& parts, int axis = 1);
/// `lo` and `hi` hold one count >= 0 per dimension of x: how many elements of `value` go before and after.
Tensor pad(const Tensor& x, const Shape& lo, const Shape& hi, double value = 0);
/// Reversed along `axes`.
Tensor flip(const Tensor& x, const Shape& axes);

/// Dense in this layout, by a copy only where the elements lie otherwise. The strides of dimensions of size 1 are
/// made those of `layout` as well.
Tensor to_layout(const Tensor& x, Layout layout);
inline Tensor contiguous(const Tensor& x) { return to_layout(x, Layout::contiguous); }

}  // namespace cuboid
