// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in resize's tables. Each result is gathered by one thread, the gradient too.
#pragma once
#include "kernels/resize/rows.h"

namespace cuboid::cuda {

// Any floating dtype, any strides.
ResizeForward resize;
ResizeBackward resize_backward;

namespace packets {  // the channels of a voxel lie side by side, in whole packets of 16 bytes
bool resize_fits(const View& from, const Out& to, const ResizeOptions& options);
ResizeForward resize;
ResizeBackward resize_backward;
}  // namespace packets

}  // namespace cuboid::cuda
