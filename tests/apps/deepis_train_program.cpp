// SPDX-License-Identifier: Apache-2.0
// `cuboid deepis train` as a user runs it: what it says before it begins, signals, kills, what it refuses.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "apps/app.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "tests/apps/program.h"
#include "tests/data/labelled_folder.h"

using namespace cuboid;
using test::run_program;
namespace fs = std::filesystem;

namespace {

class DeepisTrain : public testing::Test {
 protected:
  void SetUp() override { test::write_pairs(folder_ / "pairs", 6); }

  std::vector<std::string> fresh(const std::string& run, const std::string& epochs) const {
    return {"deepis",  "train",       "-d",      "pairs", "--head",      "signed", "--features", "4,4,8,8,8",
            "--trans", "4",           "-e",      epochs,  "-b",          "2",      "--ema",      "0.9",
            "-q",      "-o",          run,       "-j",    "1",           "--lr",   "0.001",      "--save-every",
            "1",       "--no-report", "--valid", "0.3",   "--no-augment"};
  }
  test::Outcome train(std::vector<std::string> words) const {
    for (const char* word : {"train", "deepis"}) words.insert(words.begin(), word);
    return run_program(folder_.path(), words);
  }
  std::string weights(const std::string& run) const {
    return test::slurp(folder_ / (run + "/checkpoints/last.safetensors")) +
           test::slurp(folder_ / (run + "/checkpoints/best.safetensors"));
  }
  bool saved(const std::string& run) const {
    for (int i = 0; i < 4000 && !fs::exists(folder_ / (run + "/checkpoints/last.safetensors")); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return fs::exists(folder_ / (run + "/checkpoints/last.safetensors"));
  }

  test::TempFolder folder_;
};

TEST_F(DeepisTrain, StoppedAndKilledItGoesOnWithTheSameBits) {
  ASSERT_EQ(run_program(folder_.path(), fresh("whole", "8")).code, 0);
  const auto lines = [&](const std::string& run) {
    const std::string log = test::slurp(folder_ / (run + "/metrics.jsonl"));
    return std::count(log.begin(), log.end(), '\n');
  };
  EXPECT_EQ(lines("whole"), 8);
  for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
    const std::string run = "run" + std::to_string(signal);
    test::Program program(folder_.path(), fresh(run, "8"));
    ASSERT_TRUE(saved(run));
    program.kill(signal);
    const auto stopped = program.wait();
    if (signal != SIGKILL && stopped.code != 0) {  // 0: it was just done
      EXPECT_EQ(stopped.code, app::interrupted) << stopped.err;
      EXPECT_NE(stopped.err.find("the checkpoint is saved"), std::string::npos) << stopped.err;
    }
    EXPECT_NO_THROW(read_safetensors(folder_ / (run + "/checkpoints/last.safetensors")));
    const auto resumed = train({"--resume", run, "-q", "-j", "1", "--no-report"});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_EQ(weights(run), weights("whole")) << signal;
    EXPECT_EQ(lines(run), 8);
  }
}

TEST_F(DeepisTrain, ARunFolderSaysWhatWasDone) {
  auto words = fresh("run", "1");
  words.erase(std::find(words.begin(), words.end(), "--no-report"));
  words.erase(std::find(words.begin(), words.end(), "-q"));
  const auto done = run_program(folder_.path(), words);
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.err.find("warning: the data has no part 'valid': 2 of its 6 training cases are held out"), std::string::npos)
      << done.err;
  for (const char* file : {"run.toml", "cases.json", "manifest.json", "metrics.jsonl", "report.html"})
    EXPECT_TRUE(fs::exists(folder_ / "run" / file)) << file;
  const Json manifest = Json::parse(test::slurp(folder_ / "run/manifest.json"));
  EXPECT_TRUE(manifest.at("finished").is_string());
  EXPECT_EQ(manifest.at("model").at("head").as_string(), "signed");
  EXPECT_EQ(Json::parse(test::slurp(folder_ / "run/cases.json")).at("valid").size(), 2u);
  EXPECT_NE(test::slurp(folder_ / "run/report.html").find("Dice"), std::string::npos);
  const Json line = Json::parse(test::slurp(folder_ / "run/metrics.jsonl"));
  for (const char* key : {"epoch", "step", "train_loss", "valid_loss", "valid_dice", "lr", "patches_per_second", "best"})
    EXPECT_TRUE(line.contains(key)) << key;
}

TEST_F(DeepisTrain, TheDryRunShowsThePlan) {
  const auto plan = train({"-d", "pairs", "--head", "classes", "--patch", "8,8,8", "--patches", "3", "--dry-run"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  for (const char* part : {"dice-ce", "patches      [8,8,8], 15 in an epoch, 8 batches", "GMAC", "memory       about",
                           "parameters", "train        5: ", "valid        1: ", "all 6 cases can be read"})
    EXPECT_NE(plan.out.find(part), std::string::npos) << part << '\n' << plan.out;
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(DeepisTrain, BadOptionsAreUsageErrors) {
  struct Bad {
    std::vector<std::string> words;
    const char* says;
  };
  for (const Bad& bad : {Bad{{"--loss", "dice", "--head", "signed"}, "--loss dice: compares classes, and the head is signed"},
                         Bad{{"--patch", "8,8"}, "--patch: three numbers"}, Bad{{"--features", "4,8"}, "--features: 5 numbers"},
                         Bad{{"--spacing", "1,0,1"}, "--spacing: three numbers above 0"},
                         Bad{{"--spacing", "1,x,1"}, "--spacing: 'x' is no number"},
                         Bad{{"--normalise", "zscore", "--range", "0,1"}, "--range: --normalise zscore has none"},
                         Bad{{"--normalise", "scale", "--range", "2,1"}, "--range: low,high"}, Bad{{"--head", "sign"}, "--head"},
                         Bad{{"--best-by", "auroc"}, "--best-by"}}) {
    std::vector<std::string> words = bad.words;
    words.insert(words.end(), {"-d", "pairs", "--dry-run"});
    if (std::find(words.begin(), words.end(), "--head") == words.end()) words.insert(words.end(), {"--head", "signed"});
    const auto outcome = train(words);
    EXPECT_EQ(outcome.code, app::usage_error) << bad.says << '\n' << outcome.err;
    EXPECT_NE(outcome.err.find(bad.says), std::string::npos) << bad.says << '\n' << outcome.err;
  }
  EXPECT_EQ(train({"--dry-run"}).code, app::usage_error);
  EXPECT_EQ(train({"-d", "nowhere", "--dry-run"}).code, app::bad_data);
}

TEST_F(DeepisTrain, ThePapersRecipe) {
  const auto plan = train({"-d", "pairs", "--head", "signed", "--recipe", "paper", "--net", "tiny", "--dry-run"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  for (const char* part : {"beta1                0.5", "lr                   5e-05", "epochs               400",
                           "supervision          paper", "loss         edge-l1, auxiliary heads"})
    EXPECT_NE(plan.out.find(part), std::string::npos) << part << '\n' << plan.out;
}

}  // namespace
