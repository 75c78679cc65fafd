// SPDX-License-Identifier: Apache-2.0
// cuboid info and convert, on files as people have them.
#include "core/json.h"
#include "data/convert.h"
#include "data/formats/mat.h"
#include "data/formats/nifti.h"
#include "tests/apps/program.h"

using namespace cuboid;
using test::run_program, test::slurp, test::spit, test::TempFolder;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

Volume scan() {
  Volume v{.image = empty({4, 6, 5}, {.dtype = DType::i32}), .spacing = {5, 0.5, 0.75}, .spacing_known = true, .unit = "mm"};
  for (int i = 0; i < 120; ++i) v.image.mutable_data<std::int32_t>()[i] = i * 10 - 1000;
  v.direction = {1, 0, 0, 0, -1, 0, 0, 0, -1};
  v.orientation_known = true;
  return v;
}

TEST(Tools, InfoSaysWhereAVolumeLies) {
  const TempFolder folder;
  save_volume(folder / "scan.nii.gz", scan());
  const auto seen = run_program(folder.path(), {"info", "scan.nii.gz"});
  EXPECT_EQ(seen.code, 0) << seen.err;
  EXPECT_EQ(seen.out,
            "scan.nii.gz: i32 [4,6,5], stored as i16\n"
            "  spacing (z,y,x)  5 x 0.5 x 0.75 mm\n"
            "  orientation      LPS (x,y,z)\n"
            "  values           -1000 to 190, mean -405\n");
  const Json json = Json::parse(run_program(folder.path(), {"info", "scan.nii.gz", "--json"}).out).as_array().front();
  EXPECT_EQ(json.at("orientation").as_string(), "LPS");
  EXPECT_EQ(json.at("stored").as_string(), "i16");
  EXPECT_EQ(json.at("spacing").as_array().front().as_double(), 5);
  EXPECT_EQ(json.at("mean").as_double(), -405);
}

TEST(Tools, InfoOfDamagedFilesShowsTheirHeader) {
  const TempFolder folder;
  for (const char* name : {"a.nii", "a.npy"}) {
    save_volume(folder / name, scan());
    spit(folder / name, slurp(folder / name).substr(0, 400));
    const auto seen = run_program(folder.path(), {"info", name});
    EXPECT_EQ(seen.code, 3);
    EXPECT_TRUE(contains(seen.out, "[4,6,5]") && contains(seen.out, "says its header")) << seen.out;
    EXPECT_TRUE(contains(seen.err, "cut off") && contains(seen.err, "copy the file again")) << seen.err;
    EXPECT_FALSE(contains(seen.err, "cuboid info")) << "that is what was just done";
    const auto elsewhere = run_program(folder.path(), {"convert", name, "b.npy"});
    EXPECT_EQ(elsewhere.code, 3);
    EXPECT_TRUE(contains(elsewhere.err, std::string("'cuboid info ") + name + "' shows what can be read of it")) << elsewhere.err;
  }
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"deepis", "train", "-d", "nowhere"}, {"deepis", "tune", "nowhere"}}) {
    const auto missing = run_program(folder.path(), command);
    EXPECT_EQ(missing.code, 3);
    EXPECT_TRUE(contains(missing.err, "hint: check the name")) << missing.err;
  }
  spit(folder / "a.txt", "hello");
  const auto text = run_program(folder.path(), {"info", "a.txt"});
  EXPECT_EQ(text.code, 3);
  EXPECT_TRUE(contains(text.err, "hint: info also shows weights")) << text.err;
  const auto bench = run_program(folder.path(), {"bench", "compare", "a.txt", "a.txt"});
  EXPECT_EQ(bench.code, 3);
  EXPECT_TRUE(contains(bench.err, "hint: give it a file that 'cuboid bench --out DIR' wrote")) << bench.err;
}

TEST(Tools, InfoListsTheVariablesOfAMatFile) {
  const TempFolder folder;
  write_mat(folder / "cell.mat", {{"input", scan().image, Number::u8}, {"target", scan().image, Number::i16}});
  const auto seen = run_program(folder.path(), {"info", "cell.mat"});
  EXPECT_EQ(seen.out,
            "cell.mat: MATLAB 5, 2 variables\n"
            "  input             uint8     [6,5,4]\n"
            "  target            int16     [6,5,4]\n");
  const auto one = run_program(folder.path(), {"info", "cell.mat", "--entry", "target"});
  EXPECT_TRUE(contains(one.out, "i32 [4,6,5]\n  values           -1000 to 190")) << one.out;
  const auto none = run_program(folder.path(), {"convert", "cell.mat", "a.npy", "--entry", "output"});
  EXPECT_EQ(none.code, 3);
  EXPECT_TRUE(contains(none.err, "has no variable \"output\"; there are: input (6x5x4 uint8), target (6x5x4 int16)")) << none.err;
}

TEST(Tools, ConvertThereAndBack) {
  const TempFolder folder;
  save_volume(folder / "a.nii.gz", scan());
  EXPECT_EQ(run_program(folder.path(), {"convert", "a.nii.gz", "b.npy"}).code, 0);
  EXPECT_EQ(run_program(folder.path(), {"convert", "b.npy", "c.nii"}).code, 0);
  EXPECT_EQ(run_program(folder.path(), {"convert", "a.nii.gz", "d.nii"}).code, 0);
  EXPECT_EQ(load_volume(folder / "c.nii").image.to_vector(), scan().image.to_vector());
  EXPECT_FALSE(load_volume(folder / "c.nii").spacing_known) << "npy keeps none";
  EXPECT_EQ(affine_of(load_volume(folder / "d.nii")), affine_of(scan()));
}

}  // namespace
