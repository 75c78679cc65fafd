// SPDX-License-Identifier: Apache-2.0
// What the rows of norm's tables compute. Statistics are [segments, channels] in Accum<x's type>: one segment for batch
// norm, one per sample for instance norm; the samples of x divide evenly into the segments. weight and bias are
// [channels] of that type, or Views without data. The activation is max(v, slope * v).
#pragma once
#include "core/tensor.h"

namespace cuboid {

/// Mean and biased variance.
using NormStatistics = void(const View& x, const Out& mean, const Out& var);
struct NormUpdate {
  double eps;
  double momentum = 0, unbiased = 1;  // running = (1 - momentum) * running + momentum * batch; the variance times `unbiased`
};
/// rstd = 1 / sqrt(var + eps); mean, var and rstd lie alike. The running statistics, [channels] of any floating dtype, are
/// Views without data where there are none.
using NormFinish = void(const View& mean, const View& var, const Out& rstd, const Out& running_mean, const Out& running_var,
                        const NormUpdate& update);
/// y = act((x - mean) * rstd * weight + bias).
using NormApply = void(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                       double slope);
/// dweight, dbias [segments, channels]; dx may be without data. With `batch` mean and rstd depend on x. x, g and dx
/// lie the same way.
using NormBackward = void(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                          const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch);

/// Rows of channels: dense channels-last, or N,C.
inline bool is_rows(const View& x) { return x.is(x.rank() == 2 ? Layout::contiguous : Layout::channels_last); }
/// Lines of one channel: dense row-major.
inline bool is_lines(const View& x) { return x.rank() >= 3 && x.is(Layout::contiguous); }

namespace cpu {
// Plain loops, any strides.
NormStatistics norm_statistics;
NormFinish norm_finish;
NormApply norm_apply;
NormBackward norm_backward;

namespace rows {
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
}  // namespace rows

namespace lines {
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
}  // namespace lines
}  // namespace cpu

}  // namespace cuboid
