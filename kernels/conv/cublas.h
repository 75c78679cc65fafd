// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's rows: matrix products, and convolutions that are one (kernels/conv/gemm.h). f32, bf16, f16, f64; f32 sums for the
// 16-bit types; no sums in whatever order the hardware comes to them.
#pragma once
#include "kernels/conv/rows.h"

namespace cuboid::cublas {

/// 10000 * major + 100 * minor + patch, of the library in use.
int version();

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
bool matmul_fits(const View& a, const View& b, const Out& c);
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
Matmul matmul;

}  // namespace cuboid::cublas
