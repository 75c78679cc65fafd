// SPDX-License-Identifier: Apache-2.0
#include "data/labelled.h"

#include <limits>
#include <thread>

#include "data/augment_labelled.h"
#include "data/labelled_read.h"
#include "tests/data/labelled_folder.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

namespace fs = std::filesystem;

LabelledOptions with(Head head) { return {.head = head, .normalise = {.kind = Normalisation::Kind::none}}; }

TEST(Labelled, PairsOfFolders) {
  const TempFolder folder;
  write_pairs(folder.path(), 3);
  const LabelledDataset data = open_labelled_dataset(folder.path(), with(Head::signed_distance));
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data[1].name, "c1");
  EXPECT_EQ(data.outputs(), 1);
  EXPECT_EQ(data.channels(), 1);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"background", "1", "2"}));
  EXPECT_EQ(data.part("train").size(), 3u);
  EXPECT_TRUE(data.part("test").empty());
  const LabelledVolume v = data.load(2);
  EXPECT_EQ(v.image.shape(), (Shape{1, 12, 12, 14}));
  EXPECT_EQ(data.shape(2), (Shape{12, 12, 14}));
  EXPECT_FALSE(v.spacing_known);
  const Tensor labels = read_npy(folder / "labels" / "c2.npy"), image = read_npy(folder / "images" / "c2.npy");
  EXPECT_TRUE(equal(v.labels, labels));
  EXPECT_EQ(v.image.to_vector(), image.to_vector());
  EXPECT_TRUE(equal(v.target, signed_distance(labels, {1, 1, 1})));
  const auto same = data.load(2);
  EXPECT_EQ(same.image.storage(), v.image.storage()) << "not from the cache";
  std::vector<std::string> warnings;
  data.verify(&warnings);
  ASSERT_EQ(warnings.size(), 3u);
  EXPECT_SAYS(warnings[0], "c0", "voxel size is unknown");
}

TEST(Labelled, SpacingMakesTheDistancesPhysical) {
  const TempFolder folder;
  write_pairs(folder.path(), 1);
  LabelledOptions o = with(Head::instances);
  o.spacing_um = Spacing{0.5, 0.1, 0.2};
  const LabelledVolume v = open_labelled_dataset(folder.path(), o).load(0);
  EXPECT_TRUE(v.spacing_known);
  EXPECT_TRUE(equal(v.target, instance_distance(v.labels, {0.5, 0.1, 0.2})));
  EXPECT_FALSE(open_labelled_dataset(folder.path(), with(Head::classes)).load(0).target.defined());
}

TEST(Labelled, ACacheTooSmallChangesNothing) {
  const TempFolder folder;
  write_pairs(folder.path(), 3, false);
  LabelledOptions o = with(Head::instances);
  const LabelledDataset whole = open_labelled_dataset(folder.path(), o);
  o.cache_bytes = whole.load(0).image.view().bytes() * 3;
  const LabelledDataset little = open_labelled_dataset(folder.path(), o);
  for (int again = 0; again < 2; ++again)
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(equal(little.load(i).image, whole.load(i).image));
      EXPECT_TRUE(equal(little.load(i).target, whole.load(i).target));
      EXPECT_LE(little.cached_bytes(), o.cache_bytes);
    }
  EXPECT_GT(little.cached_bytes(), 0);
  EXPECT_EQ(little.fingerprint(), whole.fingerprint());
}

TEST(Labelled, ThreadsLoadACaseOnce) {
  const TempFolder folder;
  write_pairs(folder.path(), 2);
  const LabelledDataset data = open_labelled_dataset(folder.path(), with(Head::instances));
  std::vector<std::thread> threads;
  std::vector<const void*> seen(8);
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] { seen[t] = data.load(static_cast<std::int64_t>(t % 2)).target.storage().get(); });
  for (auto& t : threads) t.join();
  for (std::size_t t = 2; t < 8; ++t) EXPECT_EQ(seen[t], seen[t % 2]);
}

