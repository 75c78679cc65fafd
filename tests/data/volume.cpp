// SPDX-License-Identifier: Apache-2.0
#include "data/volume.h"

#include "core/safetensors.h"
#include "data/convert.h"
#include "data/formats/csv.h"
#include "data/formats/npy.h"
#include "tests/data/formats.h"

using namespace cuboid;
using test::close, test::equal, test::error_of, test::spit, test::TempFolder;

namespace {

TEST(Volume, AnyFormatByContent) {
  const TempFolder folder;
  Volume v;
  v.image = test::random({4, 6, 5}, {.dtype = DType::i32, .lo = 13'300, .hi = 13'900, .integers = true});
  v.spacing = {0.5, 0.2, 0.1};
  v.spacing_known = true;
  std::vector<std::string> endings = {".npy", ".safetensors"};
#if defined(CUBOID_ZIP)
  endings.emplace_back(".npz");
#endif
#if defined(CUBOID_TIFF)
  endings.emplace_back(".tif");
#endif
  for (const auto& ending : endings) {
    save_volume(folder / ("a.b" + ending), v);
    std::filesystem::rename(folder / ("a.b" + ending), folder / "a.b.x");  // content decides, not the name
    const Volume back = load_volume(folder / "a.b.x");
    EXPECT_TRUE(equal(back.image, v.image)) << ending;
    EXPECT_EQ(back.name, "a.b") << ending;
    EXPECT_EQ(load_volume(folder / "a.b.x", {.dtype = DType::f32}).image.dtype(), DType::f32) << ending;
  }
}

#if defined(CUBOID_HDF5) && defined(CUBOID_TIFF)
TEST(Volume, ConvertsAround) {
  const TempFolder folder;
  Volume v;
  v.image = test::random({4, 6, 5}, {.dtype = DType::f32, .lo = 1.33, .hi = 1.40});
  v.spacing = {0.5, 0.2, 0.1};
  v.spacing_known = true;
  save_volume(folder / "a.tcf", v);
  const auto first = load_volume(folder / "a.tcf");
  convert(folder / "a.tcf", folder / "a.tif");
  convert(folder / "a.tif", folder / "b.tcf");
  const auto last = load_volume(folder / "b.tcf");
  EXPECT_TRUE(equal(last.image, first.image));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(last.spacing[i], v.spacing[i], 1e-7);
  EXPECT_NE(error_of([&] { convert(folder / "a.tcf", folder / "a.tif"); }).find("exists already"), std::string::npos);
  EXPECT_NO_THROW(convert(folder / "a.tcf", folder / "a.tif", {}, true));
  EXPECT_NE(error_of([&] { convert(folder / "a.tcf", folder / "a.doc"); }).find("cannot write \".doc\""), std::string::npos);
}
#endif

#if defined(CUBOID_PNG)
TEST(Volume, PicturesAreFlatVolumes) {
  const TempFolder folder;
  Volume v;
  v.image = from_values<float>({0, 0, 0, 0, 1, 2, 3, 4, 9, 9, 9, 9}, {3, 2, 2});
  save_volume(folder / "a.png", v);
  const Volume back = load_volume(folder / "a.png");
  EXPECT_EQ(back.image.shape(), Shape({1, 2, 2}));
  EXPECT_EQ(back.image.to_vector(), (std::vector<double>{0, 85, 170, 255})) << "the middle slice from dark to bright";
}
#endif

TEST(Volume, SaysWhatIsWrong) {
  const TempFolder folder;
  const auto message = [&] { return error_of([&] { load_volume(folder / "a.npy"); }); };
  const std::string name = (folder / "a.npy").string();
  EXPECT_EQ(message(), name + ": cannot open: No such file or directory");
  spit(folder / "a.npy", "");
  EXPECT_EQ(message(), name + ": an empty file");
  spit(folder / "a.npy", "hello");
  EXPECT_EQ(message(), name + ": not a format this build reads; it reads " + volume_formats());
  write_npy(folder / "a.npy", zeros({5}));
  EXPECT_EQ(message(), name + ": shape [5]; a volume has 3 dimensions, or 4 with channels first");
  write_npy(folder / "a.npy", zeros({0, 1, 2}));
  EXPECT_NE(message(), "");
  write_npy(folder / "a.npy", zeros({4, 5}));
  EXPECT_EQ(load_volume(folder / "a.npy").image.shape(), Shape({1, 4, 5}));
  write_safetensors(folder / "a.npy", {{"x", zeros({1, 1, 1})}, {"y", zeros({1, 1, 2})}});
  EXPECT_EQ(message(), name + ": holds 2 tensors, name one of: x, y");
  EXPECT_EQ(load_volume(folder / "a.npy", {.entry = "y"}).image.shape(), Shape({1, 1, 2}));
  EXPECT_TRUE(looks_like_volume("x/y.NPY.GZ") && looks_like_volume("a.TCF") && !looks_like_volume("labels.csv"));
}

TEST(Csv, TablesAsPeopleWriteThem) {
  const CsvTable t = parse_csv(
      "\xef\xbb\xbf"
      "file, label ,x\r\n\"a,1\",good,1.5\r\n\r\n\"b\"\"2\",,-3\n c ,\"two\nlines\",+7",
      "t.csv");
  EXPECT_EQ(t.columns, (std::vector<std::string>{"file", "label", "x"}));
  ASSERT_EQ(t.rows.size(), 3u);
  EXPECT_EQ(t.rows[0], (std::vector<std::string>{"a,1", "good", "1.5"}));
  EXPECT_EQ(t.rows[1], (std::vector<std::string>{"b\"2", "", "-3"}));
  EXPECT_EQ(t.rows[2], (std::vector<std::string>{"c", "two\nlines", "+7"}));
  EXPECT_EQ(t.lines, (std::vector<std::int64_t>{2, 4, 5}));
  EXPECT_EQ(t.number(0, t.column("x")), 1.5);
  EXPECT_EQ(t.integer(2, 2), 7);
  EXPECT_EQ(error_of([&] { t.integer(0, 2); }), "t.csv:2: x is \"1.5\", a whole number is expected");
  EXPECT_EQ(error_of([&] { t.column("y"); }), "t.csv: no column \"y\"; there are: file, label, x");
  EXPECT_EQ(parse_csv("a,b\n1,\n", "t").rows[0], (std::vector<std::string>{"1", ""})) << "an empty last cell";
}

TEST(Csv, RefusesWithLine) {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"", "t: empty; a header line is expected"},
      {"a,b\n1,2\n1,2,3\n", "t:3: 3 cells, the header has 2"},
      {"a,b\n1\n", "t:2: 1 cells, the header has 2"},
      {"a,b\n\"1,2\n", "t:2: a quote is not closed"},
      {"a,b\n\"1\"x,2\n", "t:2: text after a closing quote"},
      {"a,a\n1,2\n", "t: column \"a\" is given twice"},
  };
  for (const auto& c : cases) EXPECT_EQ(error_of([&] { parse_csv(c.text, "t"); }), c.message);
  EXPECT_THROW(parse_csv(std::string("a,b\n1,\0\n", 9), "t"), DataError);
}

TEST(Csv, WritingReadsBack) {
  for (const std::string cell : {"plain", "a,b", "say \"x\"", "two\nlines", " blank ", ""}) {
    const CsvTable t = parse_csv("a,b\n" + csv_cell(cell) + ",1\n", "t");
    EXPECT_EQ(t.rows[0][0], cell);
  }
}

}  // namespace
