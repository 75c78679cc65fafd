// SPDX-License-Identifier: Apache-2.0
// The report of a run, from the files in its folder.
#include "apps/csf/report.h"

#include <algorithm>
#include <map>

#include "apps/plot.h"
#include "apps/report.h"
#include "apps/text.h"
#include "apps/training/report.h"
#include "core/files.h"
#include "core/profiler.h"

namespace cuboid::csf {
namespace {

using app::Page;
using plot::Figure;
using plot::Series;
using Points = std::vector<std::pair<double, double>>;

std::string number(const Json& value, int decimals = 3) {
  return value.is_number() ? app::fixed(value.as_double(), decimals) : std::string("–");
}
std::string percent(const Json& value) {
  return value.is_number() ? app::fixed(100 * value.as_double(), 1) + " %" : std::string("–");
}
std::string interval(const Json& of, const char* key) {
  const Json* i = of.find(key);
  return i && (*i)[0].is_number() ? "95 %: " + number((*i)[0]) + " to " + number((*i)[1]) : "";
}

std::vector<std::string> class_names(const Json& summary) {
  std::vector<std::string> names;
  for (const Json& name : summary.at("classes").as_array()) names.push_back(name.as_string());
  return names;
}

std::string confusion_table(const std::vector<std::string>& names, const Json& rows) {
  std::vector<std::vector<long long>> counts;
  for (const Json& row : rows.as_array()) {
    counts.emplace_back();
    for (const Json& count : row.as_array()) counts.back().push_back(count.as_int());
  }
  return Page::confusion(names, counts);
}

// ---- sections ---------------------------------------------------------------------------------

void overview(Page& page, const Json& summary) {
  const Json& pooled = summary.at("pooled");
  std::vector<Page::Tile> tiles = {
      {"AUROC per cell", number(pooled.at("auroc")), interval(pooled, "auroc_delong_95")},
      {"accuracy", percent(pooled.at("accuracy")), std::to_string(pooled.at("cells").as_int()) + " cells left out of training"},
      {"balanced accuracy", percent(pooled.at("balanced_accuracy")), "mean recall of the classes"},
      {"MCC", number(pooled.at("mcc")), "macro F1 " + number(pooled.at("f1_macro"))}};
  const Json& patients = summary.at("patient_level");
  if (patients.is_object())
    tiles.push_back({"accuracy per patient", percent(patients.at("accuracy")),
                     std::to_string(patients.at("patients").as_int()) + " patients, all their cells"});
  page.tiles(tiles);
}

void training_curves(Page& page, const app::RunFolder& run) {
  std::map<std::int64_t, std::vector<Json>> folds;
  for (const Json& line : run.logged()) folds[line.at("fold").as_int()].push_back(line);
  if (folds.empty()) return;
  page.section("Training",
               "Mean loss of the training batches and loss on the validation cells after each epoch. The weights of the best "
               "epoch are the ones that were tested.");
  Figure loss{.title = "loss", .x_label = "epoch", .y_label = "cross-entropy"},
      quality{.title = "validation", .x_label = "epoch", .y_label = "balanced accuracy"};
  quality.y_low = 0, quality.y_high = 1.02;
  std::vector<std::vector<std::string>> rows;
  int colour = 0;
  for (const auto& [number_of, lines] : folds) {
    const std::string suffix = folds.size() > 1 ? " " + std::to_string(number_of) : "";
    const auto points = [&](const char* key) {
      Points p;
      for (const Json& line : lines)
        if (line.at(key).is_number()) p.emplace_back(static_cast<double>(line.at("epoch").as_int()), line.at(key).as_double());
      return p;
    };
    const bool many = folds.size() > 1;
    loss.series.push_back({.title = many ? "" : "training",
                           .points = points("train_loss"),
                           .style = many ? Series::Style::dashed : Series::Style::line,
                           .colour = colour});
    loss.series.push_back(
        {.title = many ? "fold" + suffix : "validation", .points = points("valid_loss"), .colour = many ? colour : 1});
    quality.series.push_back(
        {.title = many ? "fold" + suffix : "balanced accuracy", .points = points("valid_balanced_accuracy"), .colour = colour});
    if (!many) quality.series.push_back({.title = "AUROC", .points = points("valid_auroc"), .colour = 2});
    if (!many) quality.y_label = "";
    double seconds = 0;
    std::int64_t best = 0;
    for (const Json& line : lines) {
      seconds += line.at("seconds").as_double();
      if (line.at("best").as_bool()) best = line.at("epoch").as_int();
    }
    rows.push_back(
        {std::to_string(number_of), std::to_string(lines.size()), std::to_string(best), number(lines.back().at("train_loss"), 4),
         best ? number(
                    lines[static_cast<std::size_t>(std::min<std::int64_t>(best, static_cast<std::int64_t>(lines.size())) - 1)].at(
                        "valid_loss"),
                    4)
              : "–",
         number(lines.back().at("cells_per_second"), 1), app::duration_text(seconds)});
    ++colour;
  }
  if (folds.size() > 1) loss.title = "loss (dashed: training)";
  page.panels({{plot::svg(loss), ""}, {plot::svg(quality), ""}});
  page.panels(
      {{Page::table({"fold", "epochs", "best epoch", "last training loss", "best validation loss", "cells/s", "time"}, rows),
        ""}});
}

/// Two shares against each other, and the diagonal.
Figure unit_square(const char* title, const char* x_label, const char* y_label) {
  Figure f{.title = title,
           .x_label = x_label,
           .y_label = y_label,
           .x_low = 0,
           .x_high = 1,
           .y_low = 0,
           .y_high = 1.01,
           .square = true,
           .width = 440,
           .height = 400};
  f.series.push_back({.title = "", .points = {{0, 0}, {1, 1}}, .style = Series::Style::dashed, .colour = -1});
  return f;
}

void quality(Page& page, const app::RunFolder& run, const Json& summary) {
  const auto names = class_names(summary);
  const Json& pooled = summary.at("pooled");
  page.section("Cells",
               "Every cell was judged by a net that never saw it, nor any cell of its patient where patients are known and folds "
               "keep them apart.");
  std::vector<Page::Panel> panels;
  if (run.has("eval/curves.json")) {
    Figure roc = unit_square("ROC", "false positive rate", "true positive rate");
    int colour = 0;
    const Json curves = run.read_json("eval/curves.json");
    for (const Json& curve : curves.as_array()) {
      Points points;
      for (const Json& p : curve.at("roc").as_array()) points.emplace_back(p[0].as_double(), p[1].as_double());
      roc.series.push_back(
          {.title = curve.get("class", "") + ": " + number(curve.at("auroc")), .points = points, .colour = colour++});
    }
    panels.push_back({plot::svg(roc), names.size() == 2
                                          ? "AUROC " + number(pooled.at("auroc")) + "; DeLong " +
                                                interval(pooled, "auroc_delong_95") +
                                                (interval(pooled, "auroc_patient_bootstrap_95").empty()
                                                     ? ""
                                                     : "; resampling patients " + interval(pooled, "auroc_patient_bootstrap_95"))
                                          : "One class against the rest."});
  }
  const Json& calibration = pooled.at("calibration");
  Figure reliable = unit_square("calibration", "confidence", "share that is right");
  Points points;
  for (const Json& bin : calibration.at("bins").as_array())
    if (bin.at("count").as_int()) points.emplace_back(bin.at("confidence").as_double(), bin.at("accuracy").as_double());
  reliable.series.push_back({.title = "cells", .points = points, .style = Series::Style::points_and_line});
  panels.push_back(
      {confusion_table(names, pooled.at("confusion")), "Confusion matrix: rows are the true class, shares are of the row."});
  panels.push_back({plot::svg(reliable), "Expected calibration error " + number(calibration.at("ece")) +
                                             ". On the dashed line, a confidence of 0.8 is right in 80 % of cases."});
  std::vector<std::vector<std::string>> rows;
  for (const Json& c : pooled.at("per_class").as_array())
    rows.push_back({app::html_escaped(c.get("class", "")), std::to_string(c.at("cells").as_int()), percent(c.at("recall")),
                    percent(c.at("precision")), number(c.at("f1"))});
  std::string tables = Page::table({"class", "cells", "recall", "precision", "F1"}, rows);
  if (summary.at("folds").size() > 1) {
    rows.clear();
    for (const Json& fold : summary.at("folds").as_array())
      rows.push_back({std::to_string(fold.at("fold").as_int()), std::to_string(fold.at("cells").as_int()),
                      number(fold.at("auroc")), percent(fold.at("accuracy")), percent(fold.at("balanced_accuracy")),
                      number(fold.at("mcc"))});
    const auto mean = [&](const char* key, bool share) -> std::string {
      const Json* m = summary.at("mean_of_folds").find(key);
      if (!m) return "–";
      const double scale = share ? 100 : 1;
      return "<b>" + app::fixed(scale * m->at("mean").as_double(), share ? 1 : 3) + " ± " +
             app::fixed(scale * m->at("sd").as_double(), share ? 1 : 3) + "</b>";
    };
    rows.push_back({"<b>mean ± sd</b>", "", mean("auroc", false), mean("accuracy", true), mean("balanced_accuracy", true),
                    mean("mcc", false)});
    tables += "<br>" + Page::table({"fold", "cells", "AUROC", "accuracy", "balanced", "MCC"}, rows);
  }
  panels.push_back({tables, ""});
  page.panels(panels);
}

void patients(Page& page, const Json& summary) {
  const Json& level = summary.at("patient_level");
  if (!level.is_object()) return;
  const auto names = class_names(summary);
  page.section("Patients", "Cells of one patient are combined by the mean of their probabilities, or by majority vote.");
  const Json& curve = level.at("cells_curve");
  Figure figure{.title = "k cells of one patient", .x_label = "cells", .y_label = "accuracy"};
  int colour = 0;
  double least = 1;
  for (const auto& [key, title] : {std::pair{"mean_softmax", "mean probability"}, {"majority", "majority vote"}}) {
    Series series{.title = title, .style = Series::Style::points_and_line, .colour = colour++};
    for (const Json& p : curve.at(key).as_array()) {
      series.points.emplace_back(static_cast<double>(p.at("k").as_int()), p.at("accuracy").as_double());
      if (p.at("accuracy_95")[0].is_number()) {
        series.band.emplace_back(p.at("accuracy_95")[0].as_double(), p.at("accuracy_95")[1].as_double());
        least = std::min(least, series.band.back().first);
      }
    }
    figure.series.push_back(series);
  }
  figure.y_low = std::max(0.0, least - 0.05), figure.y_high = 1.02;
  std::vector<std::vector<std::string>> rows;
  for (const Json& p : level.at("per_patient").as_array()) {
    const auto label = static_cast<std::size_t>(p.at("label").as_int()),
               decided = static_cast<std::size_t>(p.at("predicted").as_int());
    rows.push_back({app::html_escaped(p.get("patient", "")), app::html_escaped(names[label]),
                    label == decided ? app::html_escaped(names[decided])
                                     : "<span class=wrong>" + app::html_escaped(names[decided]) + "</span>",
                    percent(p.at("probabilities")[label]),
                    std::to_string(p.at("cells_right").as_int()) + " / " + std::to_string(p.at("cells").as_int())});
  }
  page.panels({{plot::svg(figure),
                "Mean over " + std::to_string(curve.at("repeats").as_int()) +
                    " random draws per point; the band holds 95 % of them. A patient with fewer cells gives all it has."},
               {Page::table({"patient", "true", "predicted", "P(true class)", "cells right"}, rows), ""}});
}

void explanations(Page& page, const app::RunFolder& run) {
  if (!run.has("explain/explain.json")) return;
  const Json list = run.read_json("explain/explain.json");
  page.section(
      "Explanations",
      "Three planes through the strongest voxel: the cell above, the map over it below. Warm colours speak for the class.");
  std::vector<Page::Panel> panels;
  for (const Json& one : list.as_array()) {
    if (!one.at("picture").is_string()) continue;
    const std::string file = "explain/" + one.at("picture").as_string();
    panels.push_back({Page::picture(read_file(run.path() / file), "class activation map of " + one.get("name", "")),
                      one.get("name", "") + ": " + one.get("class", "") + " with " +
                          percent(one.at("probabilities")[static_cast<std::size_t>(one.at("target").as_int())]) + "; " +
                          percent(one.at("mass_on_cell")) + " of the map lies on the cell (" + one.get("method", "") + ", " +
                          one.get("layer", "") + ")."});
  }
  if (panels.empty()) page.note("This build has no libpng, so there are no pictures; the maps are in explain/*.npy.");
  page.panels(panels);
}

}  // namespace

std::string write_report(const app::RunFolder& run) {
  const profiler::Range range("report");
  const Json manifest = run.read_json("manifest.json");
  Page page("Cell classification: " + run.path().filename().string(),
            "cuboid " + manifest.get("cuboid", "") + ", " + manifest.get("started", ""));
  const bool evaluated = run.has("eval/summary.json");
  const Json summary = evaluated ? run.read_json("eval/summary.json") : Json();
  if (evaluated) overview(page, summary);
  if (!plot::available())
    page.note(
        "The curves are missing: gnuplot was not found (apt install gnuplot-nox, then 'cuboid csf evaluate' on this run). All "
        "numbers are here and in eval/.");
  training_curves(page, run);
  if (evaluated) quality(page, run, summary);
  if (evaluated) patients(page, summary);
  explanations(page, run);
  training::add_provenance(page, run, "cells");
  run.write("report.html",
            page.finish("Written by cuboid " + manifest.get("cuboid", "") + ". Research software: not for diagnosis."));
  return (run.path() / "report.html").string();
}

}  // namespace cuboid::csf
