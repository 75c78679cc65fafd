// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/prepare.h"

#include <limits>

#include "apps/app.h"
#include "core/json.h"
#include "data/convert.h"
#include "data/formats/csv.h"
#include "data/formats/mat.h"
#include "data/labelled_read.h"
#include "data/morphology/distance.h"
#include "tests/apps/program.h"
#include "tests/data/labelled_folder.h"

using namespace cuboid;
using namespace cuboid::deepis;
using namespace cuboid::test;

namespace {

namespace fs = std::filesystem;

LabelledOptions raw_values() { return {.normalise = {.kind = Normalisation::Kind::none}}; }

TEST(DeepisPrepare, NamesByPatternPartsAndSpacing) {
  const TempFolder folder;
  write_pairs(folder / "in", 3);
  for (int i = 0; i < 3; ++i) {
    fs::rename(folder / "in" / join_text("images/c", i, ".npy"), folder / "in" / join_text("c", i, "_raw.npy"));
    fs::rename(folder / "in" / join_text("labels/c", i, ".npy"), folder / "in" / join_text("c", i, "_mask.npy"));
  }
  PrepareOptions o{.input = folder / "in", .images = "*_raw.npy", .labels = "*_mask.npy", .output = folder / "out"};
  o.head = Head::signed_distance;
  o.class_names = {"cart19", "k562"};
  o.spacing_um = Spacing{0.5, 0.2, 0.2};
  o.test = {"c1"};
  o.write_targets = true;
  const PrepareReport report = prepare(o);
  EXPECT_EQ(report.written, 3);
  EXPECT_TRUE(report.warnings.empty());
  const LabelledDataset data = open_labelled_dataset(folder / "out", raw_values());
  EXPECT_EQ(data.head(), Head::signed_distance);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"background", "cart19", "k562"}));
  EXPECT_EQ(data.part("train"), (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(data.part("test"), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(data.spacing_um(), (Spacing{0.5, 0.2, 0.2}));
  const LabelledVolume v = data.load(1);
  const Tensor labels = read_npy(folder / "in" / "c1_mask.npy");
  EXPECT_TRUE(equal(v.labels, labels));
  EXPECT_TRUE(equal(v.target, signed_distance(labels, {0.5, 0.2, 0.2})));
  EXPECT_TRUE(fs::exists(folder / "out" / "targets" / "c1.npy"));
  EXPECT_EQ(v.image.to_vector(), read_npy(folder / "in" / "c1_raw.npy").to_vector());
  const CsvTable table = read_csv(folder / "out" / "cases.csv");
  ASSERT_EQ(table.rows.size(), 3u);
  EXPECT_EQ(table.integer(1, table.column("objects")), 2);
  EXPECT_EQ(table.integer(1, table.column("voxels k562")), voxels_by_class(v, Head::signed_distance)[2]);
  EXPECT_SAYS(data_error([&] { prepare(o); }), "out: exists already and is not empty");
}

TEST(DeepisPrepare, CutsAlongZWithAGap) {
  const TempFolder folder;
  write_pairs(folder / "in", 2);
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::instances};
  o.slices = slice_ranges("4:6");
  o.valid = {"c1"};
  o.crop = true;
  o.box = crop_box("1:10,:,2:12");
  prepare(o);
  const LabelledDataset data = open_labelled_dataset(folder / "out", raw_values());
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data[0].name, "c0_train");
  EXPECT_EQ(data.shape(0), (Shape{4, 12, 10}));
  EXPECT_EQ(data.shape(1), (Shape{3, 12, 10}));
  EXPECT_EQ(data.shape(2), (Shape{9, 12, 10})) << "a part named by the user is not cut";
  EXPECT_EQ(data.part("test"), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(data.part("valid"), (std::vector<std::int64_t>{2}));
  const auto got = data.load(1).image.to_vector(), all = read_npy(folder / "in" / "images" / "c0.npy").to_vector();
  for (std::size_t z = 0; z < 3; ++z)
    for (std::size_t y = 0; y < 12; ++y)
      for (std::size_t x = 0; x < 10; ++x) ASSERT_EQ(got[(z * 12 + y) * 10 + x], all[((z + 7) * 12 + y) * 14 + x + 2]);
}

/// One volume cut into training and validation, another one whole for testing.
TEST(DeepisPrepare, CutsTheTrainingVolumeAndLeavesTheTestVolumeWhole) {
  const TempFolder folder;
  write_pairs(folder / "in", 2, false);
  const Outcome done =
      run_program(folder.path(), {"deepis", "prepare", "-q", "-i", "in", "--head", "instances", "--spacing", "0.4,0.2,0.2",
                                  "--split-z", "train=0:5,valid=6:", "--test", "c1", "-o", "out"});
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_SAYS(done.out, "1 train 1 valid 1 test");
  const LabelledDataset data = open_labelled_dataset(folder / "out", raw_values());
  ASSERT_EQ(data.size(), 3);
  for (const auto& [split, name, planes] : {std::tuple{"train", "c0_train", 5}, {"valid", "c0_valid", 4}, {"test", "c1", 10}}) {
    ASSERT_EQ(data.part(split).size(), 1u) << split;
    const std::int64_t i = data.part(split)[0];
    EXPECT_EQ(data[i].name, name);
    EXPECT_EQ(data.shape(i), (Shape{planes, 12, 14}));
  }
  const auto got = data.load(data.part("valid")[0]).image.to_vector(),
             all = read_npy(folder / "in" / "images" / "c0.npy").to_vector();
  EXPECT_TRUE(std::equal(got.begin(), got.end(), all.begin() + 6 * 12 * 14));
  EXPECT_EQ(data.load(data.part("test")[0]).image.to_vector(), read_npy(folder / "in" / "images" / "c1.npy").to_vector());
  PrepareOptions o{.input = folder / "in", .output = folder / "again", .head = Head::instances};
  o.slices = slice_ranges("train=0:5,valid=6:11");
  o.test = {"c1"};
  EXPECT_SAYS(data_error([&] { prepare(o); }), "--split-z: c0 has 10 voxels along z, asked for 6:11");
}

TEST(DeepisPrepare, ObjectsAreNumberedAndMapped) {
  const TempFolder folder;
  write_pairs(folder / "in", 1);
  Tensor labels = empty({10, 12, 14}, {.dtype = DType::i32});
  copy(read_npy(folder / "in" / "labels" / "c0.npy"), labels);
  for (std::int64_t i = 0; i < labels.size(); ++i) {
    std::int32_t& v = labels.mutable_data<std::int32_t>()[i];
    v = v == 1 ? 70000 : v == 2 ? 300 : 0;
  }
  write_npy(folder / "in" / "labels" / "c0.npy", labels);
  PrepareOptions o{.input = folder / "in", .output = folder / "a", .head = Head::instances};
  prepare(o);
  const Tensor numbered = read_npy(folder / "a" / "labels" / "c0.npy");
  EXPECT_EQ(numbered.dtype(), DType::u8);
  for (std::int64_t i = 0; i < labels.size(); ++i) {
    const auto v = labels.data<std::int32_t>()[i];
    ASSERT_EQ(numbered.data<std::uint8_t>()[i], v == 300 ? 1 : v == 70000 ? 2 : 0);
  }
  o.head = Head::signed_distance;
  EXPECT_SAYS(data_error([&] { prepare(o); }), "exists already");
  o.output = folder / "b";
  EXPECT_SAYS(data_error([&] { prepare(o); }), "no class for: label", "0 to 2");
  EXPECT_FALSE(fs::exists(folder / "b")) << "nothing is written before all is well";
  o.relabel = {{70000, 1}, {300, 2}};
  EXPECT_EQ(prepare(o).rows[0].objects, 2);
  o.head = Head::classes;
  o.relabel = {{300, 1}};
  o.output = folder / "c";
  EXPECT_SAYS(data_error([&] { prepare(o); }), "labels up to 70000 are no classes");
}

TEST(DeepisPrepare, PiecesOfAMaskAreObjects) {
  const TempFolder folder;
  for (const char* part : {"images", "labels"}) fs::create_directories(folder / "in" / part);
  const Tensor labels = balls({8, 8, 20}, {{4, 4, 4, 2}, {4, 4, 14, 3}});
  write_npy(folder / "in" / "images" / "c.npy", image_of(labels, 3));
  for (std::int64_t i = 0; i < labels.size(); ++i)
    if (std::uint8_t& v = labels.mutable_data<std::uint8_t>()[i]; v > 0) v = 255;
  write_npy(folder / "in" / "labels" / "c.npy", labels);
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::instances};
  EXPECT_EQ(prepare(o).rows[0].objects, 1);
  o.components = true;
  o.output = folder / "pieces";
  EXPECT_EQ(prepare(o).rows[0].objects, 2);
  o.min_voxels = 60;  // of balls of radius 2 and 3
  o.output = folder / "large";
  EXPECT_EQ(prepare(o).rows[0].objects, 1);
}