TEST(Labelled, AListOfCases) {
  const TempFolder folder;
  write_pairs(folder.path(), 3, false);
  const auto entry = [](int i, const char* split) {
    const std::string file = join_text("/c", i, ".npy");
    return Json::object({{"name", join_text("case ", i)},
                         {"image", "images" + file},
                         {"labels", "labels" + file},
                         {"split", split},
                         {"series", "S"},
                         {"frame", i}});
  };
  Json json = Json::object({{"spacing_um", Json::array({0.4, 0.2, 0.2})},
                            {"head", "classes"},
                            {"labels", Json::object({{"background", 0}, {"k562", 2}, {"cart19", 1}})},
                            {"cases", Json::array({entry(0, "train"), entry(1, "test"), entry(2, "train")})}});
  spit(folder / "dataset.json", json.dump());
  const LabelledDataset data = open_labelled_dataset(folder.path());
  EXPECT_EQ(data.head(), Head::classes);
  EXPECT_EQ(data.class_names(), (std::vector<std::string>{"background", "cart19", "k562"}));
  EXPECT_EQ(data.outputs(), 3);
  EXPECT_EQ(data.part("train"), (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(data.part("test"), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(data[2].frame, 2);
  EXPECT_EQ(data.spacing_um(), (Spacing{0.4, 0.2, 0.2}));
  EXPECT_EQ(data.load(1).spacing_um, (Spacing{0.4, 0.2, 0.2}));

  Json own = json;
  own["cases"] = Json::array({entry(0, "train"), entry(1, "test")});
  own["cases"].as_array()[1]["spacing_um"] = Json::array({2, 1, 1});
  spit(folder / "dataset.json", own.dump());
  const LabelledDataset two = open_labelled_dataset(folder.path());
  EXPECT_EQ(two.load(0).spacing_um, (Spacing{0.4, 0.2, 0.2}));
  EXPECT_EQ(two.load(1).spacing_um, (Spacing{2, 1, 1}));

  const auto broken = [&](const char* key, Json value) {
    Json other = json;
    other[key] = std::move(value);
    spit(folder / "dataset.json", other.dump());
    return data_error([&] { open_labelled_dataset(folder.path()); });
  };
  EXPECT_SAYS(broken("head", "mask"), "head 'mask'", "instances");
  EXPECT_SAYS(broken("spacing_um", Json::array({1, 0, 1})), "spacing of 0");
  EXPECT_SAYS(broken("labels", Json::object({{"background", 0}, {"a", 2}})), "label 2 of 'a'", "0 to 1");
  EXPECT_SAYS(broken("labels", Json::object({{"background", 0}, {"a", 1}, {"b", 1}})), "'a' and 'b' are both label 1");
  EXPECT_SAYS(broken("cases", Json::array({entry(0, "train"), entry(0, "train")})), "two cases are called 'case 0'");
  EXPECT_SAYS(broken("cases", Json::array({entry(0, "exam")})), "split 'exam'");
  EXPECT_SAYS(broken("cases", Json::array({entry(7, "train")})), "c7.npy does not exist");
  EXPECT_SAYS(broken("cases", Json::array({3})), "case 1 needs a name");
  EXPECT_SAYS(broken("cases", Json::array()), "no labelled volumes");
}

TEST(Labelled, PartsAsFolders) {
  const TempFolder folder;
  write_pairs(folder / "train_", 2);
  write_pairs(folder / "test_", 1);
  const LabelledDataset data = open_labelled_dataset(folder.path(), with(Head::instances));
  EXPECT_EQ(data.part("train").size(), 2u);
  EXPECT_EQ(data.part("test").size(), 1u);
  EXPECT_EQ(data[2].name, "test_/c0");
  const TempFolder theirs;  // nnU-Net's names
  write_pairs(theirs / "a", 1);
  fs::create_directories(theirs / "imagesTr");
  fs::create_directories(theirs / "labelsTr");
  fs::rename(theirs / "a" / "images" / "c0.npy", theirs / "imagesTr" / "c0_0000.npy");
  fs::rename(theirs / "a" / "labels" / "c0.npy", theirs / "labelsTr" / "c0.npy");
  const LabelledDataset other = open_labelled_dataset(theirs.path(), with(Head::classes));
  EXPECT_EQ(other[0].name, "c0");
  EXPECT_EQ(other.part("train").size(), 1u);
  EXPECT_EQ(other.class_names().size(), 3u) << "counted from the labels";
}

TEST(Labelled, WithoutTruth) {
  const TempFolder folder;
  write_pairs(folder.path(), 2);
  LabelledOptions o = with(Head::signed_distance);
  o.need_truth = false;
  const LabelledDataset data = open_labelled_dataset(folder / "images", o);
  EXPECT_EQ(data.size(), 2);
  EXPECT_FALSE(data.load(0).target.defined());
  EXPECT_EQ(open_labelled_dataset(folder / "images" / "c1.npy", o)[0].name, "c1");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder / "images", with(Head::signed_distance)); }), "no labelled volumes",
              "images/ and labels/");
}

