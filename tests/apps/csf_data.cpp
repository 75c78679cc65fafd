// SPDX-License-Identifier: Apache-2.0
// Tasks, prepared crops, folds and phantom folders of the CSF app.
#include <set>

#include "apps/csf/phantom.h"
#include "apps/csf/prepare.h"
#include "apps/csf/split.h"
#include "apps/csf/task.h"
#include "data/formats/npy.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::csf;
using namespace cuboid::test;

namespace {

std::set<std::string> as_set(const std::vector<std::string>& v) { return {v.begin(), v.end()}; }

TEST(Task, ShippedFilesSayWhatThePaperAndTheCodeSay) {
  const Task paper = read_task(find_task_file("virus_others")), coded = read_task(find_task_file("virus_others_as_coded"));
  const Task outcome = read_task(find_task_file("prognosis"));
  EXPECT_EQ(as_set(paper.classes[0].patients), (std::set<std::string>{"1", "4", "7", "8", "9", "10", "13", "15", "17"}));
  EXPECT_EQ(as_set(paper.classes[1].patients), (std::set<std::string>{"2", "3", "11", "14", "18"}));
  EXPECT_EQ(as_set(coded.classes[0].patients), (std::set<std::string>{"4", "8", "10", "13", "15"}));
  EXPECT_EQ(as_set(coded.classes[1].patients), (std::set<std::string>{"1", "7", "9", "17"}));
  EXPECT_EQ(outcome.classes[0].patients.size(), 11u);
  EXPECT_EQ(as_set(outcome.classes[1].patients), (std::set<std::string>{"3", "8", "18"}));
  EXPECT_EQ(outcome.classes[1].name, "Poor");
  for (const Task* t : {&paper, &coded, &outcome}) {
    EXPECT_EQ(t->folders.size(), 17u);
    EXPECT_EQ(t->folders.at("20221005"), "2");
    EXPECT_EQ(t->folders.at("20221005_2"), "17");
  }
  EXPECT_EQ(shipped_tasks(), (std::vector<std::string>{"prognosis", "virus_others", "virus_others_as_coded"}));
  EXPECT_SAYS(data_error([] { find_task_file("prognosys"); }), "prognosys", "virus_others_as_coded");
}

TEST(Task, BadFilesAreNamedWithTheirLine) {
  const TempFolder folder;
  const auto says = [&](const std::string& yaml) {
    spit(folder / "t.yaml", yaml);
    return data_error([&] { read_task(folder / "t.yaml"); });
  };
  const std::string good = "t:\n  group1: A\n  group1_patients: [1, 2]\n  group2: B\n  group2_patients: [3]\n";
  EXPECT_EQ(says(good), "no error");
  EXPECT_SAYS(says("t:\n  group1: A\n  group1_patients: [1, 2]\n  group2: B\n  group2_patients: [2]\n"), "t.yaml", "patient 2",
              "both groups", "'A'", "'B'");
  EXPECT_SAYS(says(good + "  colour: blue\n"), "t.yaml line 6", "colour", "known");
  EXPECT_SAYS(says("t:\n  group1: A\n"), "t.yaml", "group2");
  EXPECT_SAYS(says("t:\n  group1: A\n  group1_patients: 3\n  group2: B\n"), "t.yaml line 3", "list");
  EXPECT_SAYS(says("t:\n  group1: A\n  group1_patients: [1, 1]\n"), "line 3", "patient 1", "twice");
  EXPECT_SAYS(says("t:\n  group1: A\n  group1_patients: []\n  group2: B\n"), "'A'", "no patients");
  EXPECT_SAYS(says("t: [1\n  2"), "t.yaml line");
  EXPECT_SAYS(says("- 1\n- 2\n"), "t.yaml");
  EXPECT_SAYS(says(""), "t.yaml");
  EXPECT_SAYS(says(good + "folders:\n  a: [1]\n"), "line 7", "folder a");
  EXPECT_SAYS(says(std::string(100'000, '[')), "t.yaml line 1", "deep");
  std::string dashes;
  for (int i = 0; i < 50'000; ++i) dashes += "- ";
  EXPECT_SAYS(says(dashes), "t.yaml", "deep");
  EXPECT_SAYS(says(std::string((1 << 20) + 1, '#')), "t.yaml");
  EXPECT_SAYS(says(good + "u:\n  group1: A\n  group1_patients: [1]\n  group2: B\n  group2_patients: [3]\n"), "several", "t, u");
  EXPECT_SAYS(data_error([&] { read_task(folder / "t.yaml", "v"); }), "'v'", "t, u");
}

TEST(Task, CohortFoldersBecomePatients) {
  const TempFolder folder;
  const auto cells = [&](const std::string& name, int n) {
    std::filesystem::create_directories(folder / name);
    for (int i = 0; i < n; ++i)
      write_npy(folder / name / join_text("c", i, ".npy"), noise({4, 4, 4}, static_cast<std::uint64_t>(i)));
  };
  cells("20221011_csf", 3);    // patient 1: Virus
  cells("20221005_csf", 2);    // patient 2: Others
  cells("20221005_2_csf", 4);  // patient 17: Virus
  cells("20220317_csf", 5);    // patient 5: in no group
  Task task = read_task(find_task_file("virus_others"));
  const Dataset data = open_task(folder.path(), task);
  EXPECT_EQ(data.size(), 9);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"Virus", "Others"}));
  std::map<std::string, int> per_patient;
  for (const auto& s : data.samples()) {
    ++per_patient[s.group];
    EXPECT_EQ(s.label, s.group == "2" ? 1 : 0);
  }
  EXPECT_EQ(per_patient, (std::map<std::string, int>{{"1", 3}, {"2", 2}, {"17", 4}}));
  task.classes[0].held_out = {"17"};
  const Dataset held_out = open_task(folder.path(), task);
  for (const auto& s : held_out.samples()) EXPECT_EQ(s.held_out, s.group == "17");
  task.classes[1].patients = {"3"};
  EXPECT_SAYS(data_error([&] { open_task(folder.path(), task); }), "'Others'", "no cell");
  const TempFolder nothing;
  EXPECT_SAYS(data_error([&] { open_task(nothing.path(), task); }), nothing.path().string(), "neither labels.csv");
}

TEST(Phantom, FolderTaskFoldsAndPreparation) {
  const TempFolder folder;
  const PhantomFolderReport made = write_phantom({.output = folder / "p",
                                                  .cells = {.cells = 24, .size = 16, .patients = 8},
                                                  .raw_fields = 2,
                                                  .cells_per_field = 3,
                                                  .raw_shape = {24, 40, 48}});
  EXPECT_EQ(made.cells, 24);
  EXPECT_SAYS(data_error([&] { write_phantom({.output = folder / "p"}); }), "not an empty folder");
  const Dataset data = open_dataset(folder / "p");
  EXPECT_EQ(data.size(), 24);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"round", "lobed"}));
  EXPECT_EQ(data.shape(), (Shape{1, 16, 16, 16}));
  EXPECT_NEAR(data.spacing_um()[0], 0.8, 1e-9);
  data.verify();
  EXPECT_EQ(read_npy(folder / "p" / "masks" / "cell_0003.npy").dtype(), DType::u8);

