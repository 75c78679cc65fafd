// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy as one op: no probabilities are kept for the gradient.
#pragma once
#include "core/tensor.h"

namespace cuboid {

enum class Reduction : std::uint8_t { mean, sum, none };

struct CrossEntropyOptions {
  Tensor class_weights = {};   // (C), any floating type; undefined: all 1
  double label_smoothing = 0;  // share of the target spread over all classes
  Reduction reduction = Reduction::mean;
};

/// Logits (N, C), labels (N) i64 in [0, C) -> one value, or (N); f32, or f64 for f64. The mean divides by the sum of the
/// labels' class weights, as PyTorch's does. Labels and weights may be on the CPU when the logits are not. Labels there are
/// checked; a wrong label that is on a device already makes the loss and its gradient NaN.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

}  // namespace cuboid