TEST(Labelled, WhatIsWrongIsSaidWithBothSides) {
  const TempFolder folder;
  write_pairs(folder.path(), 2);
  const auto load_with = [&](const char* part, const Tensor& t, Head head = Head::signed_distance) {
    write_npy(folder / part / "c1.npy", t);
    return data_error([&] { open_labelled_dataset(folder.path(), with(head)).load(1); });
  };
  const Tensor labels = read_npy(folder / "labels" / "c1.npy"), image = read_npy(folder / "images" / "c1.npy");
  EXPECT_SAYS(load_with("labels", zeros({11, 12, 13}, {.dtype = DType::u8})), "c1: the image has shape [11,12,14]", "[11,12,13]");
  Tensor odd = empty(labels.shape());
  copy(labels, odd);
  odd.mutable_data<float>()[14 * 12 + 14 * 2 + 5] = 0.5f;
  EXPECT_SAYS(load_with("labels", odd), "c1.npy", "1 of 1848 voxels", "0.5 at z 1, y 2, x 5", "targets/");
  odd.mutable_data<float>()[14 * 12 + 14 * 2 + 5] = -1;
  EXPECT_SAYS(load_with("labels", odd), "-1 at z 1, y 2, x 5");
  odd.mutable_data<float>()[14 * 12 + 14 * 2 + 5] = 3;
  EXPECT_SAYS(load_with("labels", odd), "1 voxels have labels the head 'signed' has no class for: label 3 at z 1, y 2, x 5",
              "0 to 2", "'instances'");
  EXPECT_EQ(load_with("labels", odd, Head::instances), "no error");
  write_npy(folder / "labels" / "c1.npy", labels);
  Tensor bad = empty(image.shape());
  copy(image, bad);
  bad.mutable_data<float>()[14 * 12 * 3 + 14 * 10 + 7] = std::nanf("");
  bad.mutable_data<float>()[14 * 12 * 5] = std::numeric_limits<float>::infinity();
  EXPECT_SAYS(load_with("images", bad), "c1: 2 of 1848 voxels are NaN or infinite, the first at z 3, y 10, x 7");
  EXPECT_SAYS(load_with("images", zeros({2, 11, 12, 14})), "no error");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path(), with(Head::signed_distance)).verify(); }), "c1",
              "2 channels, other cases have 1");
  write_npy(folder / "images" / "c1.npy", image);
  fs::remove(folder / "labels" / "c0.npy");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path(), with(Head::instances)); }), "c0.npy: no file of this name in",
              "labels");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path()); }), "c0.npy");
  fs::remove(folder / "images" / "c0.npy");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path()); }), "--head classes | instances | signed");
}

TEST(Labelled, VerifyListsAll) {
  const TempFolder folder;
  write_pairs(folder.path(), 4, false);
  write_npy(folder / "labels" / "c1.npy", zeros({10, 12, 13}, {.dtype = DType::u8}));
  spit(folder / "images" / "c3.npy", "no array");
  const LabelledDataset data = open_labelled_dataset(folder.path(), with(Head::signed_distance));
  EXPECT_SAYS(data_error([&] { data.verify(); }), "2 cases are wrong", "c1: the image has shape", "c3.npy");
  write_npy(folder / "labels" / "c1.npy", zeros({10, 12, 14}, {.dtype = DType::u8}));
  write_pairs(folder / "again", 1);
  fs::rename(folder / "again" / "images" / "c0.npy", folder / "images" / "c3.npy");
  std::vector<std::string> warnings;
  open_labelled_dataset(folder.path(), with(Head::signed_distance)).verify(&warnings);
  EXPECT_SAYS(warnings[1], "c1: nothing is labelled");
  for (const int i : {0, 2, 3}) fs::remove(folder / "labels" / join_text("c", i, ".npy"));
  for (const int i : {0, 2, 3}) fs::remove(folder / "images" / join_text("c", i, ".npy"));
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path(), with(Head::signed_distance)).verify(); }),
              "nothing is labelled in any case");
}

