// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "apps/deepis/train.h"
#include "apps/deepis/tune.h"
#include "apps/plot.h"
#include "apps/text.h"
#include "apps/training/report.h"

namespace cuboid::deepis {
namespace {

using app::Page;
using plot::Figure;
using Points = std::vector<std::pair<double, double>>;

std::string number(const Json& value, int decimals) {
  return value.is_number() ? app::fixed(value.as_double(), decimals) : std::string("–");
}

Points points_of(const std::vector<Json>& lines, const char* key) {
  Points points;
  for (const Json& line : lines)
    if (const Json* value = line.find(key); value && value->is_number())
      points.emplace_back(static_cast<double>(line.at("epoch").as_int()), value->as_double());
  return points;
}

}  // namespace

void add_training(Page& page, const app::RunFolder& run) {
  const std::vector<Json> lines = run.logged();
  if (lines.empty()) return;
  const Json *best = &lines.back(), &last = lines.back();
  double seconds = 0;
  for (const Json& line : lines) {
    seconds += line.at("seconds").as_double();
    if (line.at("best").as_bool()) best = &line;
  }
  const std::string epoch = "epoch " + std::to_string(best->at("epoch").as_int());
  page.section(
      "Training",
      "Mean loss of the training patches, and loss and Dice on the cases for validation after each epoch, voxel by "
      "voxel, before anything is done to a prediction; of instances the mean of their insides and of what is deeper inside. The "
      "weights of the best epoch are kept.");
  page.tiles({{"Dice in validation", number(best->at("valid_dice"), 4), epoch},
              {"loss in validation", number(best->at("valid_loss"), 4), epoch},
              {"training loss", number(last.at("train_loss"), 4), "epoch " + std::to_string(last.at("epoch").as_int())},
              {"time", app::duration_text(seconds), number(last.at("patches_per_second"), 1) + " patches/s"}});
  Figure loss{.title = "loss", .x_label = "epoch", .y_label = "loss", .series = {}},
      dice{.title = "validation", .x_label = "epoch", .y_label = "Dice", .series = {}, .y_low = 0, .y_high = 1.02};
  loss.series.push_back({.title = "training", .points = points_of(lines, "train_loss"), .colour = 0});
  loss.series.push_back({.title = "validation", .points = points_of(lines, "valid_loss"), .colour = 1});
  dice.series.push_back({.title = "Dice", .points = points_of(lines, "valid_dice"), .colour = 0});
  if (!plot::available())
    page.note("The curves are missing: gnuplot was not found (apt install gnuplot-nox). All numbers are in metrics.jsonl.");
  page.panels({{plot::svg(loss), ""}, {plot::svg(dice), ""}});
  add_tuning(page, run);
}

std::string write_training_report(const app::RunFolder& run) {
  const Json manifest = run.read_json("manifest.json");
  Page page("Segmentation: " + run.path().filename().string(),
            "cuboid " + manifest.get("cuboid", "") + ", " + manifest.get("started", ""));
  add_training(page, run);
  training::add_provenance(page, run, "cases");
  run.write("report.html",
            page.finish("Written by cuboid " + manifest.get("cuboid", "") + ". Research software: not for diagnosis."));
  return (run.path() / "report.html").string();
}

}  // namespace cuboid::deepis