  // The task of the folder names the same classes, so it opens the same cells.
  const SplitReport by_task = split_data({.data = folder / "p", .task_file = folder / "p/task.yaml"}, {}, folder / "split.json");
  EXPECT_EQ(by_task.dataset.size(), 24);
  EXPECT_EQ(by_task.split.method, SplitMethod::grouped);
  EXPECT_EQ(by_task.split.folds.size(), 4u);
  EXPECT_SAYS(by_task.table(), "fold 4:", "round of 1 patient");
  EXPECT_THROW(split_data({.data = folder / "p"}, {}, folder / "split.json"), Error) << "never replaced silently";
  EXPECT_EQ(read_split(folder / "split.json", by_task.dataset).folds.size(), 4u);

  // Raw tomograms -> crops that train as they are.
  const PrepareReport report =
      prepare({.input = folder / "p/raw", .centres = folder / "p/raw/centres.csv", .output = folder / "crops", .size = 16});
  EXPECT_EQ(report.written, 6);
  EXPECT_EQ(report.failed, 0);
  ASSERT_EQ(report.rows.size(), 6u);
  for (const auto& row : report.rows) {
    EXPECT_NEAR(row.volume_mean, 13390, 20);
    EXPECT_GT(row.crop.max, 13500);
  }
  const Dataset crops = open_dataset(folder / "crops");
  EXPECT_EQ(crops.size(), 6);
  EXPECT_EQ(crops.shape(), (Shape{1, 16, 16, 16}));
  EXPECT_TRUE(crops.has_groups());
  EXPECT_EQ(crops.class_names()[1], "lobed");
  EXPECT_NEAR(crops.spacing_um()[0], 0.8, 1e-3) << "from the tomogram";
  EXPECT_SAYS(data_error([&] {
                prepare({.input = folder / "p/raw", .centres = folder / "p/raw/centres.csv", .output = folder / "crops"});
              }),
              "quality.csv", "exists already");
}

class PrepareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "in" / "day_csf");
    volume_ = full({10, 12, 14}, 13375);
    float* p = volume_.mutable_data<float>();
    for (std::int64_t i = 0; i < volume_.size(); ++i) p[i] += static_cast<float>(i % 5) - 2;
    p[(4 * 12 + 5) * 14 + 6] = 13600;  // z=4, y=5, x=6
    write_npy(folder_ / "in/day_csf/a.npy", volume_);
  }
  PrepareReport run(const std::string& centres, PrepareOptions o = {}) {
    spit(folder_ / "centres.csv", centres);
    o.input = folder_ / "in";
    o.centres = folder_ / "centres.csv";
    o.output = folder_ / join_text("out", ++runs_);
    if (o.size == 64) o.size = 4;
    return prepare(o);
  }
  Tensor out(const std::string& name) { return read_npy(folder_ / join_text("out", runs_) / name); }
  static float voxel(const Tensor& t, std::int64_t z, std::int64_t y, std::int64_t x) {
    return t.data<float>()[(z * t.dim(1) + y) * t.dim(2) + x];
  }
  TempFolder folder_;
  Tensor volume_;
  int runs_ = 0;
};

TEST_F(PrepareTest, CropsNormalisesAndKeepsFolders) {
  const auto report = run("file,x,y,z\nday_csf/a.npy,6,5,4\n");
  EXPECT_EQ(report.written, 1);
  EXPECT_EQ(report.clipped, 0);
  const Tensor crop = out("day_csf/a.npy");
  EXPECT_EQ(crop.shape(), (Shape{4, 4, 4}));
  EXPECT_EQ(voxel(crop, 2, 2, 2), 1) << "the bright voxel is the centre, and the maximum";
  const auto values = crop.to_vector();
  EXPECT_EQ(*std::min_element(values.begin(), values.end()), 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out1/labels.csv")) << "no labels, no table";
  EXPECT_SAYS(slurp(folder_ / "out1/quality.csv"), "day_csf/a.npy,day_csf/a.npy,ok,4,5,6,0,0,0");

  EXPECT_EQ(voxel((run("file,x,y,z\nday_csf/a.npy,6,5,4\n", {.normalise = Normalise::none}), out("day_csf/a.npy")), 2, 2, 2),
            13600);
}

TEST_F(PrepareTest, ShortCropsArePaddedAndNormalisationMayComeFirst) {
  const auto report =
      run("file,x,y,z,label\nday_csf/a.npy,13,5,0,0\nday_csf/a.npy,6,5,4,1\n", {.normalise = Normalise::before_crop});
  EXPECT_EQ(report.clipped, 1);
  EXPECT_EQ(report.rows[0].missing, (std::array<std::int64_t, 3>{2, 0, 1}));
  const Tensor crop = out("day_csf/a_1.npy");
  const float median = (13375.0f - 13373.0f) / (13600.0f - 13373.0f);
  EXPECT_FLOAT_EQ(voxel(crop, 3, 0, 0), median);
  EXPECT_FLOAT_EQ(voxel(crop, 0, 0, 3), median);
  EXPECT_FLOAT_EQ(voxel(out("day_csf/a_2.npy"), 2, 2, 2), 1);
  EXPECT_EQ(slurp(folder_ / "out1/labels.csv"), "file,label\nday_csf/a_1.npy,0\nday_csf/a_2.npy,1\n");
}

TEST_F(PrepareTest, OtherAxisOrderGivesTheSameCrop) {
  const Tensor yxz = empty({12, 14, 10});
  for (std::int64_t y = 0; y < 12; ++y)
    for (std::int64_t x = 0; x < 14; ++x)
      for (std::int64_t z = 0; z < 10; ++z) yxz.mutable_data<float>()[(y * 14 + x) * 10 + z] = voxel(volume_, z, y, x);
  write_npy(folder_ / "in/b.npy", yxz);
  run("file,x,y,z\nday_csf/a.npy,7,5,3\n");
  const auto expected = out("day_csf/a.npy").to_vector();
  run("file,x,y,z\nb.npy,7,5,3\n", {.order = AxisOrder::yxz});
  EXPECT_EQ(out("b.npy").to_vector(), expected);
}

TEST_F(PrepareTest, MeansOutsideTheRangeAreLeftOut) {
  write_npy(folder_ / "in/low.npy", full({6, 6, 6}, 13360));
  write_npy(folder_ / "in/high.npy", full({6, 6, 6}, 1.3385));  // the same scale as an index
  const auto report = run("file,x,y,z\nlow.npy,3,3,3\nday_csf/a.npy,6,5,4\nhigh.npy,3,3,3\n", {.filter_mean = true});
  EXPECT_EQ(report.written, 1);
  EXPECT_EQ(report.excluded, 2);
  EXPECT_NEAR(report.rows[2].volume_mean, 13385, 1e-2);
  EXPECT_EQ(report.rows[0].status, "excluded");
}

TEST_F(PrepareTest, BadInputIsNamed) {
  Tensor sick = full({6, 6, 6}, 13370);
  sick.mutable_data<float>()[3] = std::nanf("");
  write_npy(folder_ / "in/sick.npy", sick);
  spit(folder_ / "in/broken.npy", "\x93NUMPY\x01");
  const auto says = [&](const std::string& rows) { return data_error([&] { run("file,x,y,z\n" + rows); }); };
  EXPECT_SAYS(says("none.npy,1,1,1\n"), "centres.csv line 2", "none.npy", "does not exist");
  EXPECT_SAYS(says("day_csf/a.npy,14,5,4\n"), "centres.csv line 2", "day_csf/a.npy", "x=14", "14 voxels");
  EXPECT_SAYS(says("day_csf/a.npy,1,1.5,1\n"), "centres.csv", "1.5");
  EXPECT_SAYS(says("day_csf/a.npy,1,1,1\nday_csf/a.npy,1,1,1\n"), "line 3", "already");
  EXPECT_SAYS(says("sick.npy,3,3,3\n"), "sick.npy", "1 of 216", "NaN");
  EXPECT_SAYS(says("broken.npy,3,3,3\n"), "broken.npy");
  EXPECT_SAYS(says("../centres.csv,3,3,3\n"), "not below the input folder");
  EXPECT_SAYS(data_error([&] { run("name,x\n"); }), "centres.csv");
  const auto report = run("file,x,y,z\nsick.npy,3,3,3\nday_csf/a.npy,6,5,4\nday_csf/a.npy,99,5,4\n", {.keep_going = true});
  EXPECT_EQ(report.failed, 2);
  EXPECT_EQ(report.written, 1);
  EXPECT_SAYS(report.rows[0].problem, "NaN");
  EXPECT_SAYS(report.rows[2].problem, "x=99");
}

}  // namespace
