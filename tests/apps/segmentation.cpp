// SPDX-License-Identifier: Apache-2.0
#include "apps/segmentation.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "tests/test.h"

using namespace cuboid;

namespace {

using Triple = std::array<double, 3>;
using Voxel = std::array<std::int64_t, 3>;

/// Blobs of `labels` labels: balls of random places, later ones on top.
Tensor blobs(const Shape& shape, std::uint64_t seed, int balls, int labels, double radius) {
  test::Random r(seed);
  Tensor t = zeros(shape, {.dtype = DType::i32});
  auto* v = t.mutable_data<std::int32_t>();
  for (int b = 0; b < balls; ++b) {
    const double z0 = r.uniform(0, static_cast<double>(shape[0])), y0 = r.uniform(0, static_cast<double>(shape[1])),
                 x0 = r.uniform(0, static_cast<double>(shape[2])), size = radius * r.uniform(0.5, 1);
    const auto label = static_cast<std::int32_t>(r.integer(1, labels));
    std::int64_t i = 0;
    for (std::int64_t z = 0; z < shape[0]; ++z)
      for (std::int64_t y = 0; y < shape[1]; ++y)
        for (std::int64_t x = 0; x < shape[2]; ++x, ++i)
          if (std::hypot(static_cast<double>(z) - z0, static_cast<double>(y) - y0, static_cast<double>(x) - x0) < size)
            v[i] = label;
  }
  return t;
}

std::int32_t at(const Tensor& t, std::int64_t z, std::int64_t y, std::int64_t x) {
  if (z < 0 || y < 0 || x < 0 || z >= t.dim(0) || y >= t.dim(1) || x >= t.dim(2)) return -1;
  return t.data<std::int32_t>()[(z * t.dim(1) + y) * t.dim(2) + x];
}

/// Every voxel of the label with a face neighbour that is another, or beyond the border.
std::vector<Voxel> shell(const Tensor& t, std::int32_t label) {
  std::vector<Voxel> found;
  for (std::int64_t z = 0; z < t.dim(0); ++z)
    for (std::int64_t y = 0; y < t.dim(1); ++y)
      for (std::int64_t x = 0; x < t.dim(2); ++x) {
        if (at(t, z, y, x) != label) continue;
        const std::set<std::int32_t> around = {at(t, z - 1, y, x), at(t, z + 1, y, x), at(t, z, y - 1, x),
                                               at(t, z, y + 1, x), at(t, z, y, x - 1), at(t, z, y, x + 1)};
        if (around != std::set<std::int32_t>{label}) found.push_back({z, y, x});
      }
  return found;
}

std::vector<double> nearest(const std::vector<Voxel>& from, const std::vector<Voxel>& to, const Triple& s) {
  std::vector<double> all;
  for (const Voxel& a : from) {
    double least = 1e300;
    for (const Voxel& b : to) {
      double square = 0;
      for (std::size_t i = 0; i < 3; ++i) square += std::pow(s[i] * static_cast<double>(a[i] - b[i]), 2);
      least = std::min(least, std::sqrt(square));
    }
    all.push_back(least);
  }
  std::sort(all.begin(), all.end());
  return all;
}

/// numpy.percentile(values, 95).
double p95(const std::vector<double>& sorted) {
  const double rank = 0.95 * static_cast<double>(sorted.size() - 1);
  const auto k = static_cast<std::size_t>(std::floor(rank));
  return k + 1 < sorted.size() ? sorted[k] * (1 - (rank - std::floor(rank))) + sorted[k + 1] * (rank - std::floor(rank))
                               : sorted[k];
}

TEST(Segmentation, OverlapCountsVoxelByVoxel) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const Tensor t = blobs({9, 14, 17}, seed, 8, 3, 6), p = blobs({9, 14, 17}, seed + 100, 8, 3, 6);
    const auto all = overlaps(t, p, 5);
    ASSERT_EQ(all.size(), 5U);
    for (std::int32_t c = 0; c < 5; ++c) {
      std::int64_t tp = 0, fp = 0, fn = 0, tn = 0;
      for (std::int64_t i = 0; i < t.size(); ++i) {
        const bool a = t.data<std::int32_t>()[i] == c, b = p.data<std::int32_t>()[i] == c;
        tp += a && b, fp += !a && b, fn += a && !b, tn += !a && !b;
      }
      const Overlap& o = all[static_cast<std::size_t>(c)];
      EXPECT_EQ(o.tp, tp);
      EXPECT_EQ(o.fp, fp);
      EXPECT_EQ(o.fn, fn);
      EXPECT_EQ(o.tn, tn);
      if (tp + fp + fn == 0) continue;
      const auto d = [](std::int64_t v) { return static_cast<double>(v); };
      EXPECT_DOUBLE_EQ(o.dice(), 2 * d(tp) / (2 * d(tp) + d(fp) + d(fn)));
      EXPECT_DOUBLE_EQ(o.iou(), d(tp) / d(tp + fp + fn));
      EXPECT_DOUBLE_EQ(o.volume_difference(), (d(tp + fp) - d(tp + fn)) / d(tp + fn));
    }
    // label 4 is nowhere
    EXPECT_TRUE(std::isnan(all[4].dice()) && std::isnan(all[4].iou()) && std::isnan(all[4].precision()) &&
                std::isnan(all[4].recall()) && std::isnan(all[4].volume_difference()));
  }
}

