// SPDX-License-Identifier: Apache-2.0
// The CPU implementations of reductions. A result has the rank of x, with 1 where x was reduced.
#pragma once
#include "kernels/dispatch.h"

namespace cuboid::reduce {

using Sum = void(const View& x, const Out& y, const double& scale);  // y = scale * sum
using Max = void(const View& x, const Out& y, const Out& index);     // index: i64, row-major within the reduced axes
using Mark = void(const View& index, const Out& mask);               // 1 where max found it, 0 elsewhere
using Softmax = void(const View& x, const Out& y, const int& axis, const bool& log);

namespace cpu {
void sum(const View& x, const Out& y, const double& scale);
void sum_reference(const View& x, const Out& y, const double& scale);
void max(const View& x, const Out& y, const Out& index);
void max_reference(const View& x, const Out& y, const Out& index);
void mark(const View& index, const Out& mask);
void softmax(const View& x, const Out& y, const int& axis, const bool& log);
void softmax_reference(const View& x, const Out& y, const int& axis, const bool& log);
}  // namespace cpu

}  // namespace cuboid::reduce
