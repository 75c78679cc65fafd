// SPDX-License-Identifier: Apache-2.0
#include "layers/precision.h"

#include "kernels/pointwise/pointwise.h"

namespace cuboid {

namespace {
thread_local std::optional<DType> current;
}

ComputeIn::ComputeIn(DType dtype) : before_(current) {
  check(is_floating(dtype), "compute_in: ", dtype, " is not a floating type");
  current = dtype;
}
ComputeIn::~ComputeIn() { current = before_; }

std::optional<DType> compute_dtype() { return current; }

Tensor to_compute(const Tensor& x) { return current && x.defined() && x.dtype() != *current ? cast(x, *current) : x; }

}  // namespace cuboid
