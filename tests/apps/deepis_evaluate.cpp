// SPDX-License-Identifier: Apache-2.0
// `cuboid deepis evaluate` and `measure`, as a user runs them.
#include <cmath>
#include <numbers>

#include "apps/deepis/label_files.h"
#include "apps/deepis/scores.h"
#include "core/json.h"
#include "data/formats/csv.h"
#include "data/formats/npy.h"
#include "tests/apps/program.h"
#include "tests/data/volumes.h"

using namespace cuboid;
namespace fs = std::filesystem;

namespace {

/// Two half balls of labels 1 and 2 side by side along x, the second moved by `shift` voxels, and everything grown by `more`.
Tensor pair_of_cells(double shift = 0, double more = 0) {
  return test::volume_of({20, 24, 44}, [=](std::int64_t z, std::int64_t y, std::int64_t x) {
    const auto far = [&](double cx) {
      return std::hypot(static_cast<double>(z) - 9.5, static_cast<double>(y) - 11.5, static_cast<double>(x) - cx) - more;
    };
    return x < 22 && far(15) < 8 ? 1 : x >= 22 && far(28 + shift) < 8 ? 2 : 0;
  });
}

Tensor tomogram(const Tensor& labels) {
  Tensor image = empty(labels.shape(), {.dtype = DType::f32});
  const auto v = labels.to_vector();
  for (std::size_t i = 0; i < v.size(); ++i) image.mutable_data<float>()[i] = v[i] == 1 ? 1.37F : v[i] == 2 ? 1.36F : 1.337F;
  return image;
}

struct Folders {
  test::TempFolder root;
  Folders() {
    for (const char* name : {"truth", "predicted", "images"}) fs::create_directories(root / name);
  }
  void add(const std::string& name, const Tensor& truth, const Tensor& prediction) const {
    write_npy(root / "truth" / (name + ".npy"), truth);
    write_npy(root / "predicted" / (name + ".labels.npy"), prediction);
    write_npy(root / "images" / (name + ".npy"), tomogram(truth));
  }
  test::Outcome run(std::vector<std::string> words) const {
    words.insert(words.begin(), "deepis");
    return test::run_program(root.path(), words);
  }
};

TEST(DeepisEvaluate, FoldersBecomeASummaryWithNnunetsKeys) {
  Folders f;
  f.add("a", pair_of_cells(), pair_of_cells());
  f.add("b", pair_of_cells(), pair_of_cells(0, -1));
  f.add("c", pair_of_cells(), pair_of_cells(2));
  f.add("empty", zeros({20, 24, 44}, {.dtype = DType::u8}), zeros({20, 24, 44}, {.dtype = DType::u8}));
  const auto done = f.run({"evaluate", "predicted", "--truth", "truth", "--images", "images", "--head", "signed", "-o", "out",
                           "--spacing-z", "0.4", "--spacing-xy", "0.2"});
  ASSERT_EQ(done.code, 0) << done.err;
  const Json s = Json::parse(test::slurp(f.root / "out/eval/summary.json"));
  ASSERT_EQ(s.at("metric_per_case").size(), 4U);
  for (const Json& c : s.at("metric_per_case").as_array())
    for (const char* label : {"1", "2"})
      for (const char* key :
           {"Dice", "IoU", "FP", "FN", "TP", "TN", "n_pred", "n_ref", "HD95", "ASSD", "RVD", "Precision", "Recall"})
        EXPECT_TRUE(c.at("metrics").at(label).contains(key)) << label << key;
  const auto& cases = s.at("metric_per_case").as_array();
  EXPECT_EQ(cases[0].at("metrics").at("1").at("Dice").as_double(), 1);
  EXPECT_EQ(cases[0].at("metrics").at("1").at("HD95").as_double(), 0);
  const Json& shrunk = cases[1].at("metrics").at("1");
  EXPECT_EQ(shrunk.at("FP").as_int(), 0);
  EXPECT_EQ(shrunk.at("n_pred").as_int(), shrunk.at("TP").as_int());
  EXPECT_LT(shrunk.at("RVD").as_double(), -0.2);
  EXPECT_NEAR(shrunk.at("ASSD").as_double(), 0.3, 0.12);  // a voxel of 0.2 or 0.4 um all round
  EXPECT_TRUE(cases[3].at("metrics").at("1").at("Dice").is_null());
  // what is not defined is left out of the mean, and counted
  double mean = 0;
  for (std::size_t i = 0; i < 3; ++i) mean += cases[i].at("metrics").at("2").at("Dice").as_double() / 3;
  EXPECT_NEAR(s.at("mean").at("2").at("Dice").as_double(), mean, 1e-12);
  EXPECT_EQ(s.at("undefined").at("2").at("Dice").as_int(), 1);
  EXPECT_NEAR(s.at("foreground_mean").at("Dice").as_double(),
              (s.at("mean").at("1").at("Dice").as_double() + s.at("mean").at("2").at("Dice").as_double()) / 2, 1e-12);
  EXPECT_EQ(cases[0].at("synapse").at("area_error").as_double(), 0);
  EXPECT_TRUE(cases[3].at("synapse").at("area_error").is_null());
  EXPECT_NE(done.out.find("cart19"), std::string::npos) << done.out;
  const std::string page = test::slurp(f.root / "out/report.html");
  EXPECT_NE(page.find("synapse area"), std::string::npos);
  const CsvTable csv = read_csv(f.root / "out/eval/cases.csv");
  EXPECT_EQ(csv.rows.size(), 8U);
  EXPECT_EQ(csv.number(2, csv.column("TP")), shrunk.at("TP").as_double());
}

TEST(DeepisEvaluate, InstancesAreCountedOverAllCases) {
  Folders f;
  // labels may have any numbers
  const Tensor truth = test::volume_of(
      {4, 8, 8}, [](auto, auto y, auto x) { return y < 4 ? (x < 4 ? 300 : 7) : 0; }, DType::i32);
  const Tensor found = test::volume_of(
      {4, 8, 8}, [](auto, auto y, auto x) { return y < 4   ? (x < 4 ? 1 : 0)
                                                   : y > 6 ? 2
                                                           : 0; }, DType::i32);
  f.add("one", truth, found);
  f.add("two", truth, truth);
  const auto done = f.run({"evaluate", "predicted", "--truth", "truth", "--head", "instances", "-o", "out", "--json"});
  ASSERT_EQ(done.code, 0) << done.err;
  const Json s = Json::parse(done.out);
  const Json& half = s.at("instances")[0];
  EXPECT_EQ(half.at("TP").as_int(), 3);
  EXPECT_EQ(half.at("FP").as_int(), 1);
  EXPECT_EQ(half.at("FN").as_int(), 1);
  EXPECT_NEAR(half.at("AP").as_double(), 3.0 / 5, 1e-12);
  EXPECT_NEAR(half.at("mean_AP_of_cases").as_double(), (1.0 / 3 + 1) / 2, 1e-12);
  EXPECT_EQ(s.at("instances").size(), 10U);
}

TEST(DeepisEvaluate, WhatDoesNotFitIsOneLineThatSaysSo) {
  const auto expect = [](const Folders& f, const std::vector<std::string>& words, int code, const std::string& text) {
    const auto done = f.run(words);
    EXPECT_EQ(done.code, code) << done.err;
    EXPECT_NE(done.err.find(text), std::string::npos) << text << " in\n" << done.err;
  };
  const Tensor cells = pair_of_cells();
  {
    Folders f;
    f.add("a", cells, zeros({20, 24, 40}, {.dtype = DType::u8}));
    expect(f, {"evaluate", "predicted", "--truth", "truth", "--head", "signed"}, 3, "a: prediction of shape [20,24,40]");
    expect(f, {"evaluate", "predicted", "--truth", "nowhere"}, 3, "nowhere: no such file or folder");
    expect(f, {"evaluate", "predicted"}, 2, "--data or --truth");
    expect(f, {"measure", "predicted", "--images", "images"}, 3, "labels of shape [20,24,40]");
    expect(f, {"measure", "images"}, 3, "a.npy: ");
    expect(f, {"measure", "predicted", "--spacing-z", "1"}, 2, "belong together");
  }
  {
    Folders f;
    f.add("a", cells, cells);
    write_npy(f.root / "truth/b.npy", cells);
    expect(f, {"evaluate", "predicted", "--truth", "truth"}, 3, "no prediction for 1 of 2 cases: b");
    expect(f, {"measure", "predicted", "truth", "--images", "images"}, 3, "no image is called 'b'");
  }
  {
    Folders f;
    f.add("a", cells, full({20, 24, 44}, 3, {.dtype = DType::u8}));
    expect(f, {"evaluate", "predicted", "--truth", "truth", "--head", "signed"}, 3,
           "a: label 3 in the prediction; there are 3 classes");
    fs::create_directories(f.root / "there/x");
    expect(f, {"evaluate", "predicted", "--truth", "truth", "-o", "there"}, 2, "there");
  }
}

TEST(DeepisMeasureCommand, ATimeLapseBecomesTablesAndPlots) {
  Folders f;
  for (int t = 1; t <= 11; ++t)
    f.add("t" + std::to_string(t), pair_of_cells(t < 9 ? 0 : 6), pair_of_cells(t < 9 ? 0 : 6, -0.05 * t));
  const auto done = f.run({"measure", "predicted", "--images", "images", "-o", "out", "--spacing-z", "0.2", "--spacing-xy", "0.2",
                           "--interval", "2.5"});
  ASSERT_EQ(done.code, 0) << done.err;
  const CsvTable cells = read_csv(f.root / "out/cells.csv"), synapses = read_csv(f.root / "out/synapses.csv");
  ASSERT_EQ(cells.rows.size(), 22U);
  ASSERT_EQ(synapses.rows.size(), 11U);
  // frames in natural order
  EXPECT_EQ(cells.rows[2][cells.column("case")], "t2");
  EXPECT_EQ(cells.rows[20][cells.column("case")], "t11");
  EXPECT_EQ(cells.number(20, cells.column("minutes")), 25);
  EXPECT_EQ(cells.rows[0][cells.column("cell")], "cart19");
  const double volume = cells.number(0, cells.column("volume_um3"));
  EXPECT_NEAR(cells.number(0, cells.column("voxels")) * 0.008, volume, 1e-9);
  EXPECT_NEAR(cells.number(0, cells.column("mean_ri")), 1.37, 1e-6);
  EXPECT_NEAR(cells.number(0, cells.column("dry_mass_pg")), volume * (1.37 - 1.337) / 0.2, 1e-4 * volume);
  EXPECT_GT(synapses.number(0, synapses.column("synapse_area_um2")), 3);
  EXPECT_EQ(synapses.number(10, synapses.column("synapse_area_um2")), 0);  // five voxels apart
  const Json json = Json::parse(test::slurp(f.root / "out/measure.json"));
  EXPECT_EQ(json.at("frames").size(), 11U);
  EXPECT_TRUE(fs::exists(f.root / "out/measure.html"));
}

TEST(DeepisMeasureCommand, InstancesHaveALineEach) {
  Folders f;
  const Tensor labels = test::volume_of(
      {6, 20, 20}, [](auto z, auto y, auto x) { return z > 0 && z < 5 ? (y / 5) * 4 + x / 5 : 0; }, DType::i32);
  f.add("tissue", labels, labels);
  const auto done = f.run({"measure", "predicted", "-o", "out"});
  ASSERT_EQ(done.code, 0) << done.err;
  const CsvTable cells = read_csv(f.root / "out/cells.csv");
  ASSERT_EQ(cells.rows.size(), 15U);
  EXPECT_EQ(cells.number(4, cells.column("volume_um3")), 100);
  EXPECT_EQ(cells.rows[4][cells.column("mean_ri")], "");
  EXPECT_FALSE(fs::exists(f.root / "out/synapses.csv"));
  EXPECT_NE(done.err.find("counts as 1 um"), std::string::npos) << done.err;
}

TEST(DeepisLabelFiles, NamesWithoutFormatAndRole) {
  using deepis::case_name;
  EXPECT_EQ(case_name("x/cell_3.labels.nii.gz"), "cell_3");
  EXPECT_EQ(case_name("cell_3.distance.npy"), "cell_3");
  EXPECT_EQ(case_name("cell.3.TIF"), "cell.3");
  test::TempFolder folder;
  fs::create_directories(folder / "day2");
  for (const char* name : {"t10.labels.npy", "t2.labels.npy", "t2.distance.npy", "day2/t1.labels.npy"})
    write_npy(folder / name, zeros({1, 1, 1}, {.dtype = DType::u8}));
  std::vector<std::string> names;
  for (const auto& f : deepis::volume_files(folder.path())) names.push_back(f.name);
  EXPECT_EQ(names, (std::vector<std::string>{"day2/t1", "t2", "t10"}));
  write_npy(folder / "t2.labels.npy.gz", zeros({1, 1, 1}, {.dtype = DType::u8}));
  EXPECT_THROW(deepis::volume_files(folder.path()), DataError);
}

TEST(DeepisLabelFiles, SpacingsMustAgree) {
  EXPECT_EQ(deepis::common_spacing({0, 0, 0}, "a", {1, 2, 3}, "b"), (Spacing{1, 2, 3}));
  EXPECT_EQ(deepis::common_spacing({1, 2, 3}, "a", {1.0001, 2, 3}, "b"), (Spacing{1, 2, 3}));
  try {
    deepis::common_spacing({0.4, 0.2, 0.2}, "labels.nii", {0.4, 0.25, 0.2}, "image.nii");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_STREQ(e.what(), "labels.nii: voxels of 0.4 x 0.2 x 0.2 um, but image.nii: 0.4 x 0.25 x 0.2 um (z,y,x)");
  }
}

}  // namespace
