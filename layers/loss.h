// SPDX-License-Identifier: Apache-2.0
// Losses; the results are f32, or f64 for f64.
#pragma once
#include "kernels/loss/cross_entropy.h"

namespace cuboid {

struct BceOptions {
  Tensor positive_weight = {};  // of the positive class; broadcast against the logits
  Reduction reduction = Reduction::mean;
};

/// Binary cross-entropy of sigmoid(logits) against targets in [0, 1] of the same shape; sound for logits of any size.
Tensor bce_with_logits(const Tensor& logits, const Tensor& targets, const BceOptions& options = {});

/// Mean of (prediction - target)^2.
Tensor mse(const Tensor& prediction, const Tensor& target, Reduction reduction = Reduction::mean);

}  // namespace cuboid
