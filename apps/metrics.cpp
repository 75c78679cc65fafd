// SPDX-License-Identifier: Apache-2.0
// Decisions, probabilities and bags of cells.
#include "apps/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/random.h"

namespace cuboid::metrics {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
double ratio(std::int64_t a, std::int64_t b, double otherwise) {
  return b ? static_cast<double>(a) / static_cast<double>(b) : otherwise;
}

void same_length(const Probabilities& probabilities, const Labels& labels) {
  check(probabilities.size() == labels.size(), "metrics: ", probabilities.size(), " predictions, ", labels.size(), " labels");
}

}  // namespace

Confusion::Confusion(std::int64_t classes) : counts(at(classes), std::vector<std::int64_t>(at(classes), 0)) {}

void Confusion::add(std::int64_t label, std::int64_t predicted) {
  check(label >= 0 && label < classes() && predicted >= 0 && predicted < classes(), "confusion: label ", label, ", predicted ",
        predicted, " of ", classes(), " classes");
  ++counts[at(label)][at(predicted)];
}
std::int64_t Confusion::of_class(std::int64_t label) const {
  std::int64_t n = 0;
  for (const auto count : counts[at(label)]) n += count;
  return n;
}
std::int64_t Confusion::predicted_as(std::int64_t label) const {
  std::int64_t n = 0;
  for (const auto& row : counts) n += row[at(label)];
  return n;
}
std::int64_t Confusion::total() const {
  std::int64_t n = 0;
  for (std::int64_t c = 0; c < classes(); ++c) n += of_class(c);
  return n;
}
double Confusion::accuracy() const {
  std::int64_t right = 0;
  for (std::int64_t c = 0; c < classes(); ++c) right += counts[at(c)][at(c)];
  return ratio(right, total(), nan);
}
double Confusion::recall(std::int64_t c) const { return ratio(counts[at(c)][at(c)], of_class(c), nan); }
double Confusion::precision(std::int64_t c) const { return ratio(counts[at(c)][at(c)], predicted_as(c), 0); }
double Confusion::f1(std::int64_t c) const { return ratio(2 * counts[at(c)][at(c)], of_class(c) + predicted_as(c), 0); }

double Confusion::balanced_accuracy() const {
  double sum = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < classes(); ++c)
    if (of_class(c)) sum += recall(c), ++present;
  return present ? sum / static_cast<double>(present) : nan;
}
double Confusion::f1_macro() const {
  double sum = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < classes(); ++c)
    if (of_class(c) + predicted_as(c)) sum += f1(c), ++present;
  return present ? sum / static_cast<double>(present) : nan;
}
double Confusion::f1_weighted() const {
  double sum = 0;
  for (std::int64_t c = 0; c < classes(); ++c) sum += f1(c) * static_cast<double>(of_class(c));
  return total() ? sum / static_cast<double>(total()) : nan;
}
double Confusion::mcc() const {
  // R_k = (n * right - sum t_c p_c) / sqrt((n^2 - sum p_c^2)(n^2 - sum t_c^2))
  const double n = static_cast<double>(total());
  double right = 0, tp = 0, tt = 0, pp = 0;
  for (std::int64_t c = 0; c < classes(); ++c) {
    const double t = static_cast<double>(of_class(c)), p = static_cast<double>(predicted_as(c));
    right += static_cast<double>(counts[at(c)][at(c)]);
    tp += t * p, tt += t * t, pp += p * p;
  }
  const double denominator = std::sqrt((n * n - pp) * (n * n - tt));
  return denominator > 0 ? (n * right - tp) / denominator : 0;
}

Confusion confusion(const Labels& labels, const Labels& predicted, std::int64_t classes) {
  check(labels.size() == predicted.size(), "confusion: ", labels.size(), " labels, ", predicted.size(), " predictions");
  Confusion result(classes);
  for (std::size_t i = 0; i < labels.size(); ++i) result.add(labels[i], predicted[i]);
  return result;
}

Labels argmax(const Probabilities& probabilities) {
  Labels result;
  for (const auto& p : probabilities) result.push_back(std::max_element(p.begin(), p.end()) - p.begin());
  return result;
}

Scores column(const Probabilities& probabilities, std::int64_t c) {
  Scores scores;
  for (const auto& p : probabilities) scores.push_back(p.at(at(c)));
  return scores;
}

double one_vs_rest_auroc(const Probabilities& probabilities, const Labels& labels, std::int64_t c) {
  Labels is_class;
  for (const auto label : labels) is_class.push_back(label == c);
  return auroc(column(probabilities, c), is_class);
}

double macro_auroc(const Probabilities& probabilities, const Labels& labels) {
  double sum = 0;
  int present = 0;
  for (std::size_t c = 0; !probabilities.empty() && c < probabilities.front().size(); ++c) {
    const double area = one_vs_rest_auroc(probabilities, labels, static_cast<std::int64_t>(c));
    if (!std::isnan(area)) sum += area, ++present;
  }
  return present ? sum / present : nan;
}

