// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/norm/norm.h"
#include "layers/module.h"

namespace cuboid {

struct NormOptions {
  double eps = 1e-5;
  double momentum = 0.1;                     // batch norm: share of the new batch in the running statistics
  bool affine = true;                        // instance norm: with weight and bias
  Activation activation = Activation::none;  // applied in the same pass
  double slope = 0.01;                       // of leaky_relu
  bool rebuilt = false;                      // batch norm: not kept for the convolution behind it, but computed again
};

/// Normalises each channel over the batch when training, by the running statistics otherwise.
class BatchNorm : public Module {
 public:
  Parameter weight, bias;
  Buffer running_mean, running_var;
  FIELDS(weight, bias, running_mean, running_var)

  explicit BatchNorm(std::int64_t channels, NormOptions options = {});
  Tensor operator()(const Tensor& x);
  const NormOptions& options() const { return options_; }

  /// From now on the batch is that of all these ranks (kernels/norm/ranks.h); null: of this process alone.
  void set_ranks(std::shared_ptr<const NormRanks> ranks) { ranks_ = std::move(ranks); }
  const std::shared_ptr<const NormRanks>& ranks() const { return ranks_; }

 private:
  NormOptions options_;
  std::shared_ptr<const NormRanks> ranks_;
};

/// Normalises each channel of each sample.
class InstanceNorm : public Module {
 public:
  Parameter weight, bias;
  FIELDS(weight, bias)

  explicit InstanceNorm(std::int64_t channels, NormOptions options = {});
  Tensor operator()(const Tensor& x);

 private:
  NormOptions options_;
};

}  // namespace cuboid
