// SPDX-License-Identifier: Apache-2.0
// Functions of one element.
#include "kernels/pointwise/elements.h"

namespace cuboid::cuda {

template struct OneOperand<pointwise::Square>;
template struct OneOperand<pointwise::Abs>;
template struct OneOperand<pointwise::Sign>;
template struct OneOperand<pointwise::Clamp>;
template struct OneOperand<pointwise::Sqrt>;
template struct OneOperand<pointwise::Rsqrt>;
template struct OneOperand<pointwise::Exp>;
template struct OneOperand<pointwise::Log>;
template struct OneOperand<pointwise::Pow>;

}  // namespace cuboid::cuda
