// SPDX-License-Identifier: Apache-2.0
#include "kernels/dense_block/norm_math.h"

#include <algorithm>
#include <cmath>

namespace cuboid::dense {

void ChannelStatistics::append(const Moments& m, std::int64_t channels, const NormRanks* ranks) {
  Tensor means = empty({1, channels}, {.dtype = DType::f64}), vars = empty({1, channels}, {.dtype = DType::f64});
  for (std::int64_t c = 0; c < channels; ++c) {
    means.mutable_data<double>()[c] = m.mean(static_cast<std::size_t>(c));
    vars.mutable_data<double>()[c] = m.variance(static_cast<std::size_t>(c));
  }
  if (ranks) ranks->merge(means, vars);
  mean.insert(mean.end(), means.data<double>(), means.data<double>() + channels);
  var.insert(var.end(), vars.data<double>(), vars.data<double>() + channels);
}

Norm norm_from(const DenseNormTensors& n, double eps) {
  Norm norm{n.weight.data<float>(), n.bias.data<float>(), {}, {}, {}, {}};
  const float *mean = n.running_mean.data<float>(), *var = n.running_var.data<float>();
  for (std::int64_t c = 0; c < n.weight.size(); ++c) {
    norm.mean.push_back(mean[c]);
    norm.rstd.push_back(static_cast<float>(1 / std::sqrt(static_cast<double>(var[c]) + eps)));
  }
  norm.fold();
  return norm;
}

Norm norm_from(const DenseNormTensors& n, const ChannelStatistics& s, double count, const DenseBlockOptions& o) {
  Norm norm{n.weight.data<float>(), n.bias.data<float>(), {}, {}, {}, {}};
  float *mean = n.running_mean.mutable_data<float>(), *var = n.running_var.mutable_data<float>();
  const auto move = [&](float& running, double now) {
    running = static_cast<float>((1 - o.momentum) * static_cast<double>(running) + o.momentum * now);
  };
  for (std::size_t c = 0; c < static_cast<std::size_t>(n.weight.size()); ++c) {
    norm.mean.push_back(static_cast<float>(s.mean[c]));
    norm.rstd.push_back(static_cast<float>(1 / std::sqrt(s.var[c] + o.eps)));
    move(mean[c], s.mean[c]);
    move(var[c], s.var[c] * count / std::max(1., count - 1));
  }
  norm.fold();
  return norm;
}

Moments merged(const std::vector<Moments>& parts, std::int64_t channels) {
  Moments all(channels);
  for (const Moments& m : parts) all.merge(m);
  return all;
}

Sums added(const std::vector<Sums>& parts) {
  Sums all(parts.front().size());
  for (const Sums& part : parts)
    for (std::size_t k = 0; k < all.size(); ++k) all[k] += part[k];
  return all;
}

void give(const Sums& sums, float* bias, float* weight) {
  const std::size_t channels = sums.size() / 2;
  for (std::size_t c = 0; c < channels; ++c) {
    bias[c] = static_cast<float>(sums[c]);
    weight[c] = static_cast<float>(sums[channels + c]);
  }
}

Affine through_norm(const Norm& norm, const Sums& sums, double count, bool batch_statistics) {
  const std::size_t channels = norm.mean.size();
  Affine f{norm.scale, std::vector<float>(channels), std::vector<float>(channels)};
  for (std::size_t k = 0; k < channels && batch_statistics; ++k) {
    f.b[k] = static_cast<float>(-static_cast<double>(norm.scale[k] * norm.rstd[k]) * sums[channels + k] / count);
    f.c[k] = static_cast<float>(-static_cast<double>(norm.scale[k]) * sums[k] / count) - f.b[k] * norm.mean[k];
  }
  return f;
}

Sums of_all(const Sums& own, const NormRanks* ranks) {
  if (!ranks) return own;
  const Tensor all = ranks->total(from_values(own, {static_cast<std::int64_t>(own.size())}));
  return {all.data<double>(), all.data<double>() + all.size()};
}

PrefixWork::PrefixWork(const Geometry& g, std::int64_t channels)
    : row_groups(std::clamp<std::int64_t>(g.voxels() / 256, 1, 16)),
      channel_groups(std::min((16 + row_groups - 1) / row_groups, channels / panel_width)) {}

}  // namespace cuboid::dense
