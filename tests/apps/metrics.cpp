// SPDX-License-Identifier: Apache-2.0
// Metrics against hand-computed values and direct O(n^2) definitions.
#include "apps/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"

using namespace cuboid;
using namespace cuboid::metrics;

namespace {

/// Scores with ties; about a third positive and a little higher.
struct Sample {
  Scores scores;
  Labels labels;
};
Sample random_sample(std::uint64_t seed, int n, std::uint64_t levels) {
  Random random({seed, 1, 0});
  Sample s;
  for (int i = 0; i < n; ++i) {
    s.labels.push_back(i < 2 ? i : random.chance(0.35));
    s.scores.push_back(static_cast<double>(random.below(levels)) + 2.0 * static_cast<double>(s.labels.back()));
  }
  return s;
}

double psi(double positive, double negative) { return positive > negative ? 1 : positive == negative ? 0.5 : 0; }

/// Equations 2 to 5 of DeLong et al. 1988, written out.
struct Direct {
  double area = 0, variance = 0;
};
Direct direct_delong(const Sample& s) {
  std::vector<double> x, y;
  for (std::size_t i = 0; i < s.scores.size(); ++i) (s.labels[i] ? x : y).push_back(s.scores[i]);
  const double m = static_cast<double>(x.size()), n = static_cast<double>(y.size());
  std::vector<double> v10(x.size(), 0), v01(y.size(), 0);
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < y.size(); ++j) v10[i] += psi(x[i], y[j]) / n, v01[j] += psi(x[i], y[j]) / m;
  Direct d;
  for (const double v : v10) d.area += v / m;
  double s10 = 0, s01 = 0;
  for (const double v : v10) s10 += (v - d.area) * (v - d.area);
  for (const double v : v01) s01 += (v - d.area) * (v - d.area);
  if (m > 1) d.variance += s10 / (m - 1) / m;
  if (n > 1) d.variance += s01 / (n - 1) / n;
  return d;
}

TEST(Metrics, AurocAndItsVarianceMatchTheDefinition) {
  for (std::uint64_t seed = 0; seed < 40; ++seed)
    for (const std::uint64_t levels : {2u, 7u, 1000u}) {
      const Sample s = random_sample(seed, 5 + static_cast<int>(seed) * 3, levels);
      const Direct expected = direct_delong(s);
      const Delong got = delong(s.scores, s.labels);
      EXPECT_NEAR(auroc(s.scores, s.labels), expected.area, 1e-12) << seed;
      EXPECT_NEAR(got.variance, expected.variance, 1e-12) << seed;
      EXPECT_LE(got.interval.low, got.auroc);
      EXPECT_GE(got.interval.high, got.auroc);
    }
}

TEST(Metrics, AurocByHand) {
  // positives 0.8 0.4, negatives 0.6 0.4 0.2: pairs won 3 + (0.4: half + 1) = 4.5 of 6
  EXPECT_DOUBLE_EQ(auroc({0.8, 0.4, 0.6, 0.4, 0.2}, {1, 1, 0, 0, 0}), 4.5 / 6);
  EXPECT_DOUBLE_EQ(auroc({1, 2, 3, 4}, {0, 0, 1, 1}), 1);
  EXPECT_DOUBLE_EQ(auroc({4, 3, 2, 1}, {0, 0, 1, 1}), 0);
  EXPECT_DOUBLE_EQ(auroc({5, 5, 5}, {1, 0, 0}), 0.5);
  EXPECT_TRUE(std::isnan(auroc({1, 2}, {1, 1})));
  EXPECT_THROW(auroc({1, NAN}, {0, 1}), Error);
  EXPECT_THROW(auroc({1}, {0, 1}), Error);
  // A perfect ranking shows no variance.
  const Delong perfect = delong({1, 2, 3, 4}, {0, 0, 1, 1});
  EXPECT_EQ(perfect.interval.low, 1);
  EXPECT_EQ(perfect.interval.high, 1);
}

