// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/deepis/predict.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/parallel.h"
#include "data/morphology/components.h"

namespace cuboid::deepis {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

/// Values along one axis of the grid; `standard` is the place of the default, which stays unnamed (-1) where it depends on the
/// voxels.
struct Axis {
  std::vector<double> values;
  std::size_t standard = 0;
  int steps(std::size_t i) const { return static_cast<int>(i > standard ? i - standard : standard - i); }
};
// Thresholds, in smallest voxel sizes. What a net says is blurred: a background that should be 0 is a little above it.
const Axis signed_thresholds{{0.25, 0.5, 1, 1.5, 2, 3}, 1};
const Axis instance_thresholds{{0.25, 0.5, 0.75, 1, 1.5, 2, 3}, 1};
// Peaks, likewise.
const Axis prominences{{0.5, 1, 2, 4}, 1};
const Axis distances{{3, 6, 12}, 0};
// Smallest volumes of instances, in what is expected of the true objects; of classes, in median components.
const Axis instance_volumes{{0, 1, 2, 4}, 1};
const Axis class_volumes{{0, 1.0 / 64, 1.0 / 16, 1.0 / 8, 1.0 / 4}, 0};

/// The value that a share of the volumes lie below; 0 without any.
double quantile(std::vector<double> volumes, double share) {
  if (volumes.empty()) return 0;
  const auto at = volumes.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(volumes.size() - 1));
  std::nth_element(volumes.begin(), at, volumes.end());
  return *at;
}

/// How well these values do on all cases.
void judge(Trial& trial, Head head, const std::vector<SweepCase>& cases) {
  if (head == Head::instances) {
    for (const SweepCase& c : cases)
      trial.instances += InstanceOverlap(c.truth, labels_of(head, c.scores, c.spacing_um, trial.options)).match(0.5);
    trial.merit = trial.instances.average_precision();
    trial.second = trial.instances.panoptic_quality();
    return;
  }
  const std::int64_t classes = head == Head::signed_distance ? 3 : cases.front().scores.dim(0);
  std::vector<double> sums(static_cast<std::size_t>(classes), 0), counts = sums;
  for (const SweepCase& c : cases) {
    const auto found = overlaps(c.truth, labels_of(head, c.scores, c.spacing_um, trial.options), classes);
    for (std::size_t k = 1; k < found.size(); ++k)
      if (const double dice = found[k].dice(); std::isfinite(dice)) sums[k] += dice, ++counts[k];
  }
  double sum = 0, n = 0;
  for (std::size_t k = 1; k < sums.size(); ++k)
    if (counts[k] > 0) sum += sums[k] / counts[k], ++n;
  trial.merit = n > 0 ? sum / n : undefined;
}

class Sweeper {
 public:
  Sweeper(Head head, const std::vector<SweepCase>& cases, const Spacing& spacing_um, const SweepOptions& options)
      : cases_(cases), volumes_(options.volumes), poll_(options.poll) {
    result_.head = head;
    result_.spacing_um = spacing_um[0] > 0 ? spacing_um : Spacing{1, 1, 1};
    unit_ = *std::min_element(result_.spacing_um.begin(), result_.spacing_um.end());
    if (!volumes_.empty() || head == Head::signed_distance) return;
    for (const SweepCase& c : cases) {
      const auto more = object_volumes(head, c.truth, c.spacing_um);
      volumes_.insert(volumes_.end(), more.begin(), more.end());
    }
  }

