// SPDX-License-Identifier: Apache-2.0
// The norms of a dense block as arithmetic on channels, for its implementations on the CPU: statistics as they are made, and what
// a norm's backward pass comes to once its two sums are known.
#pragma once
#include <vector>

#include "kernels/dense_block/block.h"
#include "kernels/dense_block/dense_block.h"

namespace cuboid::dense {

/// Statistics of the slab's channels, in f64, as they are made.
struct ChannelStatistics {
  std::vector<double> mean, var;
  /// Of this process' values, or of those of all ranks.
  void append(const Moments& m, std::int64_t channels, const NormRanks* ranks);
};

/// With the running statistics.
Norm norm_from(const DenseNormTensors& n, double eps);
/// The first channels of `s`; the running statistics take the unbiased variance.
Norm norm_from(const DenseNormTensors& n, const ChannelStatistics& s, double count, const DenseBlockOptions& o);

/// In order.
Moments merged(const std::vector<Moments>& parts, std::int64_t channels);

/// What is still missing from the slab's gradient: g + offset + factor * x, per channel.
struct Pending {
  std::vector<float> offset, factor;
};

using Sums = std::vector<double>;  // per channel: of da, then of da * xhat
Sums added(const std::vector<Sums>& parts);
Sums of_all(const Sums& own, const NormRanks* ranks);
void give(const Sums& sums, float* bias, float* weight);

/// dx = weight rstd (da - mean(da) - xhat mean(da xhat)) as da * a + x * b + c.
struct Affine {
  std::vector<float> a, b, c;
};
Affine through_norm(const Norm& norm, const Sums& sums, double count, bool batch_statistics);

/// conv1 and norm1 backward. Rows are cut into groups, each with its own part of the weights' gradient, and where there
/// are few rows the channels are cut too.
struct PrefixWork {
  std::int64_t row_groups, channel_groups;
  PrefixWork(const Geometry& g, std::int64_t channels);
};

}  // namespace cuboid::dense