TEST(Metrics, AurocSeesRanksOnly) {
  const Sample s = random_sample(3, 60, 20);
  Scores warped, negated;
  Labels swapped;
  for (const double v : s.scores) warped.push_back(std::exp(v / 7)), negated.push_back(-v);
  for (const auto l : s.labels) swapped.push_back(1 - l);
  EXPECT_DOUBLE_EQ(auroc(warped, s.labels), auroc(s.scores, s.labels));
  EXPECT_NEAR(auroc(negated, s.labels), 1 - auroc(s.scores, s.labels), 1e-12);
  EXPECT_NEAR(auroc(negated, swapped), auroc(s.scores, s.labels), 1e-12);
}

TEST(Metrics, DelongTestOfTwoRankings) {
  const Sample s = random_sample(5, 80, 50);
  Scores noisy = s.scores;
  Random random({9, 9, 9});
  for (double& v : noisy) v += 20 * random.normal();
  const DelongTest same = delong_test(s.scores, s.scores, s.labels);
  EXPECT_NEAR(same.variance, 0, 1e-15);
  EXPECT_EQ(same.p, 1);
  const DelongTest different = delong_test(s.scores, noisy, s.labels);
  EXPECT_DOUBLE_EQ(different.p, delong_test(noisy, s.scores, s.labels).p);
  // the variance of a difference lies between the squares of the difference and of the sum of the deviations
  const double a = std::sqrt(delong(s.scores, s.labels).variance), b = std::sqrt(delong(noisy, s.labels).variance);
  EXPECT_LE(different.variance, (a + b) * (a + b) + 1e-15);
  EXPECT_GE(different.variance, (a - b) * (a - b) - 1e-15);
}

TEST(Metrics, AuprByHand) {
  // ranked 1 0 1 1 0: precision at the hits 1, 2/3, 3/4
  EXPECT_NEAR(aupr({5, 4, 3, 2, 1}, {1, 0, 1, 1, 0}), (1 + 2.0 / 3 + 3.0 / 4) / 3, 1e-15);
  // a tie of one hit and one miss is one step of precision 1/2
  EXPECT_NEAR(aupr({2, 2}, {1, 0}), 0.5, 1e-15);
  EXPECT_NEAR(aupr({1, 1, 1, 1}, {1, 0, 0, 0}), 0.25, 1e-15);
  EXPECT_TRUE(std::isnan(aupr({1, 2}, {0, 0})));
}

TEST(Metrics, CurvesHoldTheirAreas) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Sample s = random_sample(seed, 50, 9);
    const auto roc = roc_curve(s.scores, s.labels);
    double area = 0;
    for (std::size_t i = 1; i < roc.size(); ++i) area += (roc[i].x - roc[i - 1].x) * (roc[i].y + roc[i - 1].y) / 2;
    EXPECT_NEAR(area, auroc(s.scores, s.labels), 1e-12);
    EXPECT_EQ(roc.back().x, 1);
    EXPECT_EQ(roc.back().y, 1);
    const auto pr = pr_curve(s.scores, s.labels);
    area = 0;
    for (std::size_t i = 1; i < pr.size(); ++i) area += (pr[i].x - pr[i - 1].x) * pr[i].y;
    EXPECT_NEAR(area, aupr(s.scores, s.labels), 1e-12);
  }
}

