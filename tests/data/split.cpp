// SPDX-License-Identifier: Apache-2.0
#include "data/split.h"

#include <cmath>
#include <map>
#include <set>

#include "core/json.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Random cohorts: patients of one class each, with very different numbers of cells.
Dataset cohort(std::uint64_t seed, std::int64_t patients, std::int64_t classes, bool with_groups = true) {
  cuboid::Random random(RandomKey{.seed = seed});
  std::vector<std::int64_t> labels;
  std::vector<std::string> groups, names;
  for (std::int64_t c = 0; c < classes; ++c) names.push_back(join_text("class ", c));
  for (std::int64_t p = 0; p < patients; ++p)
    for (std::uint64_t i = 0, n = 1 + random.below(60); i < n; ++i) {
      labels.push_back(p % classes);
      if (with_groups) groups.push_back(join_text("P", p));
    }
  return imagined(labels, groups, names);
}

/// Every sample in one part of each fold and, over the folds, exactly once in test.
void expect_partition(const Split& split, const Dataset& data, bool k_fold) {
  std::vector<int> tested(static_cast<std::size_t>(data.size()), 0);
  for (const auto& fold : split.folds) {
    std::set<std::int64_t> seen;
    for (const auto* part : {&fold.train, &fold.valid, &fold.test}) {
      EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
      for (const auto i : *part) EXPECT_TRUE(seen.insert(i).second) << i;
    }
    EXPECT_EQ(static_cast<std::int64_t>(seen.size()), data.size());
    for (const auto i : fold.test) ++tested[static_cast<std::size_t>(i)];
  }
  if (!k_fold) return;
  for (const int n : tested) EXPECT_EQ(n, 1);
}

std::map<std::int64_t, std::int64_t> class_counts(const Dataset& data, const std::vector<std::int64_t>& part) {
  std::map<std::int64_t, std::int64_t> counts;
  for (const auto i : part) ++counts[data[i].label];
  return counts;
}

TEST(Split, GroupedKeepsPatientsTogether) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const std::int64_t classes = 2 + static_cast<std::int64_t>(seed % 3);
    const Dataset data = cohort(seed, classes * (4 + static_cast<std::int64_t>(seed % 5)), classes);
    const Split split = make_split(data, {.seed = seed});
    EXPECT_EQ(split.method, SplitMethod::grouped);
    expect_partition(split, data, true);
    for (const auto& fold : split.folds) {
      std::map<std::string, int> part_of;
      int part = 0;
      for (const auto* indices : {&fold.train, &fold.valid, &fold.test}) {
        ++part;
        for (const auto i : *indices) {
          const auto [at, fresh] = part_of.emplace(data[i].group, part);
          EXPECT_EQ(at->second, part) << "patient " << data[i].group << " is in two parts";
        }
        EXPECT_EQ(static_cast<std::int64_t>(class_counts(data, *indices).size()), classes)
            << "a part without a class, seed " << seed;
      }
    }
  }
}

