// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/ranks.h"

#include <numeric>

#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"

namespace cuboid {

void NormRanks::set_samples(const std::vector<std::int64_t>& samples) {
  check(samples.size() == static_cast<std::size_t>(group_.size()), "batch_norm: samples of ", samples.size(),
        " ranks, the group has ", group_.size());
  if (samples == samples_) return;
  samples_ = samples;
  all_ = std::accumulate(samples.begin(), samples.end(), std::int64_t{0});
  shares_ = Tensor();
}

double NormRanks::count(std::int64_t own_samples, std::int64_t values_per_sample) const {
  check(!samples_.empty(), "batch_norm: nobody said how many samples each rank has in this step");
  const std::int64_t mine = samples_[static_cast<std::size_t>(group_.rank())];
  check(own_samples == mine, "batch_norm: x has ", own_samples, " samples, this rank was said to have ", mine);
  return static_cast<double>(values_per_sample) * static_cast<double>(all_);
}

// Chan, Golub, LeVeque 1979: the variance of the whole is the mean of the parts' variances and of their means' squared distances.
void NormRanks::merge(Tensor& mean_of, Tensor& var_of) const {
  const Recording off(false);
  const std::int64_t channels = mean_of.dim(1), ranks = group_.size();
  if (!shares_.defined() || shares_.dtype() != mean_of.dtype() || shares_.device() != mean_of.device()) {
    std::vector<double> shares;
    for (const auto n : samples_) shares.push_back(static_cast<double>(n) / static_cast<double>(all_));
    shares_ = to(cast(from_values(shares, {ranks, 1}), mean_of.dtype()), mean_of.device());
  }
  const Tensor all = group_.all_gather(cat({mean_of, var_of}, 0));  // [ranks, 2, C]
  const Tensor means = select(all, 1, 0), vars = select(all, 1, 1);
  const Tensor mean = reshape(sum(means * shares_, {0}), {1, channels});
  var_of = reshape(sum((vars + square(means - mean)) * shares_, {0}), {1, channels});
  mean_of = mean;
}

}  // namespace cuboid
