// SPDX-License-Identifier: Apache-2.0
// cuboid deepis demo: the whole way on phantom pairs, by the commands that a user would type.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>

#include "apps/commands.h"
#include "apps/deepis/evaluation_report.h"
#include "apps/deepis/train.h"
#include "apps/plot.h"
#include "apps/text.h"
#include "apps/training/report.h"
#include "data/formats/csv.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

struct DemoSettings {
  std::int64_t pairs = 24, size = 64, epochs = 25;
  std::string output = "runs/deepis-demo", net = "tiny";
  bool overwrite = false;
  app::Common common;
};

struct Step {
  std::string purpose;
  Arguments words;
};

/// What is done, in order. The seed, the threads and the device are the same for all.
std::vector<Step> steps_of(const DemoSettings& s) {
  const fs::path run = s.output;
  const std::string pairs = (run / "pairs").string(), predicted = (run / "predicted").string();
  std::vector<Step> steps = {
      {"phantom pairs",
       {"phantom", "deepis", "-n", std::to_string(s.pairs), "--size", std::to_string(s.size), "--valid", "0.15", "--test", "0.2",
        "-o", pairs}},
      {"training",
       {"deepis", "train", "-d", pairs, "--net", s.net, "-e", std::to_string(s.epochs), "-o", run.string(), "--overwrite"}},
      {"prediction of the test pairs", {"deepis", "predict", run.string(), pairs, "--split", "test", "-o", predicted}},
      {"evaluation", {"deepis", "evaluate", predicted, "-d", pairs, "-o", run.string(), "--overwrite"}},
      {"measurement", {"deepis", "measure", predicted, "--images", pairs, "-o", (run / "measured").string()}},
  };
  for (Step& step : steps) {
    step.words.insert(step.words.end(), {"--seed", std::to_string(s.common.seed)});
    if (s.common.threads > 0) step.words.insert(step.words.end(), {"-j", std::to_string(s.common.threads)});
    if (s.common.device != "auto") step.words.insert(step.words.end(), {"--device", s.common.device});
    if (s.common.deterministic) step.words.emplace_back("--deterministic");
  }
  return steps;
}

/// What commands print on standard output, while this lives, is not shown: the demo ends with its own summary.
class Hushed {
 public:
  Hushed() : before_(std::cout.rdbuf(swallowed_.rdbuf())) {}
  Hushed(const Hushed&) = delete;
  Hushed& operator=(const Hushed&) = delete;
  ~Hushed() { std::cout.rdbuf(before_); }

 private:
  std::ostringstream swallowed_;
  std::streambuf* before_;
};

/// What was measured in a predicted pair, and what the phantom's geometry says.
struct Compared {
  std::string name;
  double area = 0, true_area = 0;
  std::array<double, 2> volume{}, true_volume{};
};

std::vector<Compared> compare(const app::RunFolder& run) {
  const CsvTable truth = read_csv(run.path() / "pairs/truth.csv");
  std::map<std::string, std::size_t> rows;
  for (std::size_t i = 0; i < truth.rows.size(); ++i) rows[truth.rows[i][truth.column("name")]] = i;
  std::vector<Compared> all;
  const Json measured = run.read_json("measured/measure.json");
  for (const Json& frame : measured.at("frames").as_array()) {
    Compared one{.name = frame.at("name").as_string(), .area = frame.at("synapse").at("area_um2").as_double()};
    const auto row = rows.find(one.name);
    check<DataError>(row != rows.end(), truth.source, ": no pair '", one.name, "'");
    one.true_area = truth.number(row->second, truth.column("synapse_area_um2"));
    for (std::size_t k = 0; k < 2; ++k) {
      const Json& cell = frame.at("cells")[k];
      one.volume[k] = cell.at("volume_um3").as_double();
      one.true_volume[k] = truth.number(row->second, truth.column(cell.at("name").as_string() + "_volume_um3"));
    }
    all.push_back(one);
  }
  return all;
}

struct Errors {
  std::int64_t pairs = 0, touching = 0, told = 0;                    // told: found to touch, or not, as they do
  double area_um2 = 0, area = 0, mean_area = 0, mean_true_area = 0;  // area: absolute, by the true mean of those that touch
  std::array<double, 2> volume{};                                    // mean of |relative error|

