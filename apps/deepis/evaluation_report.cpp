// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/evaluation_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/app.h"
#include "apps/contours.h"
#include "apps/plot.h"
#include "apps/report.h"
#include "apps/text.h"
#include "data/formats/png.h"

namespace cuboid::deepis {
namespace {

using app::Page;
using plot::Figure;
using plot::Series;

std::string number(const Json& value, int decimals = 3, double factor = 1) {
  return value.is_number() ? app::fixed(factor * value.as_double(), decimals) : std::string("–");
}
std::string number(double value, int decimals = 3) { return std::isfinite(value) ? app::fixed(value, decimals) : "–"; }

std::string class_name(const Json& summary, const std::string& label) {
  return summary.at("classes")[static_cast<std::size_t>(std::stoul(label))].as_string();
}

void overview(Page& page, const Json& summary) {
  std::vector<Page::Tile> tiles;
  const std::string cases =
      std::to_string(summary.at("cases").as_int()) + (summary.at("cases").as_int() == 1 ? " case" : " cases");
  if (const Json* list = summary.find("instances")) {
    const Json& s = (*list)[0];
    tiles.push_back({"AP at IoU 0.5", number(s.at("AP")),
                     std::to_string(s.at("TP").as_int()) + " found, " + std::to_string(s.at("FN").as_int()) + " missed, " +
                         std::to_string(s.at("FP").as_int()) + " false"});
    tiles.push_back(
        {"F1 at IoU 0.5", number(s.at("F1")), "precision " + number(s.at("precision")) + ", recall " + number(s.at("recall"))});
    tiles.push_back(
        {"panoptic quality", number(s.at("panoptic_quality")), "mean IoU of pairs " + number(s.at("mean_matched_IoU"))});
  }
  const auto& means = summary.at("mean").as_object();
  for (const auto& [label, mean] : means)
    if (means.size() <= 4)
      tiles.push_back({"Dice " + class_name(summary, label), number(mean.at("Dice")), cases + ", IoU " + number(mean.at("IoU"))});
  if (means.size() > 1)
    tiles.push_back(
        {"mean Dice", number(summary.at("foreground_mean").at("Dice")), "of " + std::to_string(means.size()) + " classes"});
  if (const Json* s = summary.find("synapse"))
    tiles.push_back({"synapse area", number(s->at("absolute_area_error"), 1, 100) + " % off",
                     "mean " + number(s->at("area_um2"), 1) + " um², true " + number(s->at("true_area_um2"), 1)});
  page.tiles(tiles);
}

void classes_table(Page& page, const Json& summary) {
  page.section("Classes", "Means over the cases in which the number is defined; distances in um, voxel centre to voxel centre.");
  std::vector<std::vector<std::string>> rows;
  for (const auto& [label, m] : summary.at("mean").as_object()) {
    const std::int64_t all = summary.at("cases").as_int();
    rows.push_back({app::html_escaped(class_name(summary, label)), number(m.at("Dice")), number(m.at("IoU")),
                    number(m.at("Precision")), number(m.at("Recall")), number(m.at("RVD"), 1, 100) + " %", number(m.at("HD95")),
                    number(m.at("ASSD")),
                    std::to_string(all - summary.at("undefined").at(label).at("Dice").as_int()) + " / " + std::to_string(all)});
  }
  page.panels({{Page::table({"class", "Dice", "IoU", "precision", "recall", "volume", "HD95", "ASSD", "cases"}, rows), ""}});
}

void distributions(Page& page, const std::vector<CaseScore>& cases, const ScoreOptions& options) {
  const std::size_t classes = cases.front().classes.size();
  if (cases.size() < 2 || classes > 12) return;
  const auto groups = [&](double (*of)(const ClassScore&)) {
    std::vector<std::pair<std::string, std::vector<double>>> all;
    for (std::size_t k = 0; k < classes; ++k) {
      all.emplace_back(options.classes[k + 1], std::vector<double>());
      for (const CaseScore& c : cases) all.back().second.push_back(of(c.classes[k]));
    }
    return all;
  };
  std::vector<Page::Panel> panels = {
      {plot::svg(plot::strips("Dice", "", groups([](const ClassScore& c) { return c.overlap.dice(); }))), "One point per case."}};
  if (options.surfaces) {
    Figure far = plot::strips("HD95", "um", groups([](const ClassScore& c) { return c.surface.hd95; }));
    Figure mean = plot::strips("ASSD", "um", groups([](const ClassScore& c) { return c.surface.assd; }));
    panels.push_back({plot::svg(far), "95 % of the surface lie nearer than this."});
    panels.push_back({plot::svg(mean), "Mean distance of the two surfaces."});
  }
  page.panels(panels);
}

void synapses(Page& page, const std::vector<CaseScore>& cases) {
  if (!cases.front().synapse || cases.size() < 2) return;
  page.section("Synapse", "Area of the wall between the two cells, measured in the same way in truth and prediction.");
  Series points{.title = "", .points = {}, .style = Series::Style::points};
  double most = 0;
  for (const CaseScore& c : cases) {
    points.points.emplace_back(c.synapse->true_area_um2, c.synapse->area_um2);
    most = std::max({most, c.synapse->true_area_um2, c.synapse->area_um2});
  }
  Figure f{.title = "area", .x_label = "true, um²", .y_label = "predicted, um²", .square = true, .width = 440, .height = 400};
  f.x_high = f.y_high = std::max(1e-6, 1.05 * most);
  f.series.push_back({.title = "", .points = {{0, 0}, {f.x_high, f.y_high}}, .style = Series::Style::dashed, .colour = -1});
  f.series.push_back(points);
  std::vector<std::pair<std::string, std::vector<double>>> dice = {{"synapse voxels", {}}};
  for (const CaseScore& c : cases) dice.front().second.push_back(c.synapse->overlap.dice());
  page.panels(
      {{plot::svg(f), "On the dashed line truth and prediction agree."}, {plot::svg(plot::strips("Dice", "", dice)), ""}});
}

void instances(Page& page, const Json& summary) {
  const Json* list = summary.find("instances");
  if (!list) return;
  page.section("Instances",
               "Pairs of a true and a predicted instance whose IoU reaches the threshold; AP = TP / (TP + FP + FN).");
  Series ap{.title = "AP", .points = {}, .style = Series::Style::points_and_line}, f1 = ap;
  f1.title = "F1", f1.colour = 1;
  std::vector<std::vector<std::string>> rows;
  for (const Json& s : list->as_array()) {
    const double t = s.at("threshold").as_double();
    if (s.at("AP").is_number()) ap.points.emplace_back(t, s.at("AP").as_double());
    if (s.at("F1").is_number()) f1.points.emplace_back(t, s.at("F1").as_double());
    rows.push_back({app::fixed(t, 2), number(s.at("AP")), number(s.at("precision")), number(s.at("recall")), number(s.at("F1")),
                    number(s.at("panoptic_quality")), std::to_string(s.at("TP").as_int()), std::to_string(s.at("FP").as_int()),
                    std::to_string(s.at("FN").as_int())});
  }
  Figure f{.title = "by threshold", .x_label = "IoU at least", .y_label = "", .series = {ap, f1}};
  f.y_low = 0, f.y_high = 1.02;
  page.panels({{plot::svg(f), ""}, {Page::table({"IoU", "AP", "precision", "recall", "F1", "PQ", "TP", "FP", "FN"}, rows), ""}});
}

/// Pictures of some cases; writes NAME.png as well.
void gallery(Page& page, const app::RunFolder& folder, const std::vector<CaseScore>& cases, const std::vector<std::size_t>& order,
             const EvaluationReport& report) {
  if (!report.show) return;
  const auto n = static_cast<std::int64_t>(order.size());
  std::vector<std::size_t> shown;
  const std::int64_t worst = std::min(report.worst, n), best = std::min(report.best, n - worst);
  for (std::int64_t i = 0; i < worst; ++i) shown.push_back(order[static_cast<std::size_t>(i)]);
  for (std::int64_t i = n - best; i < n; ++i) shown.push_back(order[static_cast<std::size_t>(i)]);
  page.section(
      n > worst + best ? "Worst and best cases" : "Cases",
      "Three planes through the synapse, or through the middle of the labels. White is the truth's outline, coloured the "
      "prediction's on top of it: white shows where they differ.");
  std::vector<Page::Panel> panels;
  for (const std::size_t i : shown) {
    const CaseScore& c = cases[i];
    std::string caption = c.name + ":";
    if (!c.instances.empty()) caption += " AP " + number(c.instances.front().average_precision());
    for (const ClassScore& k : c.classes) caption += (&k == &c.classes.front() ? " Dice " : ", ") + number(k.overlap.dice());
    if (c.synapse)
      caption += "; synapse " + number(c.synapse->area_um2, 1) + " of " + number(c.synapse->true_area_um2, 1) + " um²";
    const ShownCase s = report.show(i);
    if (!s.image.defined()) continue;
    const Tensor picture = contours(s.image, s.truth, s.prediction, {.spacing_um = s.spacing_um});
    try {
      const std::string png = png_bytes(picture);
      folder.write("eval/" + app::slug(c.name) + ".png", png);
      panels.push_back({Page::picture(png, "outlines of " + c.name), caption});
    } catch (const DataError&) {
      throw;
    } catch (const Error& error) {
      page.note(std::string("No pictures: ") + error.what());
      return;
    }
  }
  page.html("<style>.wide .panels{grid-template-columns:1fr}</style><div class=wide>");
  page.panels(panels);
  page.html("</div>\n");
}

void all_cases(Page& page, const std::vector<CaseScore>& cases, const ScoreOptions& options,
               const std::vector<std::size_t>& order) {
  page.section("All cases", "From the worst to the best.");
  std::vector<std::string> head = {"case"};
  const bool of_instances = !cases.front().instances.empty();
  if (of_instances) head.insert(head.end(), {"AP 0.5", "true", "found"});
  for (std::size_t k = 0; k < cases.front().classes.size(); ++k) {
    const std::string name = app::html_escaped(options.classes[k + 1]);
    head.push_back("Dice " + name);
    if (options.surfaces) head.push_back("HD95 " + name);
  }
  if (cases.front().synapse) head.insert(head.end(), {"synapse um²", "true"});
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t i : order) {
    const CaseScore& c = cases[i];
    std::vector<std::string> row = {app::html_escaped(c.name)};
    if (of_instances) {
      const InstanceScore& s = c.instances.front();
      row.insert(row.end(), {number(s.average_precision()), std::to_string(s.tp + s.fn), std::to_string(s.tp + s.fp)});
    }
    for (const ClassScore& k : c.classes) {
      row.push_back(number(k.overlap.dice()));
      if (options.surfaces) row.push_back(number(k.surface.hd95));
    }
    if (c.synapse) row.insert(row.end(), {number(c.synapse->area_um2, 2), number(c.synapse->true_area_um2, 2)});
    rows.push_back(row);
    if (rows.size() == 200) break;
  }
  page.panels({{Page::table(head, rows), cases.size() > 200 ? "The first 200; all are in eval/cases.csv." : ""}});
}

}  // namespace

