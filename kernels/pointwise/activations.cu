// SPDX-License-Identifier: Apache-2.0
// Activations and the derivatives that one pass computes.
#include "kernels/pointwise/elements.h"

namespace cuboid::cuda {

template struct TwoOperands<pointwise::LeakyReluGrad>;
template struct TwoOperands<pointwise::ClampGrad>;
template struct TwoOperands<pointwise::SigmoidGrad>;
template struct TwoOperands<pointwise::TanhGrad>;
template struct TwoOperands<pointwise::SiluGrad>;
template struct TwoOperands<pointwise::SoftplusGrad>;
template struct OneOperand<pointwise::Relu>;
template struct OneOperand<pointwise::LeakyRelu>;
template struct OneOperand<pointwise::Tanh>;
template struct OneOperand<pointwise::Sigmoid>;
template struct OneOperand<pointwise::Silu>;
template struct OneOperand<pointwise::Softplus>;

}  // namespace cuboid::cuda