TEST(Segmentation, OneSideEmptyIsZeroOrUndefined) {
  const Tensor nothing = zeros({4, 4, 4}, {.dtype = DType::i32}), something = full({4, 4, 4}, 1, {.dtype = DType::i32});
  const Overlap missed = overlaps(something, nothing, 2)[1], invented = overlaps(nothing, something, 2)[1];
  EXPECT_EQ(missed.dice(), 0);
  EXPECT_EQ(missed.recall(), 0);
  EXPECT_EQ(missed.volume_difference(), -1);
  EXPECT_TRUE(std::isnan(missed.precision()));
  EXPECT_EQ(invented.dice(), 0);
  EXPECT_EQ(invented.precision(), 0);
  EXPECT_TRUE(std::isnan(invented.recall()) && std::isnan(invented.volume_difference()));
  for (const auto& [t, p] : {std::pair{nothing, something}, {something, nothing}, {nothing, nothing}}) {
    const SurfaceDistance d = surface_distance(t, p, 1, {1, 1, 1});
    EXPECT_TRUE(std::isnan(d.hd95) && std::isnan(d.hausdorff) && std::isnan(d.assd));
  }
}

TEST(Segmentation, WhatDoesNotFitIsSaid) {
  const Tensor a = zeros({4, 4, 4}, {.dtype = DType::i32}), b = zeros({4, 4, 5}, {.dtype = DType::i32});
  EXPECT_THROW(overlaps(a, b, 2), Error);
  EXPECT_THROW(overlaps(full({2, 2, 2}, 3, {.dtype = DType::u8}), zeros({2, 2, 2}, {.dtype = DType::u8}), 3), Error);
  EXPECT_THROW(overlaps(zeros({2, 2, 2}), zeros({2, 2, 2}), 2), Error);
  EXPECT_THROW(InstanceOverlap(a, b), Error);
}

TEST(Segmentation, SurfaceDistancesEqualAllPairs) {
  for (const Triple& spacing : {Triple{1, 1, 1}, {0.4, 0.2, 0.2}, {0.25, 1.5, 0.7}})
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const Tensor t = blobs({10, 13, 12}, seed, 5, 2, 5), p = blobs({10, 13, 12}, seed + 50, 5, 2, 5);
      for (std::int32_t label = 1; label <= 2; ++label) {
        const auto a = shell(t, label), b = shell(p, label);
        const SurfaceDistance d = surface_distance(t, p, label, spacing);
        if (a.empty() || b.empty()) {
          EXPECT_TRUE(std::isnan(d.assd));
          continue;
        }
        const auto there = nearest(a, b, spacing), back = nearest(b, a, spacing);
        const double sum = std::accumulate(there.begin(), there.end(), 0.0) + std::accumulate(back.begin(), back.end(), 0.0);
        EXPECT_NEAR(d.hausdorff, std::max(there.back(), back.back()), 1e-5);
        EXPECT_NEAR(d.hd95, std::max(p95(there), p95(back)), 1e-5);
        EXPECT_NEAR(d.assd, sum / static_cast<double>(there.size() + back.size()), 1e-5);
      }
    }
}

TEST(Segmentation, ABoxThatWasMovedIsAsFarAsItMoved) {
  Tensor t = zeros({12, 12, 12}, {.dtype = DType::u8}), p = zeros({12, 12, 12}, {.dtype = DType::u8});
  for (std::int64_t z = 3; z < 8; ++z)
    for (std::int64_t y = 3; y < 8; ++y)
      for (std::int64_t x = 3; x < 8; ++x) {
        t.mutable_data<std::uint8_t>()[(z * 12 + y) * 12 + x] = 1;
        p.mutable_data<std::uint8_t>()[((z + 3) * 12 + y) * 12 + x] = 1;
      }
  EXPECT_NEAR(surface_distance(t, p, 1, {0.5, 0.2, 0.2}).hausdorff, 3 * 0.5, 1e-6);
  EXPECT_EQ(surface_distance(t, t, 1, {0.5, 0.2, 0.2}).assd, 0);
}

// ---- instances ----------------------------------------------------------------------------------
/// The best assignment by trying all, for a handful of instances.
std::pair<int, double> best_by_trying(const std::vector<std::vector<double>>& iou, double threshold) {
  std::pair<int, double> best = {0, 0};
  const std::size_t n = iou.size(), m = n ? iou.front().size() : 0;
  std::vector<bool> taken(m, false);
  std::function<void(std::size_t, int, double)> go = [&](std::size_t row, int pairs, double sum) {
    if (row == n) {
      best = std::max(best, {pairs, sum});
      return;
    }
    go(row + 1, pairs, sum);
    for (std::size_t c = 0; c < m; ++c) {
      if (taken[c] || iou[row][c] < threshold || iou[row][c] <= 0) continue;
      taken[c] = true;
      go(row + 1, pairs + 1, sum + iou[row][c]);
      taken[c] = false;
    }
  };
  go(0, 0, 0);
  return best;
}

