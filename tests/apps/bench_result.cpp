// SPDX-License-Identifier: Apache-2.0
// Results as files: there and back, compared, put into documents; and what the program answers to wrong ones.
#include "apps/bench/result.h"

#include <gtest/gtest.h>

#include "apps/app.h"
#include "apps/bench/gate.h"
#include "apps/bench/table.h"
#include "core/safetensors.h"
#include "kernels/random/random.h"
#include "tests/apps/program.h"

using namespace cuboid;
using namespace cuboid::bench;

namespace {

/// Two rows; `factor` slows Cuboid's side of the first.
Result example(double factor = 1) {
  const double nan = std::nan("");
  Result r{.date = "2026-11-21T16:00:00Z", .command = "cuboid bench"};
  r.machine =
      Json::object({{"processor", "A Processor"}, {"cores", 2}, {"threads", 2}, {"memory_gib", 24.}, {"system", "Linux"}});
  r.versions = Json::object({{"cuboid", "Cuboid 1"}, {"libtorch", "LibTorch 2"}});
  r.options = Json::object({{"rounds", 4}, {"seconds", 3.}, {"keep_above", 0.95}});
  r.best = {480e9, 45e9};
  for (const char* mode : {"train", "infer"}) {
    Row row{.id = std::string("net/") + mode, .title = "Net, 64^3", .mode = mode, .gflop = 24};
    row.numerics = {{"cuboid/f32", 1e-6, 2e-6}, {"cuboid/bf16", 1e-2, 2e-2}};
    const double f = row.mode == "train" ? factor : 1;
    row.sides = {{"cuboid/f32", "cuboid", "f32", "channels_last", "", {100 * f, 102 * f, 98 * f, 100 * f}, 97 * f, 500},
                 {"cuboid/bf16", "cuboid", "bf16", "channels_last", "", {60, 61, 59, 60}, 58, 400},
                 {"libtorch/contiguous/tuned", "libtorch", "f32", "contiguous", "tuned", {200, 204, 196, 200}, 190, 1500},
                 {"libtorch/channels_last/tuned", "libtorch", "f32", "channels_last", "tuned", {220, 230, nan, nan}, 219, 1400},
                 {"libtorch/contiguous/default", "libtorch", "f32", "contiguous", "default", {300, 310, nan, nan}, 299, 1300}};
    row.calibrations = {{480e9, 45e9}, {479e9, 45e9}, {400e9, 40e9}, {480e9, 44e9}, {480e9, 45e9}};
    row.steal = {0, 0.1, 0.1, 0};
    row.kept = keep_rounds(row.calibrations, r.best, 0.95, 2);
    r.rows.push_back(row);
  }
  r.figures = {{"startup/net", "start to first prediction", "ms", {70, 71, 72}, {700, 710, 720}},
               {"size/closure", "size", "MiB", {45.}, {}}};
  r.growth = {{"net", "Net", "train", 4, 50, 1, {98, 100, 102}},
              {"net", "Net", "train", 4, 50, 2, {50, 49, 51}},
              {"net", "Net", "train", 4, 100, 1, {800, 801}},
              {"net", "Net", "infer", 1, 50, 2, {7.5}}};
  return r;
}

struct Bench : ::testing::Test {
  test::TempFolder folder;
  std::string file(const std::string& name, const std::string& content) {
    std::ofstream(folder.path() / name) << content;
    return (folder.path() / name).string();
  }
  std::string stored(const std::string& name, const Result& r) {
    r.write(folder.path() / name);
    return (folder.path() / name).string();
  }
  test::Outcome run(const std::vector<std::string>& arguments) { return test::run_program(folder.path(), arguments); }
};

}  // namespace

TEST(BenchResult, ThereAndBack) {
  const Result before = example();
  const Json json = before.to_json();
  const Result after = Result::from_json(Json::parse(json.dump(2)), "test");
  EXPECT_EQ(after.to_json().dump(2), json.dump(2));
  ASSERT_EQ(after.rows.size(), 2u);
  EXPECT_EQ(after.rows[0].kept.kept, (std::vector<bool>{true, false, false, true}));
  EXPECT_EQ(after.rows[0].numerics, before.rows[0].numerics);
  EXPECT_EQ(after.figures, before.figures);
  EXPECT_EQ(after.growth, before.growth);
  EXPECT_EQ(after.rows[0].best()->id, "libtorch/contiguous/tuned");
  EXPECT_EQ(after.rows[0].as_installed()->id, "libtorch/contiguous/default");
  EXPECT_DOUBLE_EQ(after.rows[0].ratio(after.rows[0].sides[0], *after.rows[0].best()).median, 0.5);
}

