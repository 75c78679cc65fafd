// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/phantom.h"

#include <algorithm>

#include "core/files.h"
#include "core/json.h"
#include "data/formats/npy.h"
#include "tests/files.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

TEST(DeepisPhantom, AFolderThatSaysWhatItHolds) {
  const TempFolder folder;
  const std::filesystem::path root = folder.path() / "pairs";
  const auto report = deepis::write_phantom({.output = root, .pairs = {.pairs = 5, .frames = 2, .size = 32}});
  EXPECT_EQ(report.volumes, 10);
  EXPECT_EQ(report.train + report.valid + report.test, 10);
  EXPECT_EQ(report.test, 2);
  EXPECT_EQ(report.valid, 2);
  const Json dataset = Json::parse(read_file(root / "dataset.json"));
  EXPECT_EQ(dataset["head"].as_string(), "signed");
  EXPECT_EQ(dataset["labels"]["k562"].as_int(), 2);
  EXPECT_EQ(dataset["spacing_um"][0].as_double(), 1.2);
  ASSERT_EQ(dataset["cases"].size(), 10u);
  std::string before;
  for (const auto& item : dataset["cases"].as_array()) {
    EXPECT_EQ(read_npy(root / item["image"].as_string()).shape(), (Shape{16, 32, 32}));
    EXPECT_EQ(read_npy(root / item["labels"].as_string()).dtype(), DType::u8);
    if (item["frame"].as_int() == 1) {
      EXPECT_EQ(item["split"].as_string(), before) << "frames of a pair stay together";
    }
    before = item["split"].as_string();
  }
  const std::string truth = read_file(root / "truth.csv");
  EXPECT_EQ(std::count(truth.begin(), truth.end(), '\n'), 11);
  EXPECT_THROW(deepis::write_phantom({.output = root}), DataError) << "a folder that is not empty";
}

TEST(DeepisPhantom, Splits) {
  const deepis::PhantomFolderOptions o{.pairs = {.pairs = 40}};
  std::int64_t parts[3] = {};
  for (std::int64_t i = 0; i < 40; ++i) {
    const auto split = deepis::phantom_split(o, i);
    ++parts[split == "train" ? 0 : split == "valid" ? 1 : 2];
  }
  EXPECT_EQ(parts[0], 28);
  EXPECT_EQ(parts[1], 4);
  EXPECT_EQ(parts[2], 8);
  EXPECT_EQ(deepis::phantom_split({.pairs = {.pairs = 2}}, 1), "train");
  EXPECT_EQ(deepis::phantom_split({.pairs = {.pairs = 3}}, 2), "test");
}

}  // namespace