TEST(DeepisPrepare, ResamplesToOneVoxelSize) {
  const TempFolder folder;
  write_pairs(folder / "in", 1);
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::instances};
  o.resample_um = Spacing{0.2, 0.2, 0.2};
  EXPECT_SAYS(data_error([&] { prepare(o); }), "voxel size of c0 is unknown", "--spacing");
  o.spacing_um = Spacing{0.4, 0.1, 0.2};
  prepare(o);
  const LabelledDataset data = open_labelled_dataset(folder / "out", raw_values());
  EXPECT_EQ(data.shape(0), (Shape{20, 6, 14}));
  EXPECT_EQ(data.spacing_um(), (Spacing{0.2, 0.2, 0.2}));
  const auto labels = data.load(0).labels.to_vector(), before = read_npy(folder / "in" / "labels" / "c0.npy").to_vector();
  for (std::size_t z = 0; z < 20; ++z)
    for (std::size_t y = 0; y < 6; ++y)
      for (std::size_t x = 0; x < 14; ++x) ASSERT_EQ(labels[(z * 6 + y) * 14 + x], before[(z / 2 * 12 + 2 * y + 1) * 14 + x]);
}

TEST(DeepisPrepare, SharesKeepSeriesTogether) {
  const TempFolder folder;
  for (const char* part : {"images", "labels"}) fs::create_directories(folder / "in" / part);
  const Tensor labels = balls({6, 8, 8}, {{3, 3, 3, 2}});
  for (int s = 0; s < 5; ++s)
    for (int f = 0; f < 3; ++f) {
      const std::string name = join_text("s", s, "x_", f, ".npy");
      write_npy(folder / "in" / "images" / name, image_of(labels, 1));
      write_npy(folder / "in" / "labels" / name, labels);
    }
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::instances};
  o.time_lapse = true;
  o.test_share = 0.2;
  o.valid_share = 0.2;
  prepare(o);
  const LabelledDataset data = open_labelled_dataset(folder / "out");
  std::map<std::string, std::string> part_of;
  std::map<std::string, int> cases;
  for (const auto& c : data.cases()) {
    EXPECT_EQ(c.series, c.name.substr(0, 3));
    EXPECT_EQ(c.frame, c.name.back() - '0');
    const auto [at, fresh] = part_of.emplace(c.series, c.split);
    EXPECT_EQ(at->second, c.split);
    ++cases[c.split];
  }
  EXPECT_EQ(cases["train"], 9);
  EXPECT_EQ(cases["valid"], 3);
  EXPECT_EQ(cases["test"], 3);
  o.seed = 43;
  std::string other;
  for (const auto& c : raw_cases(o)) other += c.split + " ";
  o.seed = 44;
  std::string third;
  for (const auto& c : raw_cases(o)) third += c.split + " ";
  EXPECT_NE(other, third);
  o.test_share = 0.9;
  EXPECT_SAYS(data_error([&] { raw_cases(o); }), "5 cases or series are too few");
}