TEST_F(Bench, TablesSayWhatTheFileSays) {
  const std::string summary = summary_table(example()), full = full_table(example());
  EXPECT_NE(
      summary.find(
          "| Net, 64^3, training step, f32 | 100 | 50 % | 500 | 200 | 0.50 [0.50, 0.50] | 0.33 | 300 | 0.33 [0.33, 0.33] |"),
      std::string::npos)
      << summary;
  EXPECT_NE(summary.find("| Net, 64^3, training step, bf16 | 60.0 |"), std::string::npos) << summary;
  EXPECT_NE(summary.find("4 of 8 rounds dropped"), std::string::npos) << summary;
  EXPECT_NE(summary.find("A Processor"), std::string::npos);
  EXPECT_NE(full.find("LibTorch contiguous, tuned malloc (best)"), std::string::npos) << full;
  Result alone = example();
  for (Row& row : alone.rows) row.sides.resize(2);
  EXPECT_EQ(summary_table(alone).find("best LibTorch"), std::string::npos);
}

TEST(BenchResult, GrowthIsShownPerVoxelAndPerThread) {
  const std::string text = scaling_table(example());
  EXPECT_NE(text.find("| Net, training step | 1 thread,"), std::string::npos) << text;
  EXPECT_NE(text.find("| batch 4, 50^3 | 100 [99.0, 101] | 200 | 50.0 [49.5, 50.5] | 100 | 2.00 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| batch 4, 100^3 | 800 [800, 801] | 200 | | | |"), std::string::npos) << text;
  EXPECT_NE(text.find("| Net, inference |"), std::string::npos) << text;
  EXPECT_NE(text.find("| batch 1, 50^3 | | | 7.50 [7.50, 7.50] | 60.0 | |"), std::string::npos) << text;
  EXPECT_EQ(scaling_table(Result()), "");
  EXPECT_NE(full_table(example()).find(text), std::string::npos);
}

TEST_F(Bench, WritingTheTableTwiceChangesNothing) {
  const std::string result = stored("r.json", example());
  const std::string document = file("doc.md",
                                    "# Title\n\n<!-- cuboid bench table summary -->\nold\n<!-- end of table -->\n\nbetween\n\n"
                                    "<!-- cuboid bench table full -->\n<!-- end of table -->\n"
                                    "<!-- cuboid bench table scaling -->\n<!-- end of table -->\nend\n");
  EXPECT_EQ(run({"bench", "table", result, "--check", document}).code, 1);
  EXPECT_EQ(run({"bench", "table", result, "--write", document}).code, 0);
  const std::string once = test::slurp(document);
  EXPECT_NE(once.find("between"), std::string::npos);
  EXPECT_EQ(once.find("\nold\n"), std::string::npos);
  EXPECT_TRUE(once.ends_with("<!-- end of table -->\nend\n"));
  EXPECT_EQ(run({"bench", "table", result, "--write", document}).code, 0);
  EXPECT_EQ(test::slurp(document), once);
  EXPECT_EQ(run({"bench", "table", result, "--check", document}).code, 0);
  EXPECT_EQ(run({"bench", "table", stored("other.json", example(2)), "--check", document}).code, 1);
}

TEST_F(Bench, DocumentsWithoutAPlace) {
  const std::string result = stored("r.json", example());
  for (const char* text : {"nothing\n", "<!-- cuboid bench table summary -->\nno end\n",
                           "<!-- cuboid bench table small -->\n<!-- end of table -->\n"}) {
    const auto outcome = run({"bench", "table", result, "--write", file("doc.md", text)});
    EXPECT_EQ(outcome.code, 3) << text << outcome.err;
    EXPECT_EQ(test::slurp(folder.path() / "doc.md"), text);
  }
}

