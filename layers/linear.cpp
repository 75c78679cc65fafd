// SPDX-License-Identifier: Apache-2.0
#include "layers/linear.h"

#include "kernels/conv/matmul.h"
#include "layers/init.h"
#include "layers/precision.h"

namespace cuboid {

Linear::Linear(std::int64_t in, std::int64_t out, LinearOptions o) {
  weight = Parameter(fan_uniform({out, in}, in));
  if (o.bias) bias = Parameter(fan_uniform({out}, in));
}

Tensor Linear::operator()(const Tensor& x) { return linear(to_compute(x), to_compute(weight), to_compute(bias)); }

}  // namespace cuboid