  Sweep run() {
    std::vector<Trial> wanted;
    switch (result_.head) {
      case Head::signed_distance:
        along(wanted, {}, signed_thresholds, &PostprocessOptions::threshold_um, unit_);
        break;
      case Head::classes:
        for (const bool largest : {true, false}) {
          Trial from{.options = {.keep_largest = largest}, .steps = largest ? 0 : 1, .instances = {}};
          with_volumes(wanted, from, class_volumes, quantile(volumes_, 0.5));
        }
        break;
      case Head::instances: {
        std::vector<Trial> thresholds;
        along(thresholds, {}, instance_thresholds, &PostprocessOptions::threshold_um, unit_);
        for (const Trial& t : thresholds) with_volumes(wanted, t, instance_volumes, quantile(volumes_, 0.1) / 2);
        try_all(std::move(wanted));
        const Trial best = result_.best();
        std::vector<Trial> rises;
        along(rises, best, prominences, &PostprocessOptions::prominence_um, unit_);
        wanted.clear();
        for (const Trial& t : rises) along(wanted, t, distances, &PostprocessOptions::peak_distance_um, unit_);
        break;
      }
    }
    try_all(std::move(wanted));
    return std::move(result_);
  }

 private:
  /// `from` with each value of the axis in turn, the default first.
  static void along(std::vector<Trial>& list, const Trial& from, const Axis& axis, double PostprocessOptions::*value,
                    double unit) {
    list.push_back(from);
    list.back().instances = {};
    for (std::size_t i = 0; i < axis.values.size() && unit > 0; ++i) {
      if (i == axis.standard) continue;
      Trial t = from;
      t.options.*value = axis.values[i] * unit;
      t.steps += axis.steps(i);
      t.instances = {};
      list.push_back(t);
    }
  }

  /// `from` with each smallest volume in turn, 0 first.
  static void with_volumes(std::vector<Trial>& list, const Trial& from, const Axis& axis, double unit) {
    for (std::size_t i = 0; i < (unit > 0 ? axis.values.size() : 1); ++i) {
      list.push_back(from);
      list.back().options.min_volume_um3 = axis.values[i] * unit;
      list.back().steps += axis.steps(i);
    }
  }

  /// Those that were not tried already.
  void try_all(std::vector<Trial> wanted) {
    std::erase_if(wanted, [&](const Trial& t) {
      return std::any_of(result_.trials.begin(), result_.trials.end(),
                         [&](const Trial& done) { return to_json(done.options) == to_json(t.options); });
    });
    parallel_for(std::ssize(wanted), [&](std::int64_t i) {
      if (poll_) poll_();
      judge(wanted[static_cast<std::size_t>(i)], result_.head, cases_);
    });
    result_.trials.insert(result_.trials.end(), wanted.begin(), wanted.end());
    result_.chosen = choose(result_.trials);
  }

  const std::vector<SweepCase>& cases_;
  std::vector<double> volumes_;
  const std::function<void()>& poll_;
  Sweep result_;
  double unit_ = 1;
};

std::string rounded(double value) { return app::shortest(std::round(value * 1e4) / 1e4); }

}  // namespace

std::size_t choose(const std::vector<Trial>& trials) {
  constexpr double rounding = 1e-9;
  double merit = -1, second = -1, chance = clear_gain;
  for (const Trial& t : trials) {
    if (!(t.merit > merit)) continue;
    merit = t.merit;
    const std::int64_t objects = t.instances.tp + t.instances.fp + t.instances.fn;
    if (objects > 0) chance = std::max(clear_gain, 1 / static_cast<double>(objects));
  }
  if (merit <= 0) return 0;  // nothing was found by any
  const auto good = [&](const Trial& t) { return t.merit >= merit - chance - rounding; };
  for (const Trial& t : trials)
    if (good(t) && t.second > second) second = t.second;
  std::size_t best = 0;
  bool found = false;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (!good(trials[i]) || trials[i].second < second - clear_gain - rounding) continue;
    if (!found || trials[i].steps < trials[best].steps) best = i;
    found = true;
  }
  return best;
}

Sweep sweep(Head head, const std::vector<SweepCase>& cases, const Spacing& spacing_um, const SweepOptions& options) {
  check(!cases.empty(), "sweep: no cases");
  return Sweeper(head, cases, spacing_um, options).run();
}

