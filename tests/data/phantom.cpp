// SPDX-License-Identifier: Apache-2.0
#include "data/phantom.h"

#include <cmath>
#include <map>
#include <set>

#include "core/parallel.h"
#include "data/crop.h"
#include "data/optics.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Probability that a value of class 1 is larger than one of class 0.
double auroc(const std::vector<double> (&values)[2]) {
  double wins = 0;
  for (const double a : values[1])
    for (const double b : values[0]) wins += a > b ? 1 : a == b ? 0.5 : 0;
  return wins / static_cast<double>(values[0].size() * values[1].size());
}

TEST(Phantom, SameNumbersForAnyThreads) {
  const PhantomOptions o{.cells = 6, .size = 16};
  std::vector<std::vector<double>> expected;
  for (std::int64_t i = 0; i < 6; ++i) expected.push_back(phantom_cell(o, i).ri.to_vector());
  std::vector<std::vector<double>> got(6);
  parallel_for(6, [&](std::int64_t i) { got[static_cast<std::size_t>(i)] = phantom_cell(o, i).ri.to_vector(); });
  EXPECT_EQ(got, expected);
  EXPECT_NE(phantom_cell({.cells = 6, .size = 16, .seed = 2}, 0).ri.to_vector(), expected[0]);
  EXPECT_EQ(phantom_cell({.cells = 600, .size = 16}, 5).ri.to_vector(), expected[5]) << "more cells leave the first as they are";
}

TEST(Phantom, PatientsBelongToOneClass) {
  for (const std::int64_t patients : {2, 5, 16}) {
    const PhantomOptions o{.cells = 200, .patients = patients};
    std::map<std::string, std::set<std::int64_t>> labels;
    for (std::int64_t i = 0; i < o.cells; ++i) labels[phantom_patient(o, i)].insert(phantom_label(o, i));
    EXPECT_EQ(static_cast<std::int64_t>(labels.size()), patients);
    for (const auto& [patient, seen] : labels) EXPECT_EQ(seen.size(), 1u) << patient;
  }
}

TEST(Phantom, CellsLookLikeCells) {
  const PhantomOptions o{.cells = 20, .size = 32};
  for (std::int64_t i = 0; i < o.cells; ++i) {
    const PhantomCell cell = phantom_cell(o, i);
    const auto ri = cell.ri.to_vector(), mask = cell.mask.to_vector();
    double sum[4] = {}, count[4] = {}, squares = 0;
    for (std::size_t v = 0; v < ri.size(); ++v) {
      const auto tissue = static_cast<std::size_t>(mask[v]);
      sum[tissue] += ri[v];
      ++count[tissue];
      if (tissue == 0) squares += std::pow(ri[v] - phantom_medium_ri, 2);
    }
    EXPECT_NEAR(sum[0] / count[0], phantom_medium_ri, 0.001);
    EXPECT_LT(std::sqrt(squares / count[0]), 0.003);
    EXPECT_GT(sum[1] / count[1], phantom_medium_ri + 0.006);
    EXPECT_GT(sum[2] / count[2], sum[1] / count[1] + 0.002) << "the nucleus is denser";
    EXPECT_GT(count[2] / (count[1] + count[2]), 0.15);
    EXPECT_LT(count[2] / (count[1] + count[2]), 0.5);
    EXPECT_GE(cell.droplets, 1);
    EXPECT_GT(cell.volume_um3, 60);
    EXPECT_LT(cell.volume_um3, 420);
    for (int face = 0; face < 32 * 32; ++face) EXPECT_EQ(mask[static_cast<std::size_t>(face)], 0) << "the cell lies inside";
  }
}

