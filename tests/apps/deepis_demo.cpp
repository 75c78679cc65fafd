// SPDX-License-Identifier: Apache-2.0
// `cuboid deepis demo`, as small as it gets: every step runs, and what it says is what its files hold.
#include <cmath>

#include "apps/app.h"
#include "core/json.h"
#include "data/formats/csv.h"
#include "tests/apps/program.h"

using namespace cuboid;
using test::run_program, test::slurp, test::spit;
namespace fs = std::filesystem;

namespace {

TEST(DeepisDemo, RunsEveryStepAndSaysWhatItsFilesHold) {
  const test::TempFolder folder;
  const auto words = [](const char* pairs, const char* epochs) -> std::vector<std::string> {
    return {"deepis", "demo", "-n", pairs, "-e", epochs, "--size", "32", "-o", "run", "-j", "1", "--seed", "7", "--json", "-q"};
  };
  const auto done = run_program(folder.path(), words("16", "20"));
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.err, "");
  const Json said = Json::parse(done.out);
  for (const char* file : {"pairs/truth.csv", "checkpoints/best.safetensors", "predicted/predict.json", "eval/summary.json",
                           "measured/measure.html", "manifest.json", "report.html"})
    EXPECT_TRUE(fs::exists(folder / "run" / file)) << file;
  const Json summary = Json::parse(slurp(folder / "run/eval/summary.json"));
  EXPECT_EQ(said.at("mean").dump(), summary.at("mean").dump());

  // The error of the area again, from the tables.
  const CsvTable truth = read_csv(folder / "run/pairs/truth.csv"), measured = read_csv(folder / "run/measured/synapses.csv");
  double error = 0, sum = 0, found = 0;
  std::int64_t touching = 0, tested = 0;
  for (std::size_t t = 0; t < truth.rows.size(); ++t) {
    if (truth.rows[t][truth.column("split")] != "test") continue;
    ++tested;
    const double area = truth.number(t, truth.column("synapse_area_um2"));
    for (std::size_t m = 0; m < measured.rows.size(); ++m)
      if (area > 0 && measured.rows[m][measured.column("case")] == truth.rows[t][truth.column("name")]) {
        ++touching, sum += area;
        const double here = measured.number(m, measured.column("synapse_area_um2"));
        found += here, error += std::abs(here - area);
      }
  }
  ASSERT_GT(touching, 0);
  ASSERT_GT(found, 0) << "too little training to find a contact: the error says nothing";
  const Json& against = said.at("against_geometry");
  EXPECT_EQ(against.at("pairs").as_int(), tested);
  EXPECT_EQ(against.at("touching").as_int(), touching);
  EXPECT_NEAR(against.at("absolute_area_error").as_double(), error / sum, 1e-6);
  const std::string page = slurp(folder / "run/report.html");
  for (const char* part : {"Against the phantom", "Training", "Classes", "cuboid deepis measure run/predicted"})
    EXPECT_NE(page.find(part), std::string::npos) << part;

  spit(folder / "run/stale.txt", "of the demo before");
  EXPECT_EQ(run_program(folder.path(), words("6", "1")).code, 0);
  EXPECT_FALSE(fs::exists(folder / "run/stale.txt"));
}

TEST(DeepisDemo, TheDryRunNamesItsCommandsAndOthersFoldersAreLeftAlone) {
  const test::TempFolder folder;
  const auto plan = run_program(folder.path(), {"deepis", "demo", "--dry-run", "-j", "1"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  for (const char* part : {"cuboid phantom deepis -n ", "cuboid deepis train -d runs/deepis-demo/pairs", "cuboid deepis predict ",
                           "cuboid deepis evaluate ", "cuboid deepis measure ", "--seed 42 -j 1"})
    EXPECT_NE(plan.out.find(part), std::string::npos) << part << '\n' << plan.out;
  EXPECT_FALSE(fs::exists(folder / "runs"));
  fs::create_directories(folder / "mine");
  spit(folder / "mine/thesis.txt", "years of work");
  EXPECT_EQ(run_program(folder.path(), {"deepis", "demo", "-o", "mine", "-q"}).code, app::usage_error);
  EXPECT_EQ(slurp(folder / "mine/thesis.txt"), "years of work");
}

}  // namespace
