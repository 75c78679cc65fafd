// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/resize/resize.h"

namespace cuboid {

using ResizeForward = void(const View& x, const Out& y, const ResizeOptions& options);
using ResizeBackward = void(const View& g, const Out& dx, const ResizeOptions& options);

namespace cpu {
// Plain loops over all neighbours of a voxel, any strides; the gradient is scattered.
ResizeForward resize;
ResizeBackward resize_backward;

namespace rows {  // dense channels-last: one axis after the other
ResizeForward resize;
ResizeBackward resize_backward;
}  // namespace rows
}  // namespace cpu

}  // namespace cuboid
