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
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace depthwise

namespace stem {  // dense channels-last bf16 and f16 of at most four channels, no groups, no dilation along lines
ConvForwardFits forward_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvWeight conv_weight;
}  // namespace stem

namespace simt {  // dense channels-last, any floating dtype; at most 10 taps per axis and phase, gradient of the input at stride
                  // <= 4
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
MatmulFits matmul_fits;
Matmul matmul;
/// matmul plus a bias per column, or none (a View without data).
void gemm(const View& a, const View& b, const View& bias, const Out& c);
}  // namespace simt

namespace mma {  // as simt; bf16 and f16, f32 where TF32 is allowed; channels in whole packets of 16 bytes
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
MatmulFits matmul_fits;
Matmul matmul;
/// matmul plus a bias per column, or none (a View without data).
void gemm(const View& a, const View& b, const View& bias, const Out& c);
}  // namespace mma

namespace wgmma {  // as mma, bf16 and f16 without groups, on devices of compute capability 9.0; padding up to 16, reach of the
                   // taps up to 31, stride up to 8
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
MatmulFits matmul_fits;
Matmul matmul;
/// matmul plus a bias per column, or none (a View without data).
void gemm(const View& a, const View& b, const View& bias, const Out& c);
}  // namespace wgmma

namespace gemm {  // kernels of one voxel at stride 1, no groups: as a product of matrices
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace gemm

}  // namespace cuboid::cuda