double log_loss(const Probabilities& probabilities, const Labels& labels) {
  same_length(probabilities, labels);
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) sum -= std::log(std::max(1e-12, probabilities[i].at(at(labels[i]))));
  return labels.empty() ? nan : sum / static_cast<double>(labels.size());
}

double brier(const Probabilities& probabilities, const Labels& labels) {
  same_length(probabilities, labels);
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    for (std::size_t c = 0; c < probabilities[i].size(); ++c) {
      const double d = probabilities[i][c] - (static_cast<std::int64_t>(c) == labels[i]);
      sum += d * d;
    }
  return labels.empty() ? nan : sum / static_cast<double>(labels.size());
}

Calibration calibration(const Probabilities& probabilities, const Labels& labels, int bins) {
  same_length(probabilities, labels);
  check(bins > 0, "calibration: ", bins, " bins");
  Calibration result;
  for (int b = 0; b < bins; ++b)
    result.bins.push_back({static_cast<double>(b) / bins, static_cast<double>(b + 1) / bins, 0, 0, 0});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto best = std::max_element(probabilities[i].begin(), probabilities[i].end());
    auto& bin = result.bins[static_cast<std::size_t>(std::clamp(static_cast<int>(std::ceil(*best * bins)) - 1, 0, bins - 1))];
    ++bin.count;
    bin.confidence += *best;
    bin.accuracy += best - probabilities[i].begin() == labels[i];
  }
  for (auto& bin : result.bins) {
    if (!bin.count) continue;
    bin.confidence /= static_cast<double>(bin.count);
    bin.accuracy /= static_cast<double>(bin.count);
    const double gap = std::abs(bin.accuracy - bin.confidence);
    result.ece += gap * ratio(bin.count, static_cast<std::int64_t>(labels.size()), 0);
    result.mce = std::max(result.mce, gap);
  }
  return result;
}

std::vector<Bag> bags_of(const std::vector<std::string>& groups, const Labels& labels) {
  check(groups.size() == labels.size(), "bags: ", groups.size(), " groups, ", labels.size(), " labels");
  std::vector<Bag> bags;
  std::map<std::pair<std::string, std::int64_t>, std::size_t> index;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].empty()) continue;
    const auto [where, fresh] = index.try_emplace({groups[i], labels[i]}, bags.size());
    if (fresh) bags.push_back({groups[i], labels[i], {}});
    bags[where->second].members.push_back(static_cast<std::int64_t>(i));
  }
  return bags;
}

std::vector<double> pool(const Probabilities& probabilities, const std::vector<std::int64_t>& members, Vote vote) {
  check(!members.empty(), "pool: a bag without cells");
  std::vector<double> mean(probabilities.at(at(members.front())).size(), 0);
  for (const auto i : members) {
    const auto& p = probabilities.at(at(i));
    if (vote == Vote::majority) mean[static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin())] += 1;
    else
      for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += p[c];
  }
  for (double& m : mean) m /= static_cast<double>(members.size());
  return mean;
}

std::vector<CellsPoint> cells_curve(const Probabilities& probabilities, const Labels& labels, const std::vector<Bag>& bags,
                                    std::int64_t max_k, int repeats, Vote vote, std::uint64_t seed) {
  same_length(probabilities, labels);
  std::vector<CellsPoint> curve;
  if (bags.empty()) return curve;
  const bool two_classes = probabilities.front().size() == 2;
  for (std::int64_t k = 1; k <= max_k; ++k) {
    std::vector<double> accuracies, areas;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      Random random({seed, static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(repeat)});
      Probabilities pooled;
      Labels truth;
      for (const Bag& bag : bags) {
        auto drawn = bag.members;
        random.shuffle(drawn);
        drawn.resize(std::min(drawn.size(), at(k)));
        pooled.push_back(pool(probabilities, drawn, vote));
        truth.push_back(bag.label);
      }
      accuracies.push_back(confusion(truth, argmax(pooled), static_cast<std::int64_t>(pooled.front().size())).accuracy());
      if (two_classes) areas.push_back(auroc(column(pooled, 1), truth));
    }
    const auto mean = [](const std::vector<double>& v) {
      double sum = 0;
      for (const double x : v) sum += x;
      return v.empty() ? nan : sum / static_cast<double>(v.size());
    };
    const auto spread = [](const std::vector<double>& v) {
      return v.empty() ? Interval{nan, nan} : Interval{quantile(v, 0.025), quantile(v, 0.975)};
    };
    curve.push_back({k, mean(accuracies), mean(areas), spread(accuracies), spread(areas)});
  }
  return curve;
}

}  // namespace cuboid::metrics