TEST(DeepisPrepare, ListsAllThatIsWrong) {
  const TempFolder folder;
  write_pairs(folder / "in", 5, false);
  const Tensor image = read_npy(folder / "in" / "images" / "c0.npy");
  image.mutable_data<float>()[200] = std::numeric_limits<float>::quiet_NaN();
  write_npy(folder / "in" / "images" / "c0.npy", image);
  write_npy(folder / "in" / "labels" / "c1.npy", zeros({10, 12, 14}, {.dtype = DType::u8}));
  write_npy(folder / "in" / "labels" / "c2.npy", zeros({10, 14, 12}, {.dtype = DType::u8}));
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::signed_distance};
  const std::string text = data_error([&] { prepare(o); });
  EXPECT_SAYS(text, "3 of 5 cases are wrong", "c0: 1 of 1680 voxels are NaN or infinite, the first at z 1, y 2, x 4",
              "c1: an empty mask", "c2: the image has shape [10,12,14], the labels [10,14,12]");
  EXPECT_FALSE(fs::exists(folder / "out"));
  o.check_only = true;
  EXPECT_EQ(data_error([&] { prepare(o); }), text);
  o.check_only = false;
  o.keep_going = true;
  const PrepareReport report = prepare(o);
  EXPECT_EQ(report.written, 2);
  EXPECT_EQ(report.failed, 3);
  EXPECT_EQ(open_labelled_dataset(folder / "out").size(), 2);
  EXPECT_SAYS(slurp(folder / "out" / "cases.csv"), "c1: an empty mask");
  o.allow_empty = true;
  o.output = folder / "more";
  EXPECT_EQ(prepare(o).written, 3);
}