TEST(Labelled, TargetsInsteadOfLabels) {
  const TempFolder folder;
  write_pairs(folder.path(), 1);
  const Tensor labels = read_npy(folder / "labels" / "c0.npy");
  const Tensor distance = signed_distance(labels, {1, 1, 1});
  fs::remove_all(folder / "labels");
  fs::create_directories(folder / "targets");
  write_npy(folder / "targets" / "c0.npy", distance);
  const LabelledDataset data = open_labelled_dataset(folder.path());
  EXPECT_EQ(data.head(), Head::signed_distance);
  const LabelledVolume v = data.load(0);
  EXPECT_FALSE(v.labels.defined());
  EXPECT_TRUE(equal(v.target, distance));
  const auto counts = voxels_by_class(v, Head::signed_distance);
  EXPECT_EQ(counts, voxels_by_class({.image = {}, .labels = labels}, Head::signed_distance));
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path(), with(Head::instances)).load(0); }), "below 0", "'signed'");
  EXPECT_SAYS(data_error([&] { open_labelled_dataset(folder.path(), with(Head::classes)).load(0); }), "needs labels");
}

TEST(Labelled, ALabelThatFillsTheVolumeHasTheDiagonal) {
  const TempFolder folder;
  write_pairs(folder.path(), 1);
  write_npy(folder / "labels" / "c0.npy", full({10, 12, 14}, 1, {.dtype = DType::u8}));
  const LabelledVolume v = open_labelled_dataset(folder.path(), with(Head::instances)).load(0);
  EXPECT_TRUE(close(v.target, full({10, 12, 14}, std::sqrt(440)), {.rtol = 1e-6}));
}

TEST(Labelled, Normalisations) {
  const Tensor image = noise({2, 3, 5, 7}, 4);
  for (int c = 0; c < 2; ++c) {
    const Tensor one(image.storage(), c * 105, {3, 5, 7}, {35, 7, 1}, DType::f32);
    const auto values = one.to_vector();
    double sum = 0, squares = 0;
    for (const double v : values) sum += v, squares += v * v;
    const double mean = sum / 105, deviation = std::sqrt(squares / 105 - mean * mean);
    const auto maps = measure({}, image);
    EXPECT_NEAR(maps[static_cast<std::size_t>(c)].shift, mean, 1e-12);
    EXPECT_NEAR(maps[static_cast<std::size_t>(c)].factor, 1 / deviation, 1e-9);
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const auto p = measure({.kind = Normalisation::Kind::percentiles, .low = 10, .high = 75}, one)[0];
    EXPECT_NEAR(p.shift, sorted[10] + 0.4 * (sorted[11] - sorted[10]), 1e-7);  // 10.4 of 0 ... 104
    EXPECT_NEAR(1 / p.factor + p.shift, sorted[78], 1e-7);
  }
  const Tensor bytes = from_values(std::vector<std::uint8_t>{0, 50, 100, 200}, {1, 2, 2});
  EXPECT_EQ(normalised(bytes, {.kind = Normalisation::Kind::scale, .low = 50, .high = 150}).to_vector(),
            (std::vector<double>{-0.5, 0, 0.5, 1.5}));
  EXPECT_EQ(normalised(bytes, {.kind = Normalisation::Kind::none}).to_vector(), (std::vector<double>{0, 50, 100, 200}));
  EXPECT_EQ(normalised(full({1, 2, 2}, 7), {}).to_vector(), (std::vector<double>{0, 0, 0, 0}));
  const Normalisation n{.kind = Normalisation::Kind::percentiles, .low = 1, .high = 99};
  EXPECT_EQ(Normalisation::from_json(n.to_json()), n);
  EXPECT_EQ(n.text(), "percentiles 1..99");
  const auto refused = [](const char* text) { return data_error([&] { Normalisation::from_json(Json::parse(text)); }); };
  EXPECT_SAYS(refused(R"({"kind":"rank"})"), "unknown kind 'rank'");
  EXPECT_SAYS(refused(R"({"kind":"scale","low":2,"high":2})"), "from 2 to 2");
  EXPECT_SAYS(refused(R"({"kind":"percentiles","low":-1,"high":101})"), "0..100");
}

}  // namespace
