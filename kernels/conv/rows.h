// SPDX-License-Identifier: Apache-2.0
// The signatures of the rows in conv's three tables and matmul's. An absent bias is a View without data. `home` is the storage of
// w when packed copies of the weights may be kept there, or null.
#pragma once
#include "kernels/conv/conv.h"

namespace cuboid {

using ConvForward = void(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
using ConvInput = void(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
using ConvWeight = void(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
using Matmul = void(const View& a, const View& b, const Out& c);  // (B, M, K) x (B, K, N) -> (B, M, N)

namespace cpu {  // plain loops: any floating dtype, any strides
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace cpu

namespace onednn {  // f32 and bf16, activations dense and channels-last, weights contiguous
bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace onednn

namespace depthwise {  // own loops: f32 and bf16, channels-last; 3D forward and input, any weights
bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace depthwise

}  // namespace cuboid
