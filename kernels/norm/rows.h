// SPDX-License-Identifier: Apache-2.0
// What the rows of norm's tables compute. Statistics are [segments, channels] in Accum<x's type>: one segment for batch
// norm, one per sample for instance norm; the samples of x divide evenly into the segments. weight and bias are
// [channels] of that type, or Views without data. The activation is max(v, slope * v).
#pragma once
#include "core/tensor.h"

namespace cuboid {

/// Mean and biased variance.
using NormStatistics = void(const View& x, const Out& mean, const Out& var);
/// y = act((x - mean) * rstd * weight + bias).
using NormApply = void(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                       double slope);
/// dweight, dbias [segments, channels]; dx may be without data. With `batch` mean and rstd depend on x. x, g and dx
/// lie the same way.
using NormBackward = void(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                          const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch);

namespace cpu {
// Plain loops, any strides.
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;

/// Rows of channels: dense channels-last, or N,C.
bool is_rows(const View& x);
namespace rows {
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
}  // namespace rows

/// Lines of one channel: dense row-major.
bool is_lines(const View& x);
namespace lines {
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
}  // namespace lines
}  // namespace cpu

}  // namespace cuboid
