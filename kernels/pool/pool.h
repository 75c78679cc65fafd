// SPDX-License-Identifier: Apache-2.0
// Average and maximum over windows, in 1 to 3 spatial dimensions. The result has x's layout.
#pragma once
#include "core/tensor.h"

namespace cuboid {

/// One entry per spatial dimension; stride empty = size, padding empty = 0.
struct PoolSpec {
  Shape size, stride = {}, pad_lo = {}, pad_hi = {};
  bool count_include_pad = true;  // avg_pool: divide by the whole window, padding counted
  bool ceil = false;              // round the output size up; a window that starts in the padding at the end is dropped

  static PoolSpec make(int rank, std::int64_t size, std::int64_t stride = 0, std::int64_t pad = 0);  // stride 0 = size
  /// N,C,spatial of the result. Throws when it is empty or the padding exceeds half the window.
  Shape output_shape(const Shape& x) const;
};

Tensor avg_pool(const Tensor& x, const PoolSpec& spec);
/// Padding counts as minus infinity; the first of equal maxima gets the gradient. NaN wins, as in PyTorch.
Tensor max_pool(const Tensor& x, const PoolSpec& spec);
/// Mean over the spatial dimensions: (N, C, spatial) -> (N, C).
Tensor global_avg_pool(const Tensor& x);

}  // namespace cuboid