TEST(Segmentation, InstancesAreMatchedAsWellAsPossible) {
  int ambiguous = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Tensor t = blobs({8, 12, 12}, seed, 7, 7, 5), p = blobs({8, 12, 12}, seed + 1000, 7, 9, 5);
    std::map<std::int32_t, std::int64_t> of_t, of_p;
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> both;
    for (std::int64_t i = 0; i < t.size(); ++i) {
      const auto a = t.data<std::int32_t>()[i], b = p.data<std::int32_t>()[i];
      if (a) ++of_t[a];
      if (b) ++of_p[b];
      if (a && b) ++both[{a, b}];
    }
    std::vector<std::vector<double>> iou;
    for (const auto& [a, na] : of_t) {
      iou.emplace_back();
      for (const auto& [b, nb] : of_p) {
        const auto found = both.find({a, b});
        const auto shared = static_cast<double>(found == both.end() ? 0 : found->second);
        iou.back().push_back(shared / (static_cast<double>(na + nb) - shared));
      }
    }
    const InstanceOverlap pairs(t, p);
    ASSERT_EQ(pairs.truth().size(), of_t.size());
    for (const double threshold : {0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7}) {
      const InstanceScore s = pairs.match(threshold);
      const auto [tp, sum] = best_by_trying(iou, threshold);
      ASSERT_EQ(s.tp, tp) << seed << " " << threshold;
      ASSERT_NEAR(s.iou_sum, sum, 1e-12) << seed << " " << threshold;
      EXPECT_EQ(s.fn, static_cast<std::int64_t>(of_t.size()) - tp);
      EXPECT_EQ(s.fp, static_cast<std::int64_t>(of_p.size()) - tp);
      std::set<std::int64_t> rows, columns;
      for (const auto& m : s.pairs) {
        EXPECT_GE(m.iou, threshold);
        EXPECT_TRUE(rows.insert(m.truth).second && columns.insert(m.prediction).second);
      }
      std::int64_t edges = 0;
      for (const auto& row : iou)
        for (const double v : row) edges += v > 0 && v >= threshold;
      ambiguous += edges > tp;
    }
  }
  EXPECT_GT(ambiguous, 50);  // or nothing was tested
}

TEST(Segmentation, AveragePrecisionAsCellposeAndStardistCountIt) {
  // Three true instances, in a row; one found exactly, one with IoU 6/10, one cut in half (4/8 = 0.5 counts, it is not below).
  Tensor t = zeros({1, 4, 10}, {.dtype = DType::i32}), p = zeros({1, 4, 10}, {.dtype = DType::i32});
  auto *a = t.mutable_data<std::int32_t>(), *b = p.mutable_data<std::int32_t>();
  for (int i = 0; i < 8; ++i) a[i] = 7, b[i] = 3;
  for (int i = 10; i < 18; ++i) a[i] = 9;
  for (int i = 12; i < 20; ++i) b[i] = 5;
  for (int i = 20; i < 28; ++i) a[i] = 11;
  for (int i = 20; i < 24; ++i) b[i] = 6;
  for (int i = 30; i < 33; ++i) b[i] = 8;  // and something that is not there
  const InstanceOverlap pairs(t, p);
  const InstanceScore half = pairs.match(0.5), more = pairs.match(0.55), most = pairs.match(0.95);
  EXPECT_EQ(half.tp, 3);
  EXPECT_EQ(half.fp, 1);
  EXPECT_EQ(half.fn, 0);
  EXPECT_DOUBLE_EQ(half.average_precision(), 3.0 / 4);
  EXPECT_DOUBLE_EQ(half.panoptic_quality(), (1 + 0.6 + 0.5) / 3.5);
  EXPECT_DOUBLE_EQ(half.mean_iou(), 2.1 / 3);
  EXPECT_EQ(more.tp, 2);
  EXPECT_EQ(more.fp, 2);
  EXPECT_EQ(more.fn, 1);
  EXPECT_DOUBLE_EQ(more.average_precision(), 2.0 / 5);
  EXPECT_DOUBLE_EQ(more.precision(), 0.5);
  EXPECT_DOUBLE_EQ(more.recall(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(more.f1(), 4.0 / 7);
  EXPECT_EQ(most.tp, 1);
  EXPECT_EQ(half.pairs[1].truth, 9);
  EXPECT_EQ(half.pairs[1].prediction, 5);
  const Tensor nothing = zeros({1, 4, 10}, {.dtype = DType::i32});
  EXPECT_TRUE(std::isnan(InstanceOverlap(nothing, nothing).match(0.5).average_precision()));
  EXPECT_EQ(InstanceOverlap(t, nothing).match(0.5).average_precision(), 0);
  EXPECT_EQ(InstanceOverlap(nothing, p).match(0.5).average_precision(), 0);
}

}  // namespace
