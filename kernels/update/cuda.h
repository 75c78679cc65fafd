// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in update's tables: whole lists in one launch, cut into chunks by size alone.
#pragma once
#include "kernels/update/rows.h"

namespace cuboid::cuda {

// In f64, one element at a time.
SgdUpdate sgd_reference;
AdamUpdate adam_reference;
AverageUpdate average_reference;
SquareSum square_sum_reference;
ClipUpdate clip_reference;
ScaleUpdate scale_reference;

// In the tensors' type, in packets of 16 bytes where all tensors of a place start on one.
SgdUpdate sgd_chunks;
AdamUpdate adam_chunks;
AverageUpdate average_chunks;
SquareSum square_sum_chunks;
ClipUpdate clip_chunks;
ScaleUpdate scale_chunks;

}  // namespace cuboid::cuda
