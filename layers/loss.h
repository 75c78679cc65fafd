// SPDX-License-Identifier: Apache-2.0
// Losses. 16-bit predictions are widened to f32 first.
#pragma once
#include "core/tensor.h"

namespace cuboid {

enum class Reduction : std::uint8_t { mean, sum, none };

struct CrossEntropyOptions {
  Tensor class_weights = {};   // (C), any floating type; undefined: all 1
  double label_smoothing = 0;  // share of the target spread over all classes
  Reduction reduction = Reduction::mean;
};

/// Softmax cross-entropy: logits (N, C), labels (N) i64 in [0, C) -> one value, or (N). The mean divides by the sum of the
/// labels' class weights, as PyTorch's does.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options = {});

struct BceOptions {
  Tensor positive_weight = {};  // of the positive class; broadcast against the logits
  Reduction reduction = Reduction::mean;
};

/// Binary cross-entropy of sigmoid(logits) against targets in [0, 1] of the same shape; sound for logits of any size.
Tensor bce_with_logits(const Tensor& logits, const Tensor& targets, const BceOptions& options = {});

/// Mean of (prediction - target)^2.
Tensor mse(const Tensor& prediction, const Tensor& target, Reduction reduction = Reduction::mean);

}  // namespace cuboid
