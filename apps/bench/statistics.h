// SPDX-License-Identifier: Apache-2.0
// Numbers for noisy timings: order statistics, which rounds a busy machine has spoilt, and how sure the median of ratios is.
// Needs nothing but the standard library, so that programs without the apps may include it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace cuboid::bench {

/// Linear between the order statistics; q in [0, 1]. NaN when there are no values.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}
inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

struct Interval {
  double median = 0, low = 0, high = 0;
};

namespace detail {
constexpr int resamples = 10000;
/// `values` drawn with replacement. The same bits with every standard library.
inline std::vector<double> resample(const std::vector<double>& values, std::mt19937_64& generator) {
  std::vector<double> sample;
  for (std::size_t k = 0; k < values.size(); ++k) sample.push_back(values[generator() % values.size()]);
  return sample;
}
inline Interval interval(double middle, const std::vector<double>& draws) {
  return {middle, quantile(draws, 0.025), quantile(draws, 0.975)};
}
}  // namespace detail

/// Percentile bootstrap (Efron 1979), 95 %, always the same resamples: of the median of ratios that were taken round by round.
inline Interval bootstrap_median(const std::vector<double>& values) {
  std::mt19937_64 generator(1);
  std::vector<double> medians;
  for (int i = 0; i < detail::resamples; ++i) medians.push_back(median(detail::resample(values, generator)));
  return detail::interval(median(values), medians);
}

/// Of median(over) / median(under), for two sets of rounds that have nothing to do with each other.
inline Interval bootstrap_ratio(const std::vector<double>& over, const std::vector<double>& under) {
  std::mt19937_64 generator(1);
  std::vector<double> ratios;
  for (int i = 0; i < detail::resamples; ++i) {
    const double above = median(detail::resample(over, generator));
    ratios.push_back(above / median(detail::resample(under, generator)));
  }
  return detail::interval(median(over) / median(under), ratios);
}

/// What the machine could do before a round, in any unit.
struct Calibration {
  double flops = 0, bytes = 0;
};

/// Round i lies between calibrations i and i + 1, and is kept when both reach `share` of the best in both rates. When fewer
/// than `least` would stay, the least disturbed are taken instead.
struct KeptRounds {
  std::vector<bool> kept;
  bool enough = true;  // false: fewer than `least` were undisturbed
  std::size_t count() const { return static_cast<std::size_t>(std::count(kept.begin(), kept.end(), true)); }
};
inline KeptRounds keep_rounds(const std::vector<Calibration>& calibrations, const Calibration& best, double share,
                              std::size_t least = 3) {
  const std::size_t rounds = calibrations.size() < 2 ? 0 : calibrations.size() - 1;
  const auto reached = [&](const Calibration& c) {
    return std::min(best.flops > 0 ? c.flops / best.flops : 1., best.bytes > 0 ? c.bytes / best.bytes : 1.);
  };
  std::vector<double> worst;
  for (std::size_t i = 0; i < rounds; ++i) worst.push_back(std::min(reached(calibrations[i]), reached(calibrations[i + 1])));
  KeptRounds result;
  for (const double w : worst) result.kept.push_back(w >= share);
  if (result.count() >= std::min(least, rounds)) return result;
  result.enough = false;
  std::vector<std::size_t> order(rounds);
  for (std::size_t i = 0; i < rounds; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return worst[a] > worst[b]; });
  for (std::size_t i = 0; i < std::min(least, rounds); ++i) result.kept[order[i]] = true;
  return result;
}

}  // namespace cuboid::bench
