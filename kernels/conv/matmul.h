// SPDX-License-Identifier: Apache-2.0
// Matrix products. Operands may be transposed or sliced views: no copy is made of them.
#pragma once
#include "core/tensor.h"

namespace cuboid {

/// (M, K) x (K, N) -> (M, N), or batched: (B, M, K) x (B, K, N) -> (B, M, N).
Tensor matmul(const Tensor& a, const Tensor& b);

/// x (..., C), w (K, C), bias (K) or undefined -> (..., K).
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});

}  // namespace cuboid
