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

namespace depthwise {  // dense channels-last f32, bf16 and f16, one channel per group, any other geometry
bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace depthwise

}  // namespace cuboid::cuda
