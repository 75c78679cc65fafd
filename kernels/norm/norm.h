// SPDX-License-Identifier: Apache-2.0
// Batch and instance normalisation over N,C,[D,]H,W (or N,C), optionally with the activation that follows.
// Statistics are kept in f32 (f64 for f64) and are sound for means far larger than the spread. The backward pass keeps
// x, the mean and 1/sqrt(var + eps) per channel; the activation is recomputed from x.
#pragma once
#include <memory>

#include "core/tensor.h"
#include "kernels/norm/activation.h"

namespace cuboid {

class NormRanks;  // kernels/norm/ranks.h

struct BatchNormOptions {
  bool training = false;  // normalise by the batch's statistics and update the running ones in place
  double momentum = 0.1;  // share of the new batch in the running statistics
  double eps = 1e-5;
  Activation activation = Activation::none;
  double slope = 0.01;   // of leaky_relu
  bool rebuilt = false;  // computed again in the backward pass for the convolution behind it, which then need not keep it
  std::shared_ptr<const NormRanks> ranks = {};  // when training: the statistics are those of all these; no second derivative
};

/// weight, bias, running_mean, running_var: (C), f32 or x's dtype. weight and bias may both be undefined; so may the
/// running statistics when training. running_var takes the unbiased variance, as in PyTorch.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean,
                  const Tensor& running_var, BatchNormOptions options = {});

/// Normalises each channel of each sample by itself.
Tensor instance_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5,
                     Activation activation = Activation::none, double slope = 0.01);

}  // namespace cuboid
