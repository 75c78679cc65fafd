// SPDX-License-Identifier: Apache-2.0
// AUROC, its variance, precision-recall, resampling.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "apps/metrics.h"
#include "core/error.h"
#include "core/random.h"

namespace cuboid::metrics {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void two_classes(const Scores& scores, const Labels& labels) {
  check(scores.size() == labels.size(), "metrics: ", scores.size(), " scores, ", labels.size(), " labels");
  for (const auto label : labels) check(label == 0 || label == 1, "metrics: label ", label, " where 0 or 1 is needed");
  for (const double s : scores) check(!std::isnan(s), "metrics: a score is NaN");
}

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> midranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t j = i;
    while (j < order.size() && values[order[j]] == values[order[i]]) ++j;
    for (std::size_t k = i; k < j; ++k) ranks[order[k]] = 0.5 * static_cast<double>(i + j + 1);
    i = j;
  }
  return ranks;
}

/// Structural components: for each positive the share of negatives below it, for each negative that of positives above it.
struct Components {
  std::vector<double> positive, negative;
  double area = nan;
};
Components components(const Scores& scores, const Labels& labels) {
  std::vector<double> positives, negatives;
  for (std::size_t i = 0; i < scores.size(); ++i) (labels[i] ? positives : negatives).push_back(scores[i]);
  Components result;
  if (positives.empty() || negatives.empty()) return result;
  std::vector<double> all = positives;
  all.insert(all.end(), negatives.begin(), negatives.end());
  const auto together = midranks(all), among_positives = midranks(positives), among_negatives = midranks(negatives);
  const double m = static_cast<double>(positives.size()), n = static_cast<double>(negatives.size());
  double sum = 0;
  for (std::size_t i = 0; i < positives.size(); ++i) result.positive.push_back((together[i] - among_positives[i]) / n);
  for (std::size_t j = 0; j < negatives.size(); ++j)
    result.negative.push_back(1 - (together[positives.size() + j] - among_negatives[j]) / m);
  for (const double v : result.positive) sum += v;
  result.area = sum / m;
  return result;
}

/// Unbiased covariance; 0 for a single value.
double covariance(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 2) return 0;
  const double n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n, mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
  return sum / (n - 1);
}

double covariance(const Components& a, const Components& b) {
  return covariance(a.positive, b.positive) / static_cast<double>(a.positive.size()) +
         covariance(a.negative, b.negative) / static_cast<double>(a.negative.size());
}

/// Calls visit(threshold, true positives, false positives) after each group of equal scores, highest first.
template <class F>
void sweep(const Scores& scores, const Labels& labels, F&& visit) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  double hits = 0, alarms = 0;
  for (std::size_t i = 0; i < order.size();) {
    const double threshold = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == threshold; ++i) (labels[order[i]] ? hits : alarms) += 1;
    visit(threshold, hits, alarms);
  }
}

}  // namespace

double auroc(const Scores& scores, const Labels& labels) {
  two_classes(scores, labels);
  return components(scores, labels).area;
}

Delong delong(const Scores& scores, const Labels& labels, double level) {
  two_classes(scores, labels);
  const Components c = components(scores, labels);
  if (std::isnan(c.area)) return {nan, nan, {nan, nan}};
  const double variance = covariance(c, c), half = normal_quantile(0.5 + level / 2) * std::sqrt(variance);
  return {c.area, variance, {std::max(0.0, c.area - half), std::min(1.0, c.area + half)}};
}

DelongTest delong_test(const Scores& first, const Scores& second, const Labels& labels) {
  two_classes(first, labels);
  two_classes(second, labels);
  const Components a = components(first, labels), b = components(second, labels);
  if (std::isnan(a.area)) return {nan, nan, nan, nan};
  const double variance = covariance(a, a) + covariance(b, b) - 2 * covariance(a, b);
  const double difference = std::abs(a.area - b.area);
  const double p = variance > 0 ? std::erfc(difference / std::sqrt(2 * variance)) : difference > 0 ? 0 : 1;
  return {a.area, b.area, variance, p};
}

