// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's rows: matrix products, and convolutions that are one (kernels/conv/gemm.h). f32, bf16, f16, f64; f32 sums for the
// 16-bit types; no sums in whatever order the hardware comes to them.
#pragma once
#include "kernels/conv/rows.h"

namespace cuboid::cublas {

/// 10000 * major + 100 * minor + patch, of the library in use.
int version();

ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
MatmulFits matmul_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
Matmul matmul;

}  // namespace cuboid::cublas
