// SPDX-License-Identifier: Apache-2.0
// How good a classifier is. Pure functions on vectors; labels are 0 ... classes-1, scores grow with the positive class.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cuboid::metrics {

using Scores = std::vector<double>;
using Labels = std::vector<std::int64_t>;

struct Interval {
  double low = 0, high = 0;
};

// ---- ranking, two classes: label 1 is positive ------------------------------------------------------
/// Probability that a positive scores above a negative; a tie counts half (Mann-Whitney). NaN when a class is missing.
double auroc(const Scores& scores, const Labels& labels);

struct Delong {
  double auroc = 0, variance = 0;
  Interval interval;  // normal approximation, cut to [0, 1]
};
/// DeLong, DeLong, Clarke-Pearson 1988, with the midranks of Sun and Xu 2014. Treats samples as independent.
Delong delong(const Scores& scores, const Labels& labels, double level = 0.95);

/// Variance of the difference of two AUROCs on the same samples, and the two-sided p value of a difference of zero.
struct DelongTest {
  double first = 0, second = 0, variance = 0, p = 1;
};
DelongTest delong_test(const Scores& first, const Scores& second, const Labels& labels);

/// Area under precision over recall as a step function (average precision); ties form one step. NaN without positives.
double aupr(const Scores& scores, const Labels& labels);

struct CurvePoint {
  double x = 0, y = 0, threshold = 0;
};
/// (false positive rate, true positive rate) from (0,0) to (1,1), one point per distinct score.
std::vector<CurvePoint> roc_curve(const Scores& scores, const Labels& labels);
/// (recall, precision), recall growing; starts at recall 0 with the first precision.
std::vector<CurvePoint> pr_curve(const Scores& scores, const Labels& labels);

// ---- resampling -------------------------------------------------------------------------------------
/// Percentile bootstrap of any statistic of resampled indices. Within each stratum as many are drawn as there are; units of one
/// cluster are drawn together. Resamples whose statistic is NaN are left out.
struct BootstrapOptions {
  int resamples = 2000;
  double level = 0.95;
  std::uint64_t seed = 42;
};
Interval bootstrap(const std::vector<std::vector<std::int64_t>>& clusters, const Labels& stratum_of_cluster,
                   const std::function<double(const std::vector<std::int64_t>&)>& statistic,
                   const BootstrapOptions& options = {});

// ---- hard decisions ---------------------------------------------------------------------------------
/// counts[true][predicted].
struct Confusion {
  explicit Confusion(std::int64_t classes = 0);
  std::vector<std::vector<std::int64_t>> counts;

  void add(std::int64_t label, std::int64_t predicted);
  std::int64_t classes() const { return static_cast<std::int64_t>(counts.size()); }
  std::int64_t total() const;
  std::int64_t of_class(std::int64_t label) const;      // row sum
  std::int64_t predicted_as(std::int64_t label) const;  // column sum
  double accuracy() const;
  double recall(std::int64_t label) const;     // NaN for a class without samples
  double precision(std::int64_t label) const;  // 0 when nothing was predicted as it
  double f1(std::int64_t label) const;
  double balanced_accuracy() const;  // mean recall of the classes that occur
  double f1_macro() const;           // mean over classes that occur or are predicted
  double f1_weighted() const;        // by class frequency
  double mcc() const;                // Gorodkin 2004 for several classes; 0 when it is undefined
};
Confusion confusion(const Labels& labels, const Labels& predicted, std::int64_t classes);

// ---- probabilities ----------------------------------------------------------------------------------
/// probabilities[i][c]
using Probabilities = std::vector<std::vector<double>>;

Labels argmax(const Probabilities& probabilities);
/// Of class `c` against all others.
double one_vs_rest_auroc(const Probabilities& probabilities, const Labels& labels, std::int64_t c);
/// Mean over the classes that occur.
double macro_auroc(const Probabilities& probabilities, const Labels& labels);
Scores column(const Probabilities& probabilities, std::int64_t c);
/// Mean of -log p(true class); p is kept above 1e-12.
double log_loss(const Probabilities& probabilities, const Labels& labels);
/// Mean over samples of the sum over classes of (p - one hot)^2.
double brier(const Probabilities& probabilities, const Labels& labels);

struct CalibrationBin {
  double low = 0, high = 0, confidence = 0, accuracy = 0;
  std::int64_t count = 0;
};
struct Calibration {
  double ece = 0;  // expected calibration error: count-weighted mean of |accuracy - confidence|
  double mce = 0;  // the largest of them
  std::vector<CalibrationBin> bins;
};
/// Of the predicted class, bins (low, high] of equal width (Guo et al. 2017).
Calibration calibration(const Probabilities& probabilities, const Labels& labels, int bins = 10);

// ---- several cells of one patient -------------------------------------------------------------------
enum class Vote { mean_softmax, majority };

/// Cells of one patient that carry one label.
struct Bag {
  std::string name;
  std::int64_t label = 0;
  std::vector<std::int64_t> members;  // indices of samples
};
/// One bag per group and label, in order of first appearance; empty groups are left out.
std::vector<Bag> bags_of(const std::vector<std::string>& groups, const Labels& labels);

/// Class probabilities of a bag: mean softmax, or the share of votes.
std::vector<double> pool(const Probabilities& probabilities, const std::vector<std::int64_t>& members, Vote vote);

struct CellsPoint {
  std::int64_t k = 0;
  double accuracy = 0, auroc = 0;  // means over the repeats; auroc is NaN unless there are two classes
  Interval accuracy_interval, auroc_interval;
};
/// k = 1 ... max_k cells of a patient, drawn without replacement and pooled, `repeats` times. A patient with fewer than k
/// cells gives all it has. The intervals hold 95 % of the repeats.
std::vector<CellsPoint> cells_curve(const Probabilities& probabilities, const Labels& labels, const std::vector<Bag>& bags,
                                    std::int64_t max_k, int repeats, Vote vote, std::uint64_t seed);

/// Linear interpolation between order statistics; `values` need not be sorted.
double quantile(std::vector<double> values, double q);
/// Inverse of the standard normal distribution function (Acklam's approximation with one Halley step: full precision).
double normal_quantile(double p);

}  // namespace cuboid::metrics
