// SPDX-License-Identifier: Apache-2.0
// Mixed precision: within the scope, convolutions and matrix products compute in a 16-bit type. The casts are
// differentiable, so parameters and their gradients stay f32; norms keep their statistics in f32.
//
//   { const ComputeIn scope(DType::bf16); loss = cross_entropy(net(x), labels); }
//   backward(loss);
#pragma once
#include <optional>

#include "core/tensor.h"

namespace cuboid {

class ComputeIn {
 public:
  explicit ComputeIn(DType dtype);
  ComputeIn(const ComputeIn&) = delete;
  ComputeIn& operator=(const ComputeIn&) = delete;
  ~ComputeIn();

 private:
  std::optional<DType> before_;
};

/// The type of the innermost scope of this thread.
std::optional<DType> compute_dtype();
/// x in that type; x itself outside of any scope, or when undefined.
Tensor to_compute(const Tensor& x);

}  // namespace cuboid
