// SPDX-License-Identifier: Apache-2.0
// Batch norm over the samples of several processes: the statistics of all, and what they add to the gradient.
#pragma once
#include <vector>

#include "core/comm/group.h"

namespace cuboid {

/// Which samples a batch norm sees together. Say how many each rank has before each forward pass in training.
class NormRanks {
 public:
  explicit NormRanks(const Group& group) : group_(group) {}
  /// By rank; the same list on all ranks.
  void set_samples(const std::vector<std::int64_t>& samples);
  const std::vector<std::int64_t>& samples() const { return samples_; }

  /// Values per channel over all ranks, where x is this rank's part. Error when x has other samples than this rank was said to.
  double count(const Tensor& x) const { return count(x.dim(0), x.size() / x.dim(1) / x.dim(0)); }
  double count(std::int64_t own_samples, std::int64_t values_per_sample) const;
  /// mean and biased var, [1, C], of this rank's values become those of all.
  void merge(Tensor& mean, Tensor& var) const;
  /// x becomes the sum over all ranks.
  Tensor total(const Tensor& x) const {
    group_.all_reduce(x);
    return x;
  }

 private:
  const Group& group_;
  std::vector<std::int64_t> samples_;
  std::int64_t all_ = 0;
  mutable Tensor shares_;  // [size, 1]: samples / all_
};

}  // namespace cuboid