double aupr(const Scores& scores, const Labels& labels) {
  two_classes(scores, labels);
  const double positives = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  if (positives == 0) return nan;
  double area = 0, hits_before = 0;
  sweep(scores, labels, [&](double, double hits, double alarms) {
    area += (hits - hits_before) / positives * hits / (hits + alarms);
    hits_before = hits;
  });
  return area;
}

std::vector<CurvePoint> roc_curve(const Scores& scores, const Labels& labels) {
  two_classes(scores, labels);
  const double positives = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  const double negatives = static_cast<double>(labels.size()) - positives;
  std::vector<CurvePoint> curve = {{0, 0, std::numeric_limits<double>::infinity()}};
  sweep(scores, labels, [&](double threshold, double hits, double alarms) {
    curve.push_back({negatives > 0 ? alarms / negatives : 0, positives > 0 ? hits / positives : 0, threshold});
  });
  return curve;
}

std::vector<CurvePoint> pr_curve(const Scores& scores, const Labels& labels) {
  two_classes(scores, labels);
  const double positives = static_cast<double>(std::count(labels.begin(), labels.end(), 1));
  std::vector<CurvePoint> curve;
  sweep(scores, labels, [&](double threshold, double hits, double alarms) {
    if (curve.empty()) curve.push_back({0, hits / (hits + alarms), threshold});
    curve.push_back({positives > 0 ? hits / positives : 0, hits / (hits + alarms), threshold});
  });
  return curve;
}

Interval bootstrap(const std::vector<std::vector<std::int64_t>>& clusters, const Labels& stratum_of_cluster,
                   const std::function<double(const std::vector<std::int64_t>&)>& statistic, const BootstrapOptions& options) {
  check(clusters.size() == stratum_of_cluster.size(), "bootstrap: ", clusters.size(), " clusters, ", stratum_of_cluster.size(),
        " strata");
  std::map<std::int64_t, std::vector<std::size_t>> strata;
  for (std::size_t i = 0; i < clusters.size(); ++i) strata[stratum_of_cluster[i]].push_back(i);
  std::vector<double> values;
  std::vector<std::int64_t> drawn;
  for (int r = 0; r < options.resamples; ++r) {
    Random random({options.seed, 0xB007, static_cast<std::uint64_t>(r)});
    drawn.clear();
    for (const auto& [label, members] : strata)
      for (std::size_t i = 0; i < members.size(); ++i) {
        const auto& cluster = clusters[members[random.below(members.size())]];
        drawn.insert(drawn.end(), cluster.begin(), cluster.end());
      }
    const double value = statistic(drawn);
    if (!std::isnan(value)) values.push_back(value);
  }
  if (values.empty()) return {nan, nan};
  return {quantile(values, 0.5 - options.level / 2), quantile(values, 0.5 + options.level / 2)};
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return nan;
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  if (below + 1 >= values.size()) return values.back();
  return values[below] + (position - static_cast<double>(below)) * (values[below + 1] - values[below]);
}

double normal_quantile(double p) {
  check(p > 0 && p < 1, "normal_quantile: ", p, " is not within (0, 1)");
  // P. J. Acklam's rational approximation, relative error 1.15e-9
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                          -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  const auto tail = [&](double q) {
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  };
  double x = 0;
  if (p < 0.02425) x = tail(std::sqrt(-2 * std::log(p)));
  else if (p > 1 - 0.02425) x = -tail(std::sqrt(-2 * std::log(1 - p)));
  else {
    const double q = p - 0.5, r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
        (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  const double error = 0.5 * std::erfc(-x / std::sqrt(2.0)) - p;
  const double u = error * std::sqrt(2 * 3.14159265358979323846) * std::exp(x * x / 2);
  return x - u / (1 + x * u / 2);
}

}  // namespace cuboid::metrics
