// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in norm's tables.
#pragma once
#include "kernels/norm/rows.h"

namespace cuboid::cuda {

// Any floating dtype, any strides; sums in f64. One block per channel of a segment.
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
NormFinish norm_finish;

// Rows of channels: dense channels-last, or N,C. Chunks of rows are cut by shape alone and their sums added in order.
namespace rows {
NormStatistics norm_statistics;
NormApply norm_apply;
NormBackward norm_backward;
}  // namespace rows

}  // namespace cuboid::cuda
