// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include "core/parallel.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

TEST(Dataset, FolderOfFiles) {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "sub");
  write_npy(folder / "sub/a.npy", noise({4, 6, 8}, 1));
  write_npy(folder / "b, 2.npy", noise({4, 6, 8}, 2));
  spit(folder / "labels.csv",
       "\xEF\xBB\xBF"
       "file,label,patient,class\r\nsub/a.npy,1,P7,dog\r\n\"b, 2.npy\",0,P1,cat\r\n");
  spit(folder / "dataset.json", R"({"spacing_um": [0.2, 0.1, 0.1]})");
  const Dataset data = open_dataset(folder.path());
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(data[0].name, "sub/a.npy");
  EXPECT_EQ(data[0].group, "P7");
  EXPECT_EQ(data[1].label, 0);
  EXPECT_TRUE(data.has_groups());
  EXPECT_EQ(data.spacing_um()[0], 0.2);
  EXPECT_EQ(data.shape(), (Shape{1, 4, 6, 8}));
  const auto values = data.load(1).to_vector();
  EXPECT_EQ(*std::min_element(values.begin(), values.end()), 0);
  EXPECT_EQ(*std::max_element(values.begin(), values.end()), 1);
  data.verify();
}

TEST(Dataset, RescalingCanBeSwitchedOffAndShrinkingIsAMean) {
  const TempFolder folder;
  write_cells(folder.path(), 2);
  const Tensor original = noise({4, 6, 8}, 1);
  const Dataset plain = open_dataset(folder.path(), {.rescale = Rescale::none});
  EXPECT_EQ(plain.load(1).to_vector(), original.to_vector());
  const Dataset half = open_dataset(folder.path(), {.rescale = Rescale::none, .shrink = 2});
  EXPECT_EQ(half.shape(), (Shape{1, 2, 3, 4}));
  double mean = 0;
  for (int z = 0; z < 2; ++z)
    for (int y = 0; y < 2; ++y)
      for (int x = 0; x < 2; ++x) mean += original.to_vector()[static_cast<std::size_t>(((2 + z) * 6 + 4 + y) * 8 + 6 + x)] / 8;
  EXPECT_NEAR(half.load(1).to_vector().back(), mean, 1e-6);
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path(), {.shrink = 4}).shape(); }), "cell_0.npy", "divide by 4");
}

TEST(Dataset, StackedArrayInEveryForm) {
  const TempFolder folder;
  const Tensor stack = noise({5, 4, 6, 8}, 3);
  write_npy(folder / "all.npy", stack);
  spit(folder / "labels.csv", "index,label\n4,0\n0,1\n2,1\n");
  const Tensor wide = empty(stack.shape(), {.dtype = DType::f64});
  copy(stack, wide);
  for (const auto& path : {folder.path(), folder / "all.npy", folder / "labels.csv"}) {
    const Dataset data = open_dataset(path, {.rescale = Rescale::none});
    ASSERT_EQ(data.size(), 3) << path;
    EXPECT_EQ(data[0].name, "all.npy:4");
    EXPECT_EQ(data.shape(), (Shape{1, 4, 6, 8}));
    const auto all = stack.to_vector(), last = data.load(0).to_vector();
    EXPECT_TRUE(std::equal(last.begin(), last.end(), all.begin() + 4 * 192)) << path;
  }
  // Without labels every row is a sample.
  std::filesystem::remove(folder / "labels.csv");
  EXPECT_EQ(open_dataset(folder / "all.npy", {.need_labels = false}).size(), 5);
  EXPECT_SAYS(data_error([&] { open_dataset(folder / "all.npy"); }), "all.npy", "labels");
}

TEST(Dataset, SeveralStacksAskWhichOne) {
  const TempFolder folder;
  write_npy(folder / "a.npy", noise({2, 4, 4, 4}, 1));
  write_npy(folder / "b.npy", noise({2, 4, 4, 4}, 2));
  write_npy(folder / "flat.npy", noise({2, 4, 4}, 2));
  spit(folder / "labels.csv", "index,label\n0,0\n1,1\n");
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path()); }), "a.npy", "b.npy", "give the one to use");
  EXPECT_EQ(open_dataset(folder / "b.npy").size(), 2);
}