TEST(DeepisPrepare, ImagesAndMasksInDifferentSpaces) {
  const TempFolder folder;
  for (const char* part : {"images", "labels"}) fs::create_directories(folder / "in" / part);
  const Tensor labels = balls({6, 8, 10}, {{3, 3, 3, 2}});
  Volume image{.image = image_of(labels, 3), .spacing = {0.5, 0.2, 0.2}, .spacing_known = true}, mask = image;
  mask.image = labels;
  save_volume(folder / "in" / "images" / "c.nii.gz", image);
  save_volume(folder / "in" / "labels" / "c.nii", mask);
  PrepareOptions o{.input = folder / "in", .output = folder / "out", .head = Head::instances};
  prepare(o);
  const auto data = open_labelled_dataset(folder / "out");
  EXPECT_TRUE(same_spacing(data.spacing_um(), {0.5, 0.2, 0.2}));
  EXPECT_TRUE(equal(data.load(0).labels, labels));
  mask.spacing = {0.5, 0.2, 0.3};
  save_volume(folder / "in" / "labels" / "c.nii", mask);
  o.output = folder / "other";
  EXPECT_SAYS(data_error([&] { prepare(o); }), "c: voxels of 0.5 x 0.2 x 0.2 um in c.nii.gz", "0.5 x 0.2 x 0.3 um in c.nii");
}

TEST(DeepisPrepare, TheOriginalsMatFiles) {
  const TempFolder folder;
  const Tensor labels = balls({6, 8, 10}, {{3, 3, 3, 2}, {3, 4, 7, 2}});
  const Tensor image = image_of(labels, 3), distance = signed_distance(labels, {1, 1, 1});
  for (const char* part : {"train_", "test_"}) {
    fs::create_directories(folder / "in" / part);
    write_mat(folder / "in" / part / "a_001.mat", {{"input", image, Number::f32}, {"target", distance, Number::f32}});
  }
  const LabelledDataset direct = open_labelled_dataset(folder / "in", raw_values());
  EXPECT_EQ(direct.head(), Head::signed_distance);
  EXPECT_TRUE(close(direct.load(0).target, distance, {.atol = 1e-6}));
  EXPECT_EQ(direct.load(0).image.to_vector(), image.to_vector());
  PrepareOptions o{.input = folder / "in", .output = folder / "out"};
  const PrepareReport report = prepare(o);
  EXPECT_EQ(report.head, Head::signed_distance);
  const LabelledDataset data = open_labelled_dataset(folder / "out", raw_values());
  EXPECT_EQ(data.part("test").size(), 1u);
  EXPECT_TRUE(close(data.load(0).target, distance, {.atol = 1e-6}));
  write_mat(folder / "in" / "train_" / "b.mat", {{"input", image, Number::f32}, {"truth", distance, Number::f32}});
  o.output = folder / "again";
  EXPECT_SAYS(data_error([&] { prepare(o); }), "b.mat", "target", "truth");
}

TEST(DeepisPrepare, WordsThatMakeNoSense) {
  EXPECT_SAYS(error_of([] { slice_ranges("20"); }), "A:B");
  EXPECT_SAYS(error_of([] { slice_ranges("22:20"); }), "'22:20'");
  EXPECT_SAYS(error_of([] { slice_ranges("exam=1:2"); }), "train=0:20");
  EXPECT_SAYS(error_of([] { slice_ranges("train=0:20,test=19:30"); }), "train and test share slices");
  EXPECT_SAYS(error_of([] { crop_box("1:2,3:4"); }), "z0:z1,y0:y1,x0:x1");
  EXPECT_SAYS(error_of([] { crop_box("1:2,3:4,5:x"); }), "'x'");
  EXPECT_SAYS(error_of([] { crop_box("1:2,4:4,5:6"); }), "nothing lies in 4:4");
  const TempFolder folder;
  write_pairs(folder.path(), 2);
  PrepareOptions o{.input = folder.path(), .output = folder / "out"};
  EXPECT_SAYS(error_of([&] { prepare(o); }), "what do the labels mean", "--head signed");
  o.head = Head::instances;
  o.test = {"c3"};
  EXPECT_SAYS(error_of([&] { prepare(o); }), "--test: no case 'c3'", "c0, c1");
  o.test = {};
  o.crop = true;
  o.box = crop_box("0:5,0:5,20:30");
  EXPECT_SAYS(error_of([&] { prepare(o); }), "--crop: c0 has 14 voxels along x", "20:30");
  o.crop = false;
  o.images = "*.tif";
  EXPECT_SAYS(error_of([&] { prepare(o); }), "--images needs --labels");
  o.labels = "labels/*.npy";
  EXPECT_SAYS(error_of([&] { prepare(o); }), "--images: no file of the form", "*.tif");
  o.images = "images/*0.npy";
  EXPECT_SAYS(error_of([&] { prepare(o); }), "--labels: none for", "(case 'c')");
}

