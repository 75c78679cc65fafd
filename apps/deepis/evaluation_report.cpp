// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/evaluation_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/app.h"
#include "apps/contours.h"
#include "apps/plot.h"
#include "apps/text.h"
#include "core/files.h"
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

/// Number `key` of every case, a group per class; null becomes NaN, which plots leave out.
std::vector<std::pair<std::string, std::vector<double>>> by_class(const Json& summary, const char* key) {
  std::vector<std::pair<std::string, std::vector<double>>> groups;
  for (const auto& [label, _] : summary.at("mean").as_object()) {
    groups.emplace_back(class_name(summary, label), std::vector<double>());
    for (const Json& c : summary.at("metric_per_case").as_array()) {
      const Json& v = c.at("metrics").at(label).at(key);
      groups.back().second.push_back(v.is_number() ? v.as_double() : std::nan(""));
    }
  }
  return groups;
}

void distributions(Page& page, const Json& summary) {
  if (summary.at("cases").as_int() < 2 || summary.at("mean").size() > 12) return;
  std::vector<Page::Panel> panels = {{plot::svg(plot::strips("Dice", "", by_class(summary, "Dice"))), "One point per case."}};
  if (summary.at("foreground_mean").at("HD95").is_number()) {
    panels.push_back(
        {plot::svg(plot::strips("HD95", "um", by_class(summary, "HD95"))), "95 % of the surface lie nearer than this."});
    panels.push_back({plot::svg(plot::strips("ASSD", "um", by_class(summary, "ASSD"))), "Mean distance of the two surfaces."});
  }
  page.panels(panels);
}

void synapses(Page& page, const Json& summary) {
  if (!summary.contains("synapse") || summary.at("cases").as_int() < 2) return;
  page.section("Synapse", "Area of the wall between the two cells, measured in the same way in truth and prediction.");
  Series points{.title = "", .points = {}, .style = Series::Style::points};
  std::vector<std::pair<std::string, std::vector<double>>> dice = {{"synapse voxels", {}}};
  double most = 0;
  for (const Json& c : summary.at("metric_per_case").as_array()) {
    const Json& s = c.at("synapse");
    points.points.emplace_back(s.at("true_area_um2").as_double(), s.at("area_um2").as_double());
    most = std::max({most, s.at("true_area_um2").as_double(), s.at("area_um2").as_double()});
    dice.front().second.push_back(s.at("Dice").is_number() ? s.at("Dice").as_double() : std::nan(""));
  }
  Figure f{.title = "area", .x_label = "true, um²", .y_label = "predicted, um²", .square = true, .width = 440, .height = 400};
  f.x_high = f.y_high = std::max(1e-6, 1.05 * most);
  f.series.push_back({.title = "", .points = {{0, 0}, {f.x_high, f.y_high}}, .style = Series::Style::dashed, .colour = -1});
  f.series.push_back(points);
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

void gallery(Page& page, const app::RunFolder& folder) {
  if (!folder.has("eval/pictures.json")) return;
  const Json list = folder.read_json("eval/pictures.json");
  if (list.size() == 0) return;
  page.section(
      "Worst and best cases",
      "Three planes through the synapse, or through the middle of the labels: the image, and below it the outlines. White is the "
      "truth, coloured the prediction on top of it, so that white shows where they differ.");
  page.html("<style>.wide .panels{grid-template-columns:1fr}</style><div class=wide>");
  std::vector<Page::Panel> panels;
  for (const Json& one : list.as_array()) {
    const std::string file = "eval/" + one.at("picture").as_string();
    if (folder.has(file))
      panels.push_back({Page::picture(read_file(folder.path() / file), one.get("name", "")), one.get("caption", "")});
  }
  page.panels(panels);
  page.html("</div>\n");
}

void all_cases(Page& page, const Json& summary) {
  page.section("All cases");
  std::vector<std::string> head = {"case"};
  const bool of_instances = summary.contains("instances"), of_synapse = summary.contains("synapse"),
             surfaces = summary.at("foreground_mean").at("HD95").is_number();
  if (of_instances) head.insert(head.end(), {"AP 0.5", "true", "predicted"});
  for (const auto& [label, _] : summary.at("mean").as_object()) {
    const std::string name = app::html_escaped(class_name(summary, label));
    head.push_back("Dice " + name);
    if (surfaces) head.push_back("HD95 " + name);
  }
  if (of_synapse) head.insert(head.end(), {"synapse um²", "true"});
  std::vector<std::vector<std::string>> rows;
  for (const Json& c : summary.at("metric_per_case").as_array()) {
    std::vector<std::string> row = {app::html_escaped(c.get("name", ""))};
    if (of_instances) {
      const Json& s = c.at("instances")[0];
      row.insert(row.end(), {number(s.at("AP")), std::to_string(s.at("TP").as_int() + s.at("FN").as_int()),
                             std::to_string(s.at("TP").as_int() + s.at("FP").as_int())});
    }
    for (const auto& [_, m] : c.at("metrics").as_object()) {
      row.push_back(number(m.at("Dice")));
      if (surfaces) row.push_back(number(m.at("HD95")));
    }
    if (of_synapse)
      row.insert(row.end(), {number(c.at("synapse").at("area_um2"), 2), number(c.at("synapse").at("true_area_um2"), 2)});
    rows.push_back(row);
    if (rows.size() == 200) break;
  }
  page.panels({{Page::table(head, rows), summary.at("cases").as_int() > 200 ? "The first 200; all are in eval/cases.csv." : ""}});
}

std::string caption_of(const CaseScore& c, const char* which) {
  std::string text = std::string(which) + c.name + ":";
  if (!c.instances.empty()) text += " AP " + number(c.instances.front().average_precision()) + ",";
  text += " Dice ";
  for (const ClassScore& k : c.classes) text += (&k == &c.classes.front() ? "" : " and ") + number(k.overlap.dice());
  if (c.synapse) text += "; synapse " + number(c.synapse->area_um2, 1) + " of " + number(c.synapse->true_area_um2, 1) + " um²";
  return text;
}

}  // namespace