TEST(Metrics, ConfusionByHand) {
  Confusion c(3);
  c.counts = {{5, 2, 0}, {1, 3, 1}, {0, 0, 8}};  // rows true
  EXPECT_EQ(c.total(), 20);
  EXPECT_DOUBLE_EQ(c.accuracy(), 16.0 / 20);
  EXPECT_DOUBLE_EQ(c.balanced_accuracy(), (5.0 / 7 + 3.0 / 5 + 1) / 3);
  const double f[] = {2.0 * 5 / (7 + 6), 2.0 * 3 / (5 + 5), 2.0 * 8 / (8 + 9)};
  EXPECT_DOUBLE_EQ(c.f1_macro(), (f[0] + f[1] + f[2]) / 3);
  EXPECT_NEAR(c.f1_weighted(), (7 * f[0] + 5 * f[1] + 8 * f[2]) / 20, 1e-15);
  // Gorodkin: (c s - sum t p) / sqrt((s^2 - sum p^2)(s^2 - sum t^2)), s = 20, c = 16, t = 7 5 8, p = 6 5 9
  EXPECT_NEAR(c.mcc(), (16 * 20 - (42 + 25 + 72)) / std::sqrt((400.0 - 142) * (400.0 - 138)), 1e-15);
  EXPECT_THROW(c.add(3, 0), Error);
}

TEST(Metrics, MccOfTwoClassesIsTheClassicFormula) {
  Random random({4, 0, 0});
  for (int i = 0; i < 50; ++i) {
    std::int64_t n[4];
    for (auto& v : n) v = static_cast<std::int64_t>(random.below(20));
    Confusion c(2);
    c.counts = {{n[0], n[1]}, {n[2], n[3]}};
    const double tn = static_cast<double>(n[0]), fp = static_cast<double>(n[1]), fn = static_cast<double>(n[2]),
                 tp = static_cast<double>(n[3]);
    const double root = std::sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn));
    EXPECT_NEAR(c.mcc(), root > 0 ? (tp * tn - fp * fn) / root : 0, 1e-12);
  }
}

TEST(Metrics, AClassWithoutSamplesDoesNotCount) {
  const Confusion c = confusion({0, 0, 1}, {0, 1, 1}, 3);
  EXPECT_DOUBLE_EQ(c.balanced_accuracy(), 0.75);
  EXPECT_TRUE(std::isnan(c.recall(2)));
  EXPECT_DOUBLE_EQ(c.f1_macro(), (2.0 / 3 + 2.0 / 3) / 2);
}

TEST(Metrics, Probabilities) {
  const Probabilities p = {{0.9, 0.1}, {0.6, 0.4}, {0.3, 0.7}, {0.2, 0.8}};
  const Labels labels = {0, 1, 1, 1};
  EXPECT_EQ(argmax(p), (Labels{0, 0, 1, 1}));
  EXPECT_NEAR(log_loss(p, labels), -(std::log(0.9) + std::log(0.4) + std::log(0.7) + std::log(0.8)) / 4, 1e-15);
  EXPECT_NEAR(brier(p, labels), 2 * (0.01 + 0.36 + 0.09 + 0.04) / 4, 1e-15);
  EXPECT_DOUBLE_EQ(one_vs_rest_auroc(p, labels, 1), 1);
  EXPECT_DOUBLE_EQ(macro_auroc(p, labels), 1);
}

TEST(Metrics, CalibrationByHand) {
  const Probabilities p = {{0.9, 0.1}, {0.05, 0.95}, {0.6, 0.4}};
  const Calibration c = calibration(p, {0, 0, 0}, 10);
  EXPECT_EQ(c.bins[8].count, 1);  // (0.8, 0.9]
  EXPECT_EQ(c.bins[9].count, 1);
  EXPECT_EQ(c.bins[5].count, 1);
  EXPECT_NEAR(c.ece, (0.1 + 0.95 + 0.4) / 3, 1e-12);
  EXPECT_NEAR(c.mce, 0.95, 1e-12);
  EXPECT_EQ(calibration({{1.0, 0.0}}, {0}, 10).ece, 0);
}

TEST(Metrics, QuantilesAndTheNormalDistribution) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 1), 4);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-12);
  for (const double p : {1e-9, 0.01, 0.3, 0.5, 0.9, 0.9999})
    EXPECT_NEAR(0.5 * std::erfc(-normal_quantile(p) / std::sqrt(2.0)), p, 1e-14 + 1e-12 * p);
}