TEST(Phantom, SimpleNumbersDoNotSeparateTheClasses) {
  const PhantomOptions o{.cells = 240, .size = 32};
  struct Row {
    double mean, deviation, max, scaled_mean, bright;
  };
  std::vector<Row> rows(static_cast<std::size_t>(o.cells));
  parallel_for(o.cells, [&](std::int64_t i) {
    const PhantomCell cell = phantom_cell(o, i);
    const VoxelStats stats = voxel_stats(cell.ri);
    double squares = 0, bright = 0;
    const float* p = cell.ri.data<float>();
    for (std::int64_t v = 0; v < cell.ri.size(); ++v) {
      squares += std::pow(static_cast<double>(p[v]) - stats.mean, 2);
      bright += p[v] > 1.345f;
    }
    rows[static_cast<std::size_t>(i)] = {stats.mean, squares, stats.max, (stats.mean - stats.min) / (stats.max - stats.min),
                                         bright};
  });
  const std::pair<const char*, double Row::*> numbers[] = {{"mean", &Row::mean},
                                                           {"deviation", &Row::deviation},
                                                           {"max", &Row::max},
                                                           {"mean after min-max", &Row::scaled_mean},
                                                           {"bright volume", &Row::bright}};
  for (const auto& [name, member] : numbers) {
    std::vector<double> values[2];
    for (std::int64_t i = 0; i < o.cells; ++i) values[phantom_label(o, i)].push_back(rows[static_cast<std::size_t>(i)].*member);
    const double area = auroc(values);
    EXPECT_LT(std::abs(area - 0.5), 0.25) << name << ": AUROC " << area;
    RecordProperty(name, std::to_string(area));
  }
}

TEST(Phantom, FieldsHoldTheirCellsAtTheirCentres) {
  const PhantomOptions o{.cells = 8, .size = 32};
  const PhantomField field = phantom_field(o, 0, 3, {48, 80, 80});
  ASSERT_EQ(field.centres.size(), 3u);
  EXPECT_EQ(field.ri.shape(), (Shape{48, 80, 80}));
  EXPECT_NEAR(median_of(field.ri), phantom_medium_ri, 0.001);
  for (const auto& c : field.centres) {
    const VoxelStats inner = voxel_stats(crop_cube(field.ri, c, 8).voxels);
    EXPECT_GT(inner.mean, phantom_medium_ri + 0.01);
  }
}

TEST(Phantom, NonsenseIsRefused) {
  EXPECT_THROW(phantom_cell({.size = 48}, 0), Error);
  EXPECT_THROW(phantom_cell({.patients = 1}, 0), Error);
  EXPECT_THROW(phantom_cell({}, -1), Error);
  EXPECT_THROW(phantom_field({.size = 64}, 0, 2, {8, 64, 64}), Error);
}

TEST(Optics, KeepsTheMeanAndLosesTheCone) {
  // A wave along z lies in the missing cone, one across passes almost whole.
  constexpr std::int64_t n = 32;
  const Tensor along = empty({n, n, n}), across = empty({n, n, n});
  for (std::int64_t i = 0; i < n * n * n; ++i) {
    along.mutable_data<float>()[i] = static_cast<float>(2 + std::cos(2 * M_PI * 4 * static_cast<double>(i / (n * n)) / n));
    across.mutable_data<float>()[i] = static_cast<float>(2 + std::cos(2 * M_PI * 4 * static_cast<double>(i % n) / n));
  }
  const std::array<double, 3> spacing = {0.4, 0.32, 0.32};
  const auto amplitude = [](const Tensor& t) {
    const VoxelStats stats = voxel_stats(t);
    EXPECT_NEAR(stats.mean, 2, 1e-4);
    return (stats.max - stats.min) / 2;
  };
  image_through(along, spacing);
  image_through(across, spacing);
  EXPECT_NEAR(amplitude(along), 0.2, 0.01);  // the residual
  EXPECT_GT(amplitude(across), 0.9);
  EXPECT_THROW(image_through(zeros({6, 8, 8}), spacing), Error);
}

TEST(Optics, PassesWhatVariesSlowly) {
  // Voxels of a millimetre: every frequency is near zero, where nothing is lost. The two transforms undo each other.
  const Tensor x = noise({8, 16, 4}, 7), y = empty(x.shape());
  copy(x, y);
  image_through(y, {1000, 1000, 1000});
  const auto a = x.to_vector(), b = y.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 0.02);
}

}  // namespace