TEST(DeepisPrepare, AsACommand) {
  const TempFolder folder;
  write_pairs(folder / "in", 2);
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"deepis", "prepare", "-q", "-i", "in", "--spacing", "0.4,0.2,0.2"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(folder.path(), words);
  };
  EXPECT_EQ(run({"--head", "instances"}).code, app::usage_error) << "no output";
  EXPECT_EQ(run({"--head", "instances", "--check"}).code, 0);
  const Outcome dry = run({"--head", "instances", "-o", "out", "--test", "c1", "--dry-run"});
  EXPECT_SAYS(dry.out, "case c1: in/images/c1.npy, test");
  EXPECT_FALSE(fs::exists(folder / "out"));
  const Outcome json = run({"--head", "signed", "-o", "out", "--json", "--classes", "cart19,k562"});
  ASSERT_EQ(json.code, 0) << json.err;
  EXPECT_EQ(Json::parse(json.out).at("written").as_int(), 2);
  for (int i = 0; i < 2; ++i) write_npy(folder / "in" / "labels" / join_text("c", i, ".npy"), zeros({3, 3, 3}));
  const Outcome wrong = run({"--head", "signed", "-o", "other"});
  EXPECT_EQ(wrong.code, app::bad_data);
  EXPECT_SAYS(wrong.err, "error: 2 of 2 cases are wrong:\n  c0: the image has shape", "\n  c1: ", "\n  hint: ");
  EXPECT_EQ(run({"--head", "signed", "-o", "other", "--split-z", "5"}).code, app::usage_error);
  EXPECT_EQ(run({"--head", "signed", "-o", "other", "--map", "1:2"}).code, app::usage_error);
  EXPECT_EQ(run({"--head", "signed", "-o", "other", "--resample", "1,0,1"}).code, app::usage_error);
}

/// Real data: one command each (see apps/deepis/README.md).
TEST(DeepisPrepare, OvuleNuclei) {
  SAMPLE_DATA_OR_SKIP(nuclei, "cell3d_seg/ovule_nuclei");
  const TempFolder folder;
  PrepareOptions o{.input = nuclei, .images = "*_raw_u8.npy", .labels = "*_label_u8.npy.gz", .output = folder / "out"};
  o.head = Head::instances;
  o.spacing_um = Spacing{0.2837, 0.127, 0.127};
  o.test = {"1136"};
  const PrepareReport report = prepare(o);
  ASSERT_EQ(report.rows.size(), 2u);
  EXPECT_EQ(report.rows[0].objects, 54);
  EXPECT_EQ(report.rows[1].objects, 32);
  EXPECT_EQ(report.rows[1].shape, (Shape{100, 100, 100}));
}

TEST(DeepisPrepare, PlantsegCells) {
  SAMPLE_DATA_OR_SKIP(cells, "cell3d_seg/plantseg_cells");
  const TempFolder folder;
  PrepareOptions o{.input = cells,
                   .images = "sample_ovule_raw_u8_32x128x128.npy",
                   .labels = "sample_ovule_label_u16_32x128x128.npy.gz",
                   .output = folder / "out"};
  o.head = Head::instances;
  o.slices = slice_ranges("20:22");
  const PrepareReport report = prepare(o);
  ASSERT_EQ(report.rows.size(), 2u);
  EXPECT_EQ(report.rows[0].name, "sample_ovule_train");
  EXPECT_EQ(report.rows[0].shape, (Shape{20, 128, 128}));
  EXPECT_EQ(report.rows[1].shape, (Shape{10, 128, 128}));
}

}  // namespace