  Json to_json() const {
    return Json::object({{"pairs", pairs},
                         {"touching", touching},
                         {"contact_told_rightly", told},
                         {"mean_area_um2", app::finite(mean_area)},
                         {"mean_true_area_um2", app::finite(mean_true_area)},
                         {"absolute_area_error_um2", app::finite(area_um2)},
                         {"absolute_area_error", app::finite(area)},
                         {"absolute_volume_error", Json::array({app::finite(volume[0]), app::finite(volume[1])})}});
  }
};

/// Areas: over the pairs that touch; NaN without.
Errors errors_of(const std::vector<Compared>& all) {
  Errors e{.pairs = static_cast<std::int64_t>(all.size())};
  for (const Compared& c : all) {
    e.told += (c.area > 0) == (c.true_area > 0);
    for (std::size_t k = 0; k < 2; ++k)
      e.volume[k] += std::abs(c.volume[k] / c.true_volume[k] - 1) / static_cast<double>(all.size());
    if (c.true_area <= 0) continue;
    ++e.touching;
    e.area_um2 += std::abs(c.area - c.true_area), e.mean_area += c.area, e.mean_true_area += c.true_area;
  }
  const auto n = static_cast<double>(e.touching);
  e.area_um2 /= n, e.mean_area /= n, e.mean_true_area /= n;
  e.area = e.area_um2 / e.mean_true_area;
  return e;
}

/// "12.3 %"; a dash for what is not defined.
std::string percent(double share) { return std::isfinite(share) ? app::fixed(100 * share, 1) + " %" : "-"; }

void add_comparison(app::Page& page, const std::vector<Compared>& all, const Errors& e) {
  page.section("Against the phantom's geometry",
               "Truth here is not the labels but the shapes the phantom was made of, so that the errors include what voxels of "
               "this size and the measurement itself cost.");
  page.tiles({{"synapse area", percent(e.area) + " off",
               "mean of " + std::to_string(e.touching) + " pairs that touch: " + app::fixed(e.mean_area, 1) + " um², true " +
                   app::fixed(e.mean_true_area, 1)},
              {"contact told rightly", std::to_string(e.told) + " of " + std::to_string(e.pairs), "touching or apart"},
              {"volumes", percent(e.volume[0]) + ", " + percent(e.volume[1]), "off on average, cart19 and k562"}});
  plot::Series points{.title = "", .points = {}, .style = plot::Series::Style::points};
  std::vector<std::vector<std::string>> rows;
  double most = 1;
  for (const Compared& c : all) {
    points.points.emplace_back(c.true_area, c.area);
    most = std::max({most, c.true_area, c.area});
    rows.push_back({app::html_escaped(c.name), app::fixed(c.area, 1), app::fixed(c.true_area, 1), app::fixed(c.volume[0], 0),
                    app::fixed(c.true_volume[0], 0), app::fixed(c.volume[1], 0), app::fixed(c.true_volume[1], 0)});
  }
  plot::Figure f{.title = "synapse area",
                 .x_label = "true, um²",
                 .y_label = "measured, um²",
                 .series = {},
                 .square = true,
                 .width = 440,
                 .height = 400};
  f.x_high = f.y_high = 1.05 * most;
  f.series.push_back({.title = "", .points = {{0, 0}, {f.x_high, f.y_high}}, .style = plot::Series::Style::dashed, .colour = -1});
  f.series.push_back(points);
  page.panels({{plot::svg(f), "On the dashed line both agree."},
               {app::Page::table({"pair", "synapse um²", "true", "cart19 um³", "true", "k562 um³", "true"}, rows), ""}});
}

std::string write_report(const app::RunFolder& run, const std::vector<Compared>& all, const Errors& errors,
                         const std::vector<Step>& steps) {
  app::Page page("Segmentation demo: phantom pairs", "cuboid " + app::version() + ", " + app::utc_now());
  if (!plot::available()) page.note("The figures are missing: gnuplot was not found (apt install gnuplot-nox).");
  evaluation_sections(page, run);
  add_comparison(page, all, errors);
  add_training(page, run);
  std::string lines;
  for (const Step& step : steps) lines += "cuboid " + app::command_line(step.words) + "\n";
  page.section("The commands", "The demo is these, one after the other.");
  page.html("<pre>" + app::html_escaped(lines) + "</pre>\n");
  training::add_provenance(page, run, "cases");
  run.write("report.html", page.finish("Written by cuboid " + app::version() + ". Research software: not for diagnosis."));
  return (run.path() / "report.html").string();
}

