// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in the tables of conv and matmul. `home`: see rows.h.
#pragma once
#include "kernels/conv/rows.h"

namespace cuboid::cuda {

// Any floating dtype, any strides, any geometry; f32 sums (f64 for f64). One thread per result; the weights' gradient
// is cut along the voxels by shape alone and its parts are added in order.
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
Matmul matmul;

}  // namespace cuboid::cuda