std::string write_evaluation_report(const app::RunFolder& folder, const std::vector<CaseScore>& cases,
                                    const ScoreOptions& options, const Json& summary, const EvaluationReport& report) {
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto merit = [&](std::size_t i) {
    const double v = cases[i].merit();
    return std::isfinite(v) ? v : 2;  // nothing to find and nothing found: no bad case
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return merit(a) < merit(b); });
  Page page("Segmentation: " + report.title, "cuboid " + summary.get("cuboid", "") + ", " + app::utc_now());
  overview(page, summary);
  for (const std::string& note : report.notes) page.note(note);
  if (!plot::available())
    page.note("The figures are missing: gnuplot was not found (apt install gnuplot-nox). All numbers are in eval/.");
  instances(page, summary);
  classes_table(page, summary);
  distributions(page, cases, options);
  synapses(page, cases);
  gallery(page, folder, cases, order, report);
  all_cases(page, cases, options, order);
  page.html("<details><summary>how this was made</summary><pre>" + app::html_escaped(app::command_line()) + "</pre></details>\n");
  folder.write("report.html",
               page.finish("Written by cuboid " + summary.get("cuboid", "") + ". Research software: not for diagnosis."));
  return (folder.path() / "report.html").string();
}

}  // namespace cuboid::deepis
