// SPDX-License-Identifier: Apache-2.0
// Numbers for noisy timings: order statistics, and how sure the median of paired ratios is.
#pragma once
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace side {

/// Linear between the order statistics; q in [0, 1].
inline double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}
inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

struct Interval {
  double median, low, high;
};
/// Percentile bootstrap (Efron 1979), 95 %, 10,000 resamples, always the same ones.
inline Interval bootstrap_median(const std::vector<double>& values) {
  std::mt19937 generator(1);
  std::uniform_int_distribution<std::size_t> pick(0, values.size() - 1);
  std::vector<double> medians;
  for (int i = 0; i < 10000; ++i) {
    std::vector<double> sample;
    for (std::size_t k = 0; k < values.size(); ++k) sample.push_back(values[pick(generator)]);
    medians.push_back(median(sample));
  }
  return {median(values), quantile(medians, 0.025), quantile(medians, 0.975)};
}

}  // namespace side
