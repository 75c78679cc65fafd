// SPDX-License-Identifier: Apache-2.0
// Instances of two volumes, one to one.
#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "apps/segmentation.h"

namespace cuboid {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

double ratio(double part, double whole) { return whole > 0 ? part / whole : undefined; }

std::int64_t label_at(const Tensor& x, std::int64_t i) {
  switch (x.dtype()) {
    case DType::u8:
      return x.data<std::uint8_t>()[i];
    case DType::i32:
      return x.data<std::int32_t>()[i];
    default:
      return x.data<std::int64_t>()[i];
  }
}

/// Columns for the rows so that the sum of cost[row][column] is least; rows <= columns. The shortest augmenting paths of Jonker
/// and Volgenant (Computing 38, 1987), with potentials.
std::vector<std::size_t> assign(const std::vector<std::vector<double>>& cost) {
  const std::size_t rows = cost.size(), columns = cost.front().size();
  constexpr std::size_t nobody = std::numeric_limits<std::size_t>::max();
  std::vector<double> row_price(rows, 0), column_price(columns, 0);
  std::vector<std::size_t> row_of(columns, nobody);
  for (std::size_t start = 0; start < rows; ++start) {
    std::vector<double> least(columns, std::numeric_limits<double>::infinity());
    std::vector<std::size_t> from(columns, nobody);  // the column before on the path
    std::vector<bool> done(columns, false);
    std::size_t row = start, last = nobody;
    for (;;) {
      std::size_t next = nobody;
      for (std::size_t c = 0; c < columns; ++c) {
        if (done[c]) continue;
        const double reduced = cost[row][c] - row_price[row] - column_price[c];
        if (reduced < least[c]) least[c] = reduced, from[c] = last;
        if (next == nobody || least[c] < least[next]) next = c;
      }
      const double step = least[next];
      row_price[start] += step;
      for (std::size_t c = 0; c < columns; ++c) {
        if (done[c]) row_price[row_of[c]] += step, column_price[c] -= step;
        else least[c] -= step;
      }
      done[next] = true;
      last = next;
      if (row_of[next] == nobody) break;
      row = row_of[next];
    }
    while (from[last] != nobody) row_of[last] = row_of[from[last]], last = from[last];
    row_of[last] = start;
  }
  std::vector<std::size_t> column_of(rows);
  for (std::size_t c = 0; c < columns; ++c)
    if (row_of[c] != nobody) column_of[row_of[c]] = c;
  return column_of;
}

}  // namespace

double InstanceScore::average_precision() const { return ratio(static_cast<double>(tp), static_cast<double>(tp + fp + fn)); }
double InstanceScore::precision() const { return ratio(static_cast<double>(tp), static_cast<double>(tp + fp)); }
double InstanceScore::recall() const { return ratio(static_cast<double>(tp), static_cast<double>(tp + fn)); }
double InstanceScore::f1() const { return ratio(2 * static_cast<double>(tp), static_cast<double>(2 * tp + fp + fn)); }
double InstanceScore::mean_iou() const { return ratio(iou_sum, static_cast<double>(tp)); }
double InstanceScore::panoptic_quality() const {
  return ratio(iou_sum, static_cast<double>(tp) + 0.5 * static_cast<double>(fp + fn));
}

InstanceScore& InstanceScore::operator+=(const InstanceScore& other) {
  tp += other.tp, fp += other.fp, fn += other.fn, iou_sum += other.iou_sum;
  return *this;
}

