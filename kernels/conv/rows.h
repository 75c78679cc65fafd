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

// What a row says before it is chosen, of the same arguments.
using ConvForwardFits = bool(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home);
using ConvInputFits = bool(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home);
using ConvWeightFits = bool(const View& g, const View& x, const Out& dw, const ConvSpec& spec);
using MatmulFits = bool(const View& a, const View& b, const Out& c);

namespace cpu {  // plain loops: any floating dtype, any strides
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace cpu

namespace onednn {  // f32 and bf16, activations dense and channels-last, weights contiguous
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace onednn

namespace winograd {  // f32, 3x3x3 with stride 1 and padding 1, channels in multiples of 64, planes of 16x16 and more
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace winograd

namespace slim {  // f32, stride 1, up to 4 output channels, input channels in multiples of 16
ConvForwardFits forward_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvWeight conv_weight;
}  // namespace slim

namespace bf {    // for processors with AVX-512 BF16, channels-last; other builds have rows that never fit
namespace stem {  // up to 4 input channels, output channels in multiples of 32
ConvForwardFits forward_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvWeight conv_weight;
}  // namespace stem
namespace winograd {  // 3x3x3 and 3x3 with stride 1 and padding 1, channels in multiples of 32
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace winograd
}  // namespace bf

namespace depthwise {  // own loops: f32 and bf16, channels-last; 3D forward and input, any weights
ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;
}  // namespace depthwise

}  // namespace cuboid