std::string own_data_text() {
  return "the same with your own volumes in raw/images and masks in raw/labels (voxel size z,y,x in um):\n"
         "  cuboid deepis prepare -i raw/ --head signed --spacing 0.5,0.2,0.2 --test-share 0.2 --valid-share 0.15 -o cells/\n"
         "  cuboid deepis train -d cells/ --net small -o cells-run/\n"
         "  cuboid deepis evaluate cells-run/\n"
         "  cuboid deepis predict cells-run/ new/ -o predicted/\n"
         "  cuboid deepis measure predicted/ --images new/ -o measured/\n";
}

}  // namespace

int demo_command(const Arguments& arguments) {
  DemoSettings s;
  app::Options options("deepis demo",
                       "Makes phantom pairs of touching cells, trains a small net, segments and measures pairs it never saw, "
                       "writes a report.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis demo", "results in runs/deepis-demo");
  options.example("cuboid deepis demo --dry-run", "the commands that it is made of");
  options.add("-n,--pairs", &s.pairs, "phantom pairs; a fifth of them is the test").at_least(6).at_most(10000);
  options.add("--size", &s.size, "voxels along x and y; half as many along z").choices({"32", "64", "128"});
  options.add("-e,--epochs", &s.epochs, "passes over the training pairs").at_least(1);
  options.add("--net", &s.net, "architecture").choices(net_names);
  options.add("-o,--output", &s.output, "run folder; replaced if it is an earlier demo's").not_saved();
  options.add("--overwrite", &s.overwrite, "write into a folder that holds something else").not_saved();
  s.common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  s.common.apply();
  const std::vector<Step> steps = steps_of(s);
  if (s.common.dry_run) {
    std::cout << options.origin_table() << '\n';
    for (const Step& step : steps) std::cout << "cuboid " << app::command_line(step.words) << '\n';
    return app::success;
  }
  const app::Stopwatch watch;
  app::Progress progress("steps", s.common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);

  // An earlier demo is nobody's work: it may go.
  if (fs::exists(fs::path(s.output) / ".demo")) fs::remove_all(s.output);
  const app::RunFolder run = app::RunFolder::at(s.output, s.overwrite);
  run.write(".demo", std::string("made by cuboid deepis demo, which replaces this folder\n"));
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (app::stop_signal() != 0) throw app::Interrupted("interrupted before step " + std::to_string(i + 1));
    const Step& step = steps[i];
    progress.say(progress.bold(join_text("step ", i + 1, " of ", steps.size(), ": ", step.purpose)));
    progress.say("  cuboid " + app::command_line(step.words));
    Arguments words = step.words;
    if (s.common.quiet) words.emplace_back("-q");
    const Hushed hushed;
    if (const int code = app::run_command(words, app::commands()); code != app::success) return code;
  }
  const std::vector<Compared> compared = compare(run);
  const Errors errors = errors_of(compared);
  run.write("eval/against_geometry.json", errors.to_json());
  const std::string report = write_report(run, compared, errors, steps);
  const Json summary = run.read_json("eval/summary.json");
  if (s.common.json) {
    std::cout << Json::object({{"dice", summary.at("foreground_mean").at("Dice")},
                               {"mean", summary.at("mean")},
                               {"against_geometry", errors.to_json()},
                               {"seconds", watch.seconds()},
                               {"report", report}})
                     .dump(2)
              << '\n';
    return app::success;
  }
  std::cout << "\ntest pairs         " << errors.pairs << ", which training never saw\n";
  for (const auto& [label, mean] : summary.at("mean").as_object()) {
    std::string what = "Dice " + summary.at("classes")[std::stoul(label)].as_string();
    what.resize(std::max<std::size_t>(what.size() + 2, 19), ' ');
    std::cout << what << (mean.at("Dice").is_number() ? app::fixed(mean.at("Dice").as_double(), 3) : "-") << '\n';
  }
  std::cout << "synapse area       " << percent(errors.area) << " off the phantom's geometry (mean "
            << app::fixed(errors.mean_area, 1) << " um2, true " << app::fixed(errors.mean_true_area, 1) << "; " << errors.touching
            << " pairs touch)\n"
            << "contact            told rightly in " << errors.told << " of " << errors.pairs << " pairs\n"
            << "volumes            " << percent(errors.volume[0]) << " and " << percent(errors.volume[1]) << " off\n"
            << "time               " << app::duration_text(watch.seconds()) << "\nreport             " << report << "\n\n"
            << own_data_text();
  return app::success;
}

}  // namespace cuboid::deepis