TEST(Dataset, BadInputIsNamed) {
  struct Case {
    std::string table;
    std::vector<std::string> says;
  };
  const Case cases[] = {
      {"file,label\na.npy,0\nmissing.npy,1\n", {"labels.csv line 3", "missing.npy", "does not exist"}},
      {"file,label\na.npy,0\nb.npy,1\n./a.npy,0\n", {"labels.csv line 4", "a.npy is already in line 2"}},
      {"file,label\na.npy,0\nb.npy,good\n", {"labels.csv", "3", "good"}},
      {"file,label\na.npy,0\nb.npy,1.5\n", {"labels.csv", "3", "1.5"}},
      {"file,label\na.npy,0\nb.npy,-1\n", {"labels.csv line 3", "-1", "negative"}},
      {"file,label\na.npy,0\nb.npy,2\n", {"class 1", "no sample"}},
      {"file,label\na.npy,0\nb.npy,0\n", {"one class only"}},
      {"file,label\na.npy,0\nb.npy,99999999999\n", {"99999999999", "too large"}},
      {"file\na.npy\n", {"labels.csv", "column 'label'"}},
      {"name,label\na.npy,0\n", {"labels.csv", "'file' or 'index'"}},
      {"file,label\n", {"labels.csv", "no rows"}},
      {"file,label,class\na.npy,0,cat\nb.npy,1,dog\nc.npy,0,cow\n", {"line 4", "cow", "cat"}},
      {"index,label\n0,0\n", {"labels.csv", "no array of shape (N,D,H,W)"}},
  };
  for (const auto& c : cases) {
    const TempFolder folder;
    for (const char* name : {"a.npy", "b.npy", "c.npy"}) write_npy(folder / name, noise({4, 4, 4}, 1));
    spit(folder / "labels.csv", c.table);
    const std::string text = data_error([&] { open_dataset(folder.path()); });
    for (const auto& part : c.says) EXPECT_SAYS(text, part);
  }
  const TempFolder folder;
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path()); }), folder.path().string(), "empty");
  EXPECT_SAYS(data_error([&] { open_dataset(folder / "nothing"); }), "nothing", "no such");
  write_npy(folder / "a.npy", noise({4, 4, 4}, 1));
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path()); }), "no labels.csv", "file,label");
}

TEST(Dataset, BadVoxelsAndShapesAreNamed) {
  const TempFolder folder;
  write_cells(folder.path(), 3);
  Tensor sick = noise({4, 6, 8}, 1);
  sick.mutable_data<float>()[5] = std::nanf("");
  sick.mutable_data<float>()[7] = INFINITY;
  write_npy(folder / "cell_1.npy", sick);
  write_npy(folder / "cell_2.npy", noise({4, 6, 9}, 1));
  const Dataset data = open_dataset(folder.path());
  EXPECT_SAYS(data_error([&] { data.load(1); }), "cell_1.npy", "2 of 192", "NaN");
  EXPECT_SAYS(data_error([&] { data.load(2); }), "cell_2.npy", "[1,4,6,9]", "cell_0.npy", "[1,4,6,8]");
  EXPECT_SAYS(data_error([&] { data.verify(); }), "cell_1.npy");
  spit(folder / "cell_0.npy", "\x93NUMPY");
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path()).load(0); }), "cell_0.npy");
  write_npy(folder / "cell_0.npy", noise({48}, 1));
  EXPECT_SAYS(data_error([&] { open_dataset(folder.path()).load(0); }), "cell_0.npy", "[48]");
}

TEST(Dataset, CacheStaysBelowItsLimitAndThreadsAgree) {
  const TempFolder folder;
  write_cells(folder.path(), 12);
  constexpr std::int64_t bytes = 4 * 6 * 8 * 4;
  for (const std::int64_t limit : {std::int64_t{0}, 5 * bytes + 1, 100 * bytes}) {
    const Dataset data = open_dataset(folder.path(), {.cache_bytes = limit});
    for (int round = 0; round < 2; ++round) parallel_for(48, [&](std::int64_t i) { EXPECT_EQ(data.load(i % 12).size(), 192); });
    EXPECT_EQ(data.cached_bytes(), std::min<std::int64_t>(limit / bytes, 12) * bytes);
  }
}

TEST(Dataset, FingerprintSeesNamesLabelsGroupsAndSizes) {
  const TempFolder folder;
  write_cells(folder.path(), 4);
  const std::string first = open_dataset(folder.path()).fingerprint();
  EXPECT_EQ(first.size(), 16u);
  EXPECT_EQ(open_dataset(folder.path(), {.shrink = 2}).fingerprint(), first);
  const std::string table = slurp(folder / "labels.csv");
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"cell_3.npy,1", "cell_3.npy,0"}, {"P2", "P9"}}) {
    std::string other = table;
    other.replace(other.find(from), from.size(), to);
    spit(folder / "labels.csv", other);
    EXPECT_NE(open_dataset(folder.path()).fingerprint(), first) << to;
  }
  spit(folder / "labels.csv", table);
  write_npy(folder / "cell_3.npy", noise({4, 6, 9}, 1));
  EXPECT_NE(open_dataset(folder.path()).fingerprint(), first);
}

TEST(Dataset, RedBloodCells) {
  SAMPLE_DATA_OR_SKIP(folder, "cell3d_cls/rbc_shapr");
  const Dataset data = open_dataset(folder);
  ASSERT_EQ(data.size(), 135);
  EXPECT_EQ(data.classes(), 4);
  EXPECT_EQ(data.class_names()[3], "D_multilobate_cells");
  EXPECT_EQ(data.shape(), (Shape{1, 64, 64, 64}));
  std::int64_t per_class[4] = {};
  for (const auto& s : data.samples()) ++per_class[s.label];
  EXPECT_EQ(per_class[0], 69);
  EXPECT_EQ(per_class[3], 12);
  EXPECT_EQ(data.load(134).size(), 64 * 64 * 64);
}

}  // namespace