TEST(Metrics, BootstrapOfAMeanHasItsWidth) {
  // The mean of 400 uniform numbers has the standard error sqrt(1/12/400).
  Random random({1, 2, 3});
  std::vector<double> values;
  std::vector<std::vector<std::int64_t>> clusters, four;
  for (std::int64_t i = 0; i < 400; ++i) values.push_back(random.uniform()), clusters.push_back({i});
  for (std::int64_t i = 0; i < 100; ++i) four.push_back({i, i, i, i});
  const auto mean = [&](const std::vector<std::int64_t>& drawn) {
    double sum = 0;
    for (const auto i : drawn) sum += values[static_cast<std::size_t>(i)];
    return sum / static_cast<double>(drawn.size());
  };
  const Interval got = bootstrap(clusters, Labels(400, 0), mean);
  EXPECT_NEAR(got.high - got.low, 2 * 1.96 * std::sqrt(1.0 / 12 / 400), 0.006);
  const Interval again = bootstrap(clusters, Labels(400, 0), mean);
  EXPECT_EQ(got.low, again.low);
  EXPECT_EQ(got.high, again.high);
  // Clusters of four equal values carry a quarter of the information: twice the width.
  const Interval wide = bootstrap(four, Labels(100, 0), mean);
  EXPECT_NEAR((wide.high - wide.low) / (got.high - got.low), 2, 0.35);
}

TEST(Metrics, BootstrapKeepsTheStrata) {
  const std::vector<std::vector<std::int64_t>> clusters = {{0}, {1}, {2}, {3}, {4}};
  const Interval share = bootstrap(clusters, {0, 0, 0, 1, 1}, [](const std::vector<std::int64_t>& drawn) {
    return static_cast<double>(std::count_if(drawn.begin(), drawn.end(), [](auto i) { return i >= 3; }));
  });
  EXPECT_EQ(share.low, 2);
  EXPECT_EQ(share.high, 2);
}

TEST(Metrics, BagsAndVotes) {
  const auto bags = bags_of({"a", "b", "a", "", "a"}, {0, 1, 0, 1, 1});
  ASSERT_EQ(bags.size(), 3u);  // patient a has cells of two labels
  EXPECT_EQ(bags[0].members, (std::vector<std::int64_t>{0, 2}));
  const Probabilities p = {{0.9, 0.1}, {0.45, 0.55}, {0.45, 0.55}};
  EXPECT_NEAR(pool(p, {0, 1, 2}, Vote::mean_softmax)[0], 0.6, 1e-15);
  EXPECT_NEAR(pool(p, {0, 1, 2}, Vote::majority)[1], 2.0 / 3, 1e-15);
}

TEST(Metrics, MoreCellsOfAPatientHelp) {
  // Ten patients; each cell is right with probability 0.7: the binomial majority is known.
  Random random({8, 1, 1});
  Probabilities p;
  Labels labels;
  std::vector<std::string> groups;
  for (int patient = 0; patient < 10; ++patient)
    for (int cell = 0; cell < 400; ++cell) {
      const std::int64_t label = patient % 2;
      const bool says_one = random.chance(label ? 0.7 : 0.3);
      p.push_back({says_one ? 0.2 : 0.8, says_one ? 0.8 : 0.2});
      labels.push_back(label);
      groups.push_back("p" + std::to_string(patient));
    }
  const auto curve = cells_curve(p, labels, bags_of(groups, labels), 5, 300, Vote::majority, 1);
  ASSERT_EQ(curve.size(), 5u);
  EXPECT_NEAR(curve[0].accuracy, 0.7, 0.03);
  EXPECT_NEAR(curve[2].accuracy, 0.784, 0.03);    // 0.7^3 + 3 * 0.7^2 * 0.3
  EXPECT_NEAR(curve[4].accuracy, 0.83692, 0.03);  // three or more right of five
  EXPECT_LE(curve[2].accuracy_interval.low, curve[2].accuracy);
}

}  // namespace