TEST(Split, GroupedIsBalancedWhereItCanBe) {
  // 20 equal patients a class, 5 folds: an even division exists and must be found.
  std::vector<std::int64_t> labels;
  std::vector<std::string> groups;
  for (int p = 0; p < 40; ++p)
    for (int i = 0; i < 7; ++i) {
      labels.push_back(p % 2);
      groups.push_back(join_text("P", p));
    }
  const Dataset data = imagined(labels, groups, {"a", "b"});
  for (const auto& fold : make_split(data).folds) {
    EXPECT_EQ(class_counts(data, fold.test), (std::map<std::int64_t, std::int64_t>{{0, 28}, {1, 28}}));
    EXPECT_EQ(class_counts(data, fold.valid), (std::map<std::int64_t, std::int64_t>{{0, 21}, {1, 21}}));
  }
  // Unequal ones: the best of all divisions of 8 patients into 2 parts, by trying them all.
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Dataset mixed = cohort(100 + seed, 8, 2);
    std::map<std::string, std::pair<std::int64_t, double>> patients;
    double total[2] = {};
    for (const auto& s : mixed.samples()) {
      patients[s.group].first = s.label;
      ++patients[s.group].second;
      ++total[s.label];
    }
    const auto deviation = [&](const double have[2]) {
      double sum = 0;
      for (int c = 0; c < 2; ++c) sum += std::pow(have[c] - total[c] / 2, 2) / total[c];
      return sum;
    };
    double best = 1e9;
    for (int mask = 0; mask < 256; ++mask) {
      double have[2] = {};
      int bit = 0;
      for (const auto& [name, p] : patients) have[p.first] += (mask >> bit++ & 1) ? p.second : 0;
      if (have[0] > 0 && have[1] > 0 && have[0] < total[0] && have[1] < total[1]) best = std::min(best, deviation(have));
    }
    const Split split = make_split(mixed, {.folds = 2, .valid = 0, .seed = seed});
    double have[2] = {};
    for (const auto i : split.folds[0].test) ++have[mixed[i].label];
    EXPECT_LE(deviation(have), best + 1e-9) << "seed " << seed;
  }
}

TEST(Split, StratifiedIsWithinOneOfIdeal) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Dataset data = cohort(seed, 6, 3, false);
    for (const std::int64_t folds : {2, 3, 5}) {
      const Split split = make_split(data, {.folds = folds, .seed = seed, .allow_missing = true});
      EXPECT_EQ(split.method, SplitMethod::stratified);
      expect_partition(split, data, true);
      std::vector<std::int64_t> everything;
      for (std::int64_t i = 0; i < data.size(); ++i) everything.push_back(i);
      for (const auto& [label, count] : class_counts(data, everything))
        for (const auto& fold : split.folds) {
          const double ideal = static_cast<double>(count) / static_cast<double>(folds);
          EXPECT_LT(std::abs(static_cast<double>(class_counts(data, fold.test)[label]) - ideal), 1.0);
        }
      for (const auto& fold : split.folds)
        EXPECT_LT(std::abs(static_cast<double>(fold.test.size()) - static_cast<double>(data.size()) / static_cast<double>(folds)),
                  1.0);
    }
  }
}

TEST(Split, LegacyIsThePaperProtocol) {
  std::vector<std::int64_t> labels(1427);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = i % 3 == 0;
  const Dataset data = imagined(labels, {}, {"a", "b"});
  const Split split = make_split(data, {.method = SplitMethod::legacy, .seed = 7});
  ASSERT_EQ(split.folds.size(), 10u);
  expect_partition(split, data, false);
  for (const auto& fold : split.folds) {
    EXPECT_EQ(fold.train.size(), 856u);
    EXPECT_EQ(fold.valid.size(), 285u);
    EXPECT_EQ(fold.test.size(), 286u);
  }
  EXPECT_NE(split.folds[0].test, split.folds[1].test);
}

TEST(Split, SeedDecides) {
  const Dataset grouped = cohort(3, 24, 2), single = cohort(3, 24, 2, false);
  for (const auto* data : {&grouped, &single})
    for (const auto method : {SplitMethod::automatic, SplitMethod::stratified, SplitMethod::legacy}) {
      const auto tests = [&](std::uint64_t seed) {
        std::vector<std::vector<std::int64_t>> all;
        for (auto& fold : make_split(*data, {.method = method, .seed = seed}).folds) {
          all.push_back(fold.test);
          all.push_back(fold.valid);
        }
        return all;
      };
      EXPECT_EQ(tests(1), tests(1));
      EXPECT_NE(tests(1), tests(2));
    }
}

