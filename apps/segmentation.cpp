// SPDX-License-Identifier: Apache-2.0
#include "apps/segmentation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/morphology/distance.h"

namespace cuboid {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

double ratio(std::int64_t part, std::int64_t whole) {
  return whole ? static_cast<double>(part) / static_cast<double>(whole) : undefined;
}

Tensor as_labels(const Tensor& x, const char* what) {
  check(x.rank() == 3, "segmentation: ", what, " of shape ", x.shape(), ", expected D,H,W");
  if (x.dtype() == DType::i32 && x.is(Layout::contiguous)) return x;
  check(x.dtype() == DType::u8 || x.dtype() == DType::i32 || x.dtype() == DType::i64, "segmentation: ", what, " of type ",
        name_of(x.dtype()), ", labels are whole numbers");
  Tensor labels = empty(x.shape(), {.dtype = DType::i32});
  copy(x, labels);
  return labels;
}

void check_same(const Tensor& truth, const Tensor& prediction) {
  check(truth.shape() == prediction.shape(), "segmentation: truth of shape ", truth.shape(), ", prediction of shape ",
        prediction.shape());
}

/// The smallest box that holds all voxels of the label in either volume.
struct Box {
  std::array<std::int64_t, 3> low{}, size{};
  bool empty = true;
};
Box box_of(const Tensor& a, const Tensor& b, std::int64_t label) {
  std::array<std::int64_t, 3> low = {a.dim(0), a.dim(1), a.dim(2)}, high = {-1, -1, -1};
  const auto *p = a.data<std::int32_t>(), *q = b.data<std::int32_t>();
  for (std::int64_t z = 0; z < a.dim(0); ++z)
    for (std::int64_t y = 0; y < a.dim(1); ++y)
      for (std::int64_t x = 0; x < a.dim(2); ++x, ++p, ++q) {
        if (*p != label && *q != label) continue;
        const std::array<std::int64_t, 3> at = {z, y, x};
        for (std::size_t i = 0; i < 3; ++i) low[i] = std::min(low[i], at[i]), high[i] = std::max(high[i], at[i]);
      }
  Box box;
  box.empty = high[0] < 0;
  for (std::size_t i = 0; i < 3 && !box.empty; ++i) box.low[i] = low[i], box.size[i] = high[i] - low[i] + 1;
  return box;
}

/// u8 mask of the surface voxels within the box.
Tensor surface_of(const Tensor& labels, std::int64_t label, const Box& box, std::int64_t& count) {
  Tensor mask = zeros({box.size[0], box.size[1], box.size[2]}, {.dtype = DType::u8});
  auto* m = mask.mutable_data<std::uint8_t>();
  const auto* v = labels.data<std::int32_t>();
  const std::int64_t D = labels.dim(0), H = labels.dim(1), W = labels.dim(2);
  const auto inside = [&](std::int64_t z, std::int64_t y, std::int64_t x) {
    return z >= 0 && y >= 0 && x >= 0 && z < D && y < H && x < W && v[(z * H + y) * W + x] == label;
  };
  count = 0;
  for (std::int64_t k = 0; k < box.size[0]; ++k)
    for (std::int64_t j = 0; j < box.size[1]; ++j)
      for (std::int64_t i = 0; i < box.size[2]; ++i, ++m) {
        const std::int64_t z = box.low[0] + k, y = box.low[1] + j, x = box.low[2] + i;
        if (!inside(z, y, x)) continue;
        *m = !(inside(z - 1, y, x) && inside(z + 1, y, x) && inside(z, y - 1, x) && inside(z, y + 1, x) && inside(z, y, x - 1) &&
               inside(z, y, x + 1));
        count += *m;
      }
  return mask;
}

/// Distances of the voxels of `from` to the nearest one of `to`, sorted.
std::vector<float> distances(const Tensor& from, const Tensor& to, const std::array<double, 3>& spacing) {
  const Tensor field = distance_to(to, spacing);
  const auto* f = field.data<float>();
  const auto* m = from.data<std::uint8_t>();
  std::vector<float> found;
  for (std::int64_t i = 0; i < from.size(); ++i)
    if (m[i]) found.push_back(f[i]);
  std::sort(found.begin(), found.end());
  return found;
}

/// numpy.percentile's default: linear between the two ranks.
double percentile(const std::vector<float>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (rank - static_cast<double>(below)) * (static_cast<double>(sorted[above]) - sorted[below]);
}

}  // namespace

double Overlap::dice() const { return ratio(2 * tp, 2 * tp + fp + fn); }
double Overlap::iou() const { return ratio(tp, tp + fp + fn); }
double Overlap::precision() const { return ratio(tp, tp + fp); }
double Overlap::recall() const { return ratio(tp, tp + fn); }
double Overlap::volume_difference() const { return ratio(fp - fn, tp + fn); }

std::vector<Overlap> overlaps(const Tensor& truth_labels, const Tensor& predicted_labels, std::int64_t classes) {
  check_same(truth_labels, predicted_labels);
  const Tensor truth = as_labels(truth_labels, "truth"), prediction = as_labels(predicted_labels, "prediction");
  const auto n = static_cast<std::size_t>(classes);
  std::vector<std::int64_t> pairs(n * n, 0);
  const auto *t = truth.data<std::int32_t>(), *p = prediction.data<std::int32_t>();
  for (std::int64_t i = 0; i < truth.size(); ++i) {
    check(t[i] >= 0 && t[i] < classes && p[i] >= 0 && p[i] < classes, "segmentation: label ",
          t[i] < 0 || t[i] >= classes ? t[i] : p[i], ", there are 0 to ", classes - 1);
    ++pairs[static_cast<std::size_t>(t[i]) * n + static_cast<std::size_t>(p[i])];
  }
  std::vector<Overlap> all(n);
  for (std::size_t c = 0; c < n; ++c) {
    Overlap& o = all[c];
    o.tp = pairs[c * n + c];
    for (std::size_t d = 0; d < n; ++d)
      if (d != c) o.fn += pairs[c * n + d], o.fp += pairs[d * n + c];
    o.tn = truth.size() - o.tp - o.fp - o.fn;
  }
  return all;
}

SurfaceDistance surface_distance(const Tensor& truth_labels, const Tensor& predicted_labels, std::int64_t label,
                                 const std::array<double, 3>& spacing_um) {
  check_same(truth_labels, predicted_labels);
  const Tensor truth = as_labels(truth_labels, "truth"), prediction = as_labels(predicted_labels, "prediction");
  const SurfaceDistance none{undefined, undefined, undefined};
  const Box box = box_of(truth, prediction, label);
  if (box.empty) return none;
  std::int64_t of_truth = 0, of_prediction = 0;
  const Tensor a = surface_of(truth, label, box, of_truth), b = surface_of(prediction, label, box, of_prediction);
  if (!of_truth || !of_prediction) return none;
  const auto there = distances(a, b, spacing_um), back = distances(b, a, spacing_um);
  SurfaceDistance d;
  d.hd95 = std::max(percentile(there, 0.95), percentile(back, 0.95));
  d.hausdorff = std::max(there.back(), back.back());
  double sum = 0;
  for (const float v : there) sum += v;
  for (const float v : back) sum += v;
  d.assd = sum / static_cast<double>(there.size() + back.size());
  return d;
}

}  // namespace cuboid