void write_case_pictures(const app::RunFolder& folder, const std::vector<CaseScore>& cases,
                         const std::function<ShownCase(std::size_t)>& show, std::int64_t worst, std::int64_t best) {
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto merit = [&](std::size_t i) {
    const double v = cases[i].merit();
    return std::isfinite(v) ? v : 2;  // nothing to find and nothing found: no bad case
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return merit(a) < merit(b); });
  const auto n = static_cast<std::int64_t>(order.size());
  worst = std::min(worst, n), best = std::min(best, n - worst);
  Json list = Json::array();
  for (std::int64_t k = 0; k < n; ++k) {
    if (k >= worst && k < n - best) continue;
    const std::size_t i = order[static_cast<std::size_t>(k)];
    const ShownCase s = show(i);
    if (!s.image.defined()) continue;
    const std::string file = app::slug(cases[i].name) + ".png";
    try {
      folder.write("eval/" + file, png_bytes(contours(s.image, s.truth, s.prediction, {.spacing_um = s.spacing_um})));
    } catch (const DataError&) {
      throw;
    } catch (const Error&) {
      break;  // a build without libpng keeps the numbers
    }
    const char* which = n <= worst + best ? "" : k < worst ? "Among the worst, " : "Among the best, ";
    list.push_back(Json::object({{"name", cases[i].name}, {"picture", file}, {"caption", caption_of(cases[i], which)}}));
  }
  folder.write("eval/pictures.json", list);
}

void evaluation_sections(Page& page, const app::RunFolder& folder) {
  if (!folder.has("eval/summary.json")) return;
  const Json summary = folder.read_json("eval/summary.json");
  overview(page, summary);
  instances(page, summary);
  classes_table(page, summary);
  distributions(page, summary);
  synapses(page, summary);
  gallery(page, folder);
  all_cases(page, summary);
}

std::string write_evaluation_report(const app::RunFolder& folder, const std::string& title,
                                    const std::vector<std::string>& notes) {
  Page page("Segmentation: " + title, "cuboid " + app::version() + ", " + app::utc_now());
  for (const std::string& note : notes) page.note(note);
  if (!plot::available())
    page.note("The figures are missing: gnuplot was not found (apt install gnuplot-nox). All numbers are in eval/.");
  evaluation_sections(page, folder);
  page.html("<details><summary>how this was made</summary><pre>" + app::html_escaped(app::command_line()) + "</pre></details>\n");
  folder.write("report.html", page.finish("Written by cuboid " + app::version() + ". Research software: not for diagnosis."));
  return (folder.path() / "report.html").string();
}

}  // namespace cuboid::deepis