TEST(Split, FewPatientsMeanFewerFoldsOrAnError) {
  // The prognosis task: 11 good patients, 3 poor ones.
  std::vector<std::int64_t> labels;
  std::vector<std::string> groups;
  for (int p = 0; p < 14; ++p)
    for (int i = 0; i < 10; ++i) {
      labels.push_back(p >= 11);
      groups.push_back(join_text("P", p));
    }
  const Dataset data = imagined(labels, groups, {"Good", "Poor"});
  const Split split = make_split(data);
  EXPECT_EQ(split.folds.size(), 3u);
  ASSERT_FALSE(split.notes.empty());
  EXPECT_SAYS(split.notes[0], "3 folds", "'Poor' has 3 patients");
  for (const auto& fold : split.folds) {
    EXPECT_EQ(class_counts(data, fold.test)[1], 10);
    EXPECT_EQ(class_counts(data, fold.valid)[1], 10);
    EXPECT_EQ(class_counts(data, fold.train)[1], 10);
  }
  EXPECT_SAYS(data_error([&] { make_split(data, {.folds = 5}); }), "'Poor' has 3 patients", "5 folds", "at most 3");
  EXPECT_EQ(make_split(data, {.folds = 5, .allow_missing = true}).folds.size(), 5u);

  const Dataset alone = imagined({0, 0, 0, 1}, {"A", "B", "C", "D"}, {"Good", "Poor"});
  EXPECT_SAYS(data_error([&] { make_split(alone); }), "'Poor' has 1 patient");
}

TEST(Split, HeldOutPatientsStayOutside) {
  const Dataset base = cohort(5, 16, 2);
  auto samples = base.samples();
  for (auto& s : samples) s.held_out = s.group == "P3" || s.group == "P8";
  const Dataset data(samples, base.class_names());
  const Split split = make_split(data);
  std::set<std::string> outside;
  for (const auto i : split.held_out) outside.insert(data[i].group);
  EXPECT_EQ(outside, (std::set<std::string>{"P3", "P8"}));
  for (const auto& fold : split.folds)
    for (const auto* part : {&fold.train, &fold.valid, &fold.test})
      for (const auto i : *part) EXPECT_FALSE(data[i].held_out);
}

TEST(Split, FileRoundTripAndRefusals) {
  const TempFolder folder;
  const Dataset data = cohort(9, 12, 2), other = cohort(10, 12, 2);
  const Split split = make_split(data, {.seed = ~std::uint64_t{0}});
  const auto file = folder / "split.json";
  write_split(file, split, data);
  const Split back = read_split(file, data);
  EXPECT_EQ(back.seed, split.seed);
  EXPECT_EQ(back.method, split.method);
  EXPECT_EQ(back.notes, split.notes);
  ASSERT_EQ(back.folds.size(), split.folds.size());
  for (std::size_t f = 0; f < back.folds.size(); ++f) {
    EXPECT_EQ(back.folds[f].train, split.folds[f].train);
    EXPECT_EQ(back.folds[f].valid, split.folds[f].valid);
    EXPECT_EQ(back.folds[f].test, split.folds[f].test);
  }
  EXPECT_SAYS(data_error([&] { read_split(file, other); }), "split.json", data.fingerprint(), other.fingerprint());

  const auto broken = [&](auto change) {
    Json json = Json::parse(slurp(file));
    change(json);
    spit(folder / "broken.json", json.dump());
    return data_error([&] { read_split(folder / "broken.json", data); });
  };
  const auto with_test = [](Json& j, std::int64_t index) { j["folds"].as_array()[0]["test"].push_back(index); };
  EXPECT_SAYS(broken([&](Json& j) { with_test(j, 100'000); }), "fold 1", "100000");
  EXPECT_SAYS(broken([&](Json& j) { with_test(j, -1); }), "fold 1", "-1");
  EXPECT_SAYS(broken([&](Json& j) { with_test(j, split.folds[0].train[0]); }), "fold 1", "twice");
  EXPECT_SAYS(broken([&](Json& j) { j["folds"] = Json::array(); }), "no folds");
  EXPECT_SAYS(broken([&](Json& j) { j["format"] = "something else"; }), "not a split file");
  EXPECT_SAYS(broken([&](Json& j) { j["folds"] = 3; }), "broken.json");
  spit(folder / "broken.json", "{");
  EXPECT_SAYS(data_error([&] { read_split(folder / "broken.json", data); }), "broken.json");
}

}  // namespace
