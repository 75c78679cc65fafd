// SPDX-License-Identifier: Apache-2.0
// Arithmetic of two tensors, and of a tensor and a number.
#include "kernels/pointwise/elements.h"

namespace cuboid::cuda {

template struct TwoOperands<pointwise::Add>;
template struct TwoOperands<pointwise::Subtract>;
template struct TwoOperands<pointwise::Multiply>;
template struct TwoOperands<pointwise::Divide>;
template struct OneOperand<pointwise::AddConstant>;
template struct OneOperand<pointwise::MultiplyConstant>;
template struct OneOperand<pointwise::DivideByConstant>;
template struct OneOperand<pointwise::SubtractFromConstant>;
template struct OneOperand<pointwise::DivideConstant>;
template struct OneOperand<pointwise::Negate>;

}  // namespace cuboid::cuda
