// SPDX-License-Identifier: Apache-2.0
#include "data/phantom_pair.h"

#include <cmath>

#include "core/parallel.h"
#include "data/phantom.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Counted {
  double voxels[3] = {}, sum[3] = {}, squares[3] = {};
  double mean(int c) const { return sum[c] / voxels[c]; }
};

Counted count(const PhantomPair& pair) {
  Counted c;
  const float* ri = pair.ri.data<float>();
  const auto* label = pair.labels.data<std::uint8_t>();
  for (std::int64_t i = 0; i < pair.ri.size(); ++i) {
    const int k = label[i];
    ++c.voxels[k];
    c.sum[k] += static_cast<double>(ri[i]);
    c.squares[k] += std::pow(static_cast<double>(ri[i]) - phantom_medium_ri, 2);
  }
  return c;
}

/// Voxel faces between labels 1 and 2.
std::int64_t shared_faces(const PhantomPair& pair) {
  const Shape& n = pair.labels.shape();
  const auto l = pair.labels.to_vector();
  const std::int64_t steps[3] = {n[1] * n[2], n[2], 1};
  std::int64_t faces = 0;
  for (std::int64_t i = 0; i < pair.labels.size(); ++i) {
    const std::int64_t at[3] = {i / steps[0], i / n[2] % n[1], i % n[2]};
    for (int a = 0; a < 3; ++a)
      if (at[a] + 1 < n[a]) {
        const double p = l[static_cast<std::size_t>(i)], q = l[static_cast<std::size_t>(i + steps[a])];
        faces += p * q == 2;
      }
  }
  return faces;
}

TEST(PhantomPair, SameNumbersForAnyThreadsAndMorePairs) {
  const PhantomPairOptions o{.pairs = 4, .size = 32};
  std::vector<std::vector<double>> expected, got(4);
  for (std::int64_t i = 0; i < 4; ++i) expected.push_back(phantom_pair(o, i).ri.to_vector());
  parallel_for(4, [&](std::int64_t i) { got[static_cast<std::size_t>(i)] = phantom_pair(o, i).ri.to_vector(); });
  EXPECT_EQ(got, expected);
  EXPECT_EQ(phantom_pair({.pairs = 400, .size = 32}, 3).ri.to_vector(), expected[3]);
  EXPECT_NE(phantom_pair({.pairs = 4, .size = 32, .seed = 2}, 0).ri.to_vector(), expected[0]);
}

TEST(PhantomPair, LabelsAndFiguresAgree) {
  const PhantomPairOptions o{.pairs = 20, .size = 64};
  const auto spacing = phantom_pair_spacing(o);
  EXPECT_EQ(spacing, (std::array<double, 3>{0.6, 0.4, 0.4}));
  const double voxel = spacing[0] * spacing[1] * spacing[2];
  std::vector<std::string> faults(20);
  parallel_for(o.pairs, [&](std::int64_t i) {
    const PhantomPair pair = phantom_pair(o, i);
    const Counted c = count(pair);
    std::string& fault = faults[static_cast<std::size_t>(i)];
    const auto expect = [&](bool ok, const char* what) { fault += ok ? "" : join_text(i, ": ", what, "; "); };
    for (int k = 1; k <= 2; ++k)
      expect(std::abs(c.voxels[k] * voxel / pair.cells[static_cast<std::size_t>(k - 1)].volume_um3 - 1) < 0.02, "volume");
    expect(pair.cells[0].volume_um3 < 0.6 * pair.cells[1].volume_um3, "the T cell is smaller");
    for (const auto& cell : pair.cells)
      expect(std::abs(cell.dry_mass_pg - (cell.mean_ri - phantom_medium_ri) / 0.2 * cell.volume_um3) < 1e-6 * cell.dry_mass_pg,
             "dry mass");
    expect(c.mean(1) > phantom_medium_ri + 0.012 && c.mean(2) > phantom_medium_ri + 0.010, "cells are denser than the medium");
    expect(std::sqrt(c.squares[0] / c.voxels[0]) < 0.003, "the medium is quiet");
    const bool touches = i % 5 != 4;
    expect((pair.synapse_um2 > 0) == touches, "the area says whether they touch");
    expect((shared_faces(pair) > 0) == touches, "the labels say whether they touch");
    if (touches) expect(pair.synapse_um2 > 5 && pair.synapse_um2 < 50, "a synapse's size");
  });
  for (const auto& fault : faults) EXPECT_EQ(fault, "");
}

TEST(PhantomPair, DensityAloneDoesNotTellThemApart) {
  const PhantomPairOptions o{.pairs = 60, .size = 32};
  std::vector<std::array<double, 2>> means(60);
  parallel_for(60, [&](std::int64_t i) {
    const PhantomPair pair = phantom_pair(o, i);
    means[static_cast<std::size_t>(i)] = {pair.cells[0].mean_ri, pair.cells[1].mean_ri};
  });
  double wins = 0;
  for (const auto& a : means)
    for (const auto& b : means) wins += a[0] > b[1];
  EXPECT_GT(wins / 3600, 0.7);  // T cells are a little denser
  EXPECT_LT(wins / 3600, 0.99);
}

TEST(PhantomPair, ATimeLapseGrowsItsContactAtConstantVolumes) {
  const PhantomPairOptions o{.pairs = 2, .frames = 9, .size = 64, .noise = 0, .missing_cone = false};
  for (std::int64_t i = 0; i < 2; ++i) {
    double area = -1;
    PhantomPair first;
    for (std::int64_t f = 0; f < o.frames; ++f) {
      const PhantomPair pair = phantom_pair(o, i, f);
      if (f == 0) first = pair;
      EXPECT_GE(pair.synapse_um2, area) << "frame " << f;
      area = pair.synapse_um2;
      EXPECT_EQ(area == 0, f < 2) << "frame " << f;
      for (std::size_t k = 0; k < 2; ++k) {
        EXPECT_NEAR(pair.cells[k].volume_um3 / first.cells[k].volume_um3, 1, 0.05) << "frame " << f;
        EXPECT_NEAR(pair.cells[k].mean_ri, first.cells[k].mean_ri, 4e-4) << "frame " << f;
      }
    }
    EXPECT_GT(area, 5);
  }
}

TEST(PhantomPair, CellsLieInsideTheField) {
  const PhantomPairOptions o{.pairs = 40, .size = 32, .noise = 0, .missing_cone = false};
  std::vector<int> cut(40);
  parallel_for(40, [&](std::int64_t i) {
    const auto l = phantom_pair(o, i).labels.to_vector();
    int& touching = cut[static_cast<std::size_t>(i)];
    for (std::size_t v = 0; v < l.size(); ++v) {
      const std::size_t z = v / (32 * 32), y = v / 32 % 32, x = v % 32;
      touching += l[v] != 0 && (z == 0 || z == 15 || y == 0 || y == 31 || x == 0 || x == 31);
    }
  });
  for (std::size_t i = 0; i < cut.size(); ++i) EXPECT_EQ(cut[i], 0) << i;
}

TEST(PhantomPair, NonsenseIsRefused) {
  EXPECT_THROW(phantom_pair({.size = 48}, 0), Error);
  EXPECT_THROW(phantom_pair({.size = 16}, 0), Error);
  EXPECT_THROW(phantom_pair({.frames = 3}, 0, 3), Error);
  EXPECT_THROW(phantom_pair({}, -1), Error);
  EXPECT_THROW(phantom_pair({.noise = -1}, 0), Error);
}

}  // namespace