InstanceOverlap::InstanceOverlap(const Tensor& truth, const Tensor& prediction) {
  check(truth.shape() == prediction.shape(), "instances: truth of shape ", truth.shape(), ", prediction of shape ",
        prediction.shape());
  for (const Tensor* x : {&truth, &prediction})
    check((x->dtype() == DType::u8 || x->dtype() == DType::i32 || x->dtype() == DType::i64) && x->is(Layout::contiguous),
          "instances: labels of type ", name_of(x->dtype()), ", expected whole numbers in row-major order");
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> shared;
  std::map<std::int64_t, std::int64_t> of_truth, of_prediction;
  for (std::int64_t i = 0; i < truth.size();) {
    const std::int64_t t = label_at(truth, i), p = label_at(prediction, i), start = i;
    while (i < truth.size() && label_at(truth, i) == t && label_at(prediction, i) == p) ++i;
    if (t > 0) of_truth[t] += i - start;
    if (p > 0) of_prediction[p] += i - start;
    if (t > 0 && p > 0) shared[{t, p}] += i - start;
  }
  std::map<std::int64_t, std::size_t> truth_at, prediction_at;
  for (const auto& [label, voxels] : of_truth) truth_at[label] = truth_.size(), truth_.push_back({label, voxels});
  for (const auto& [label, voxels] : of_prediction)
    prediction_at[label] = prediction_.size(), prediction_.push_back({label, voxels});
  for (const auto& [labels, voxels] : shared) shared_.push_back({truth_at[labels.first], prediction_at[labels.second], voxels});
}

InstanceScore InstanceOverlap::match(double threshold) const {
  struct Edge {
    std::size_t truth, prediction;
    double iou;
  };
  std::vector<Edge> edges;
  for (const Shared& s : shared_) {
    const std::int64_t together = truth_[s.truth].voxels + prediction_[s.prediction].voxels - s.voxels;
    const double iou = static_cast<double>(s.voxels) / static_cast<double>(together);
    if (iou >= threshold) edges.push_back({s.truth, s.prediction, iou});
  }
  // Groups of instances that edges connect are independent of one another, and small.
  std::vector<std::size_t> parent(truth_.size() + prediction_.size());
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  const auto root = [&](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (const Edge& e : edges) parent[root(e.truth)] = root(truth_.size() + e.prediction);
  std::map<std::size_t, std::vector<Edge>> groups;
  for (const Edge& e : edges) groups[root(e.truth)].push_back(e);
  InstanceScore score;
  score.threshold = threshold;
  for (const auto& [_, group] : groups) {
    std::vector<std::size_t> rows, columns;
    for (const Edge& e : group) rows.push_back(e.truth), columns.push_back(e.prediction);
    for (auto* list : {&rows, &columns}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    const bool turned = rows.size() > columns.size();
    const auto place = [](const std::vector<std::size_t>& list, std::size_t value) {
      return static_cast<std::size_t>(std::lower_bound(list.begin(), list.end(), value) - list.begin());
    };
    // A pair more is worth more than all IoU together.
    const double pair = static_cast<double>(std::min(rows.size(), columns.size())) + 1;
    std::vector<std::vector<double>> cost(std::min(rows.size(), columns.size()),
                                          std::vector<double>(std::max(rows.size(), columns.size()), 0));
    std::vector<std::vector<double>> iou = cost;
    for (const Edge& e : group) {
      std::size_t r = place(rows, e.truth), c = place(columns, e.prediction);
      if (turned) std::swap(r, c);
      iou[r][c] = e.iou, cost[r][c] = -pair - e.iou;
    }
    const auto chosen = assign(cost);
    for (std::size_t r = 0; r < chosen.size(); ++r) {
      const std::size_t c = chosen[r];
      if (iou[r][c] <= 0) continue;
      score.pairs.push_back({truth_[rows[turned ? c : r]].label, prediction_[columns[turned ? r : c]].label, iou[r][c]});
    }
  }
  std::sort(score.pairs.begin(), score.pairs.end(), [](const auto& a, const auto& b) { return a.truth < b.truth; });
  score.tp = static_cast<std::int64_t>(score.pairs.size());
  score.fn = static_cast<std::int64_t>(truth_.size()) - score.tp;
  score.fp = static_cast<std::int64_t>(prediction_.size()) - score.tp;
  for (const auto& p : score.pairs) score.iou_sum += p.iou;
  return score;
}

}  // namespace cuboid
