// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in reduce's tables. Every sum is cut by shape alone and added in a fixed order.
#pragma once
#include "kernels/reduce/axes.h"
#include "kernels/reduce/cpu.h"

namespace cuboid::reduce::cuda {

// Any dtype, any strides; sums and exponentials in f64. A team of threads per output.
Sum sum_reference;
Max max_reference;
Mark mark;
Softmax softmax_reference;

// Any strides; where outputs are few, their elements are shared out among teams whose results are added in order.
Sum sum_teams;
Max max_teams;
/// Exponentials in f32 (f64 for f64).
Softmax softmax_teams;

// Packets along the fastest dimension of x, which is summed (rows) or kept (columns). Lanes of f32 meet in f64.
bool fits_rows(const View& x, const Out& y, const double& scale);
Sum sum_rows;
bool fits_columns(const View& x, const Out& y, const double& scale);
Sum sum_columns;

/// The second stage: y's elements from parts of f64 (for integers: of u64).
void add_parts(const Axes<2>& axes, const void* parts, const Out& y, double scale);

}  // namespace cuboid::reduce::cuda