std::vector<double> object_volumes(Head head, const Tensor& labels, const Spacing& spacing_um) {
  const Spacing s = spacing_um[0] > 0 ? spacing_um : Spacing{1, 1, 1};
  const Tensor whole = morphology::as_labels(labels, "truth");
  const std::vector<std::int64_t> sizes =
      head == Head::classes ? connected_components(whole, Connectivity::corners).sizes : label_sizes(whole);
  std::vector<double> volumes;
  for (std::size_t n = 1; n < sizes.size(); ++n)
    if (sizes[n] > 0) volumes.push_back(static_cast<double>(sizes[n]) * s[0] * s[1] * s[2]);
  return volumes;
}

std::string values_text(const Sweep& s, const Trial& t) {
  const PostprocessOptions o = resolved(t.options, s.spacing_um);
  std::string text;
  if (s.head != Head::classes) text = "threshold " + rounded(o.threshold_um) + " um";
  if (s.head == Head::signed_distance) return text;
  text += (text.empty() ? "" : ", ") + ("objects from " + rounded(o.min_volume_um3) + " um3");
  if (s.head == Head::classes) return text + (o.keep_largest ? ", the largest of each class" : ", all of a class");
  return text + ", peaks that rise by " + rounded(o.prominence_um) + " um and are " + rounded(o.peak_distance_um) + " um apart";
}

Json to_json(const Sweep& s) {
  Json trials = Json::array();
  for (const Trial& t : s.trials) {
    Json one = to_json(resolved(t.options, s.spacing_um));
    one["merit"] = app::finite(t.merit);
    if (s.head == Head::instances) {
      one["panoptic_quality"] = app::finite(t.second);
      one["TP"] = t.instances.tp, one["FP"] = t.instances.fp, one["FN"] = t.instances.fn;
    }
    trials.push_back(one);
  }
  return Json::object({{"head", name_of(s.head)},
                       {"merit", s.merit_name()},
                       {"chosen", static_cast<std::int64_t>(s.chosen)},
                       {"values", to_json(s.best().options)},
                       {"trials", trials}});
}

std::vector<std::vector<std::string>> sweep_table(const Json& sweep) {
  const Head head = head_of(sweep.at("head").as_string());
  const auto number = [](const Json& v, int decimals) { return v.is_number() ? app::fixed(v.as_double(), decimals) : "-"; };
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> heads;
  if (head != Head::classes) heads.emplace_back("threshold um");
  if (head != Head::signed_distance) heads.emplace_back("smallest um3");
  if (head == Head::classes) heads.emplace_back("components");
  if (head == Head::instances) heads.insert(heads.end(), {"rise um", "apart um"});
  heads.push_back(sweep.at("merit").as_string());
  if (head == Head::instances) heads.insert(heads.end(), {"PQ", "found", "missed", "wrong"});
  heads.emplace_back("");
  rows.push_back(heads);
  const Json& trials = sweep.at("trials");
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const Json& t = trials[i];
    std::vector<std::string> row;
    if (head != Head::classes) row.push_back(number(t.at("threshold_um"), 4));
    if (head != Head::signed_distance) row.push_back(number(t.at("min_volume_um3"), 3));
    if (head == Head::classes) row.emplace_back(t.at("keep_largest").as_bool() ? "largest" : "all");
    if (head == Head::instances) row.insert(row.end(), {number(t.at("prominence_um"), 3), number(t.at("peak_distance_um"), 3)});
    row.push_back(number(t.at("merit"), 4));
    if (head == Head::instances) {
      row.push_back(number(t.at("panoptic_quality"), 4));
      for (const char* count : {"TP", "FN", "FP"}) row.push_back(std::to_string(t.at(count).as_int()));
    }
    const bool chosen = static_cast<std::int64_t>(i) == sweep.at("chosen").as_int();
    row.emplace_back(i == 0 ? chosen ? "default, chosen" : "default" : chosen ? "chosen" : "");
    rows.push_back(row);
  }
  return rows;
}

}  // namespace cuboid::deepis