TEST_F(Bench, CompareExitCodes) {
  const std::string old = stored("old.json", example()), same = stored("same.json", example()),
                    slow = stored("slow.json", example(1.2)), fast = stored("fast.json", example(0.8));
  EXPECT_EQ(run({"bench", "compare", old, same}).code, 0);
  const auto outcome = run({"bench", "compare", old, slow, "--fail-above", "5%"});
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  EXPECT_NE(outcome.out.find("| net/train | cuboid/f32 | 100.0 | 120.0 | 1.20"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("1 of 4 slower"), std::string::npos) << outcome.out;
  EXPECT_EQ(run({"bench", "compare", old, slow, "--fail-above", "30%"}).code, 0);
  EXPECT_EQ(run({"bench", "compare", old, fast}).code, 0);
  const auto json = run({"bench", "compare", old, slow, "--json"});
  EXPECT_EQ(Json::parse(json.out).at("slower").as_int(), 1);
  EXPECT_EQ(run({"bench", "compare", old, slow, "--fail-above", "much"}).code, 2);
  EXPECT_EQ(run({"bench", "compare", old}).code, 2);
}

TEST_F(Bench, CompareWarnsOfOtherMachinesAndRows) {
  Result other = example();
  other.machine["processor"] = "Another";
  other.versions["libtorch"] = "LibTorch 3";
  other.versions["cuboid"] = "Cuboid 2";
  other.quick = true;
  other.rows.pop_back();
  const auto outcome = run({"bench", "compare", stored("old.json", example()), stored("new.json", other)});
  EXPECT_EQ(outcome.code, 0);
  for (const char* part : {"processor", "LibTorch 3", "a quick run", "net/infer"})
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << "\n" << outcome.err;
  EXPECT_EQ(outcome.err.find("Cuboid 2"), std::string::npos) << "another version of Cuboid is the point of it";
  other.rows.front().id = "else/train";
  EXPECT_EQ(run({"bench", "compare", stored("old.json", example()), stored("new.json", other)}).code, 3);
}

TEST_F(Bench, BrokenFiles) {
  const std::string good = stored("good.json", example()), text = test::slurp(good);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const auto at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return changed.replace(at, from.size(), to);
  };
  const std::vector<std::string> broken = {"",
                                           "{",
                                           "[]",
                                           "{\"schema\": 3}",
                                           text.substr(0, text.size() / 2),
                                           replaced("cuboid-bench/1", "cuboid-bench/9"),
                                           replaced("\"rows\"", "\"lines\""),
                                           replaced("\"kept\": [true, ", "\"kept\": ["),
                                           replaced("\"library\": \"cuboid\"", "\"library\": 4")};
  for (const auto& content : broken) {
    const std::string bad = file("bad.json", content);
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"bench", "table", bad}, {"bench", "compare", good, bad}}) {
      const auto outcome = run(arguments);
      EXPECT_EQ(outcome.code, 3) << content.substr(0, 200) << outcome.err;
      EXPECT_NE(outcome.err.find("bad.json"), std::string::npos) << outcome.err;
    }
  }
  EXPECT_EQ(run({"bench", "table", "missing.json"}).code, 3);
}

TEST_F(Bench, WrongUseOfBench) {
  const auto nowhere = run({"bench", "--programs", "nowhere"});
  EXPECT_EQ(nowhere.code, 3);
  EXPECT_NE(nowhere.err.find("./run bench"), std::string::npos) << nowhere.err;
  EXPECT_EQ(run({"bench", "--rounds", "0"}).code, 2);
  EXPECT_EQ(run({"bench", "comprae", "a", "b"}).code, 2);
  EXPECT_EQ(run({"bench", "--help"}).code, 0);
}

TEST_F(Bench, TheGateMeasuresOutputsAndGradients) {
  const Tensor outputs = from_values<float>({1, 2, -4}, {3}), gradient = from_values<float>({3, 4}, {2});
  const auto a = folder.path() / "a.safetensors", b = folder.path() / "b.safetensors";
  write_safetensors(a, {{"outputs", outputs}, {"w", gradient}});
  EXPECT_EQ(agreement("x", a, a), (Agreement{"x", 0, 0}));
  write_safetensors(b, {{"outputs", from_values<float>({1, 2.5, -4}, {3})}, {"w", from_values<float>({3, 4.5}, {2})}});
  const Agreement far = agreement("x", b, a);
  EXPECT_NEAR(far.outputs, 0.125, 1e-7);
  EXPECT_NEAR(far.gradient, 0.1, 1e-7);
  EXPECT_THROW(require(far, "f32", "net/train"), Error);
  EXPECT_THROW(require(far, "bf16", "net/train"), Error);
  EXPECT_THROW(require({"x", 1e-6, 2e-4}, "f32", "net/train"), Error);
  EXPECT_NO_THROW(require({"x", 1e-6, 1e-5}, "f32", "net/train"));
  EXPECT_NO_THROW(require({"x", 1e-2, 6e-2}, "bf16", "net/train"));
  write_safetensors(b, {{"outputs", outputs}});
  EXPECT_THROW(agreement("x", b, a), DataError);
  write_safetensors(b, {{"outputs", outputs}, {"w", from_values<float>({3, NAN}, {2})}});
  EXPECT_THROW(agreement("x", b, a), DataError);
}
