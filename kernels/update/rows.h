// SPDX-License-Identifier: Apache-2.0
// What the rows of update's tables compute, and those of the CPU. Lists hold f32 or f64, one type per list; all tensors at
// one place of the lists have the same shape and the same dense strides.
#pragma once
#include "kernels/dispatch.h"
#include "kernels/update/update.h"

namespace cuboid {

using SgdUpdate = void(const Views& g, const Outs& p, const Outs& m, SgdStep step);
using AdamUpdate = void(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep step);
using AverageUpdate = void(const Views& x, const Outs& average, double decay);
using SquareSum = void(const Views& x, const Out& total);  // one f64
/// y = x min(1, limit / (sqrt(square_sum) + 1e-6)); square_sum is one f64.
using ClipUpdate = void(const Views& x, const View& square_sum, const Outs& y, double limit);
using ScaleUpdate = void(const Views& x, const Outs& y, double factor);

namespace cpu {
SgdUpdate sgd_reference, sgd_pieces;
AdamUpdate adam_reference, adam_pieces;
AverageUpdate average_reference, average_pieces;
SquareSum square_sum_reference, square_sum_pieces;
ClipUpdate clip_reference, clip_pieces;
ScaleUpdate scale_reference, scale_pieces;
}  // namespace cpu

/// What ClipUpdate multiplies by. NaN stays where it came from.
CUBOID_HD inline double clip_factor(double norm, double limit) { return norm > limit ? limit / (norm + 1e-6) : 1; }

}  // namespace cuboid
