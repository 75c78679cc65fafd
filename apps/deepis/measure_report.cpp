// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/measure_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/app.h"
#include "apps/plot.h"
#include "apps/report.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/files.h"
#include "data/formats/csv.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

using app::Page;
using plot::Figure;
using plot::Series;

std::string plain(double v) { return std::isfinite(v) ? app::shortest(v) : std::string(); }
std::string shown(double v, int decimals) { return std::isfinite(v) ? app::fixed(v, decimals) : "–"; }

struct CellNumber {
  const char* name;  // in files
  double (*of)(const CellMeasure&);
};
constexpr CellNumber cell_numbers[] = {
    {"volume_um3", [](const CellMeasure& c) { return c.volume_um3; }},
    {"surface_um2", [](const CellMeasure& c) { return c.surface_um2; }},
    {"sphericity", [](const CellMeasure& c) { return c.sphericity; }},
    {"mean_ri", [](const CellMeasure& c) { return c.mean_ri; }},
    {"dry_mass_pg", [](const CellMeasure& c) { return c.dry_mass_pg; }},
    {"density_pg_per_um3", [](const CellMeasure& c) { return c.density; }},
    {"centre_z_um", [](const CellMeasure& c) { return c.centre_um[0]; }},
    {"centre_y_um", [](const CellMeasure& c) { return c.centre_um[1]; }},
    {"centre_x_um", [](const CellMeasure& c) { return c.centre_um[2]; }},
};

std::string start_of_line(const MeasuredFrame& f) {
  return csv_cell(f.name) + "," + csv_cell(f.series) + "," + std::to_string(f.frame) + "," +
         (f.minutes >= 0 ? plain(f.minutes) : "");
}

std::map<std::string, std::vector<const MeasuredFrame*>> by_series(const std::vector<MeasuredFrame>& frames) {
  std::map<std::string, std::vector<const MeasuredFrame*>> all;
  for (const MeasuredFrame& f : frames) all[f.series].push_back(&f);
  return all;
}

/// A figure of the frames of one series: a line per cell, or one for the synapse.
Figure over_time(const std::vector<const MeasuredFrame*>& frames, const char* title, const char* unit,
                 double (*of)(const CellMeasure&), double (*of_synapse)(const Synapse&)) {
  const bool timed = frames.front()->minutes >= 0;
  Figure f{.title = title, .x_label = timed ? "minutes" : "frame", .y_label = unit, .key_above = true};
  const auto at = [&](const MeasuredFrame& m) { return timed ? m.minutes : static_cast<double>(m.frame); };
  const auto style = frames.size() > 60 ? Series::Style::line : Series::Style::points_and_line;
  if (of)
    for (std::size_t k = 0; k < frames.front()->measured.cells.size(); ++k) {
      Series s{.title = frames.front()->cell_names[k], .points = {}, .style = style, .colour = static_cast<int>(k)};
      for (const MeasuredFrame* m : frames) s.points.emplace_back(at(*m), of(m->measured.cells[k]));
      f.series.push_back(s);
    }
  if (of_synapse) {
    Series s{.title = "", .points = {}, .style = style, .colour = 2};
    for (const MeasuredFrame* m : frames) s.points.emplace_back(at(*m), of_synapse(*m->measured.synapse));
    f.series.push_back(s);
  }
  return f;
}

bool any_finite(const Figure& f) {
  for (const Series& s : f.series)
    for (const auto& [_, y] : s.points)
      if (std::isfinite(y)) return true;
  return false;
}

struct TimePlot {
  const char* file;
  const char* title;
  const char* unit;
  double (*of)(const CellMeasure&);
  double (*of_synapse)(const Synapse&);
};
// Cells that are not in a frame have no volume there, and a point at 0 would say they had vanished.
constexpr TimePlot time_plots[] = {
    {"volume", "volume", "um³", [](const CellMeasure& c) { return c.voxels ? c.volume_um3 : std::nan(""); }, nullptr},
    {"surface", "surface", "um²", [](const CellMeasure& c) { return c.voxels ? c.surface_um2 : std::nan(""); }, nullptr},
    {"synapse", "synapse area", "um²", nullptr, [](const Synapse& s) { return s.area_um2; }},
    {"ri", "mean refractive index", "", [](const CellMeasure& c) { return c.mean_ri; }, nullptr},
    {"dry_mass", "dry mass", "pg", [](const CellMeasure& c) { return c.dry_mass_pg; }, nullptr},
};

}  // namespace

std::string cells_csv(const std::vector<MeasuredFrame>& frames) {
  std::string text = "case,series,frame,minutes,label,cell,voxels,parts,cut";
  for (const CellNumber& n : cell_numbers) text += std::string(",") + n.name;
  text += "\n";
  for (const MeasuredFrame& f : frames)
    for (std::size_t k = 0; k < f.measured.cells.size(); ++k) {
      const CellMeasure& c = f.measured.cells[k];
      text += start_of_line(f) + "," + std::to_string(c.label) + "," + csv_cell(f.cell_names[k]) + "," +
              std::to_string(c.voxels) + "," + std::to_string(c.parts) + "," + (c.cut ? "1" : "0");
      for (const CellNumber& n : cell_numbers) text += "," + plain(n.of(c));
      text += "\n";
    }
  return text;
}

std::string synapses_csv(const std::vector<MeasuredFrame>& frames) {
  std::string text;
  for (const MeasuredFrame& f : frames) {
    if (!f.measured.synapse) continue;
    const Synapse& s = *f.measured.synapse;
    text += start_of_line(f) + "," + std::to_string(s.voxels) + "," + plain(s.volume_um3) + "," + plain(s.area_um2) + "," +
            plain(s.mean_ri) + "\n";
  }
  return text.empty() ? text
                      : "case,series,frame,minutes,synapse_voxels,synapse_volume_um3,synapse_area_um2,synapse_mean_ri\n" + text;
}

Json measure_json(const std::vector<MeasuredFrame>& frames, const MeasureOptions& options) {
  Json list = Json::array();
  for (const MeasuredFrame& f : frames) {
    Json cells = Json::array();
    for (std::size_t k = 0; k < f.measured.cells.size(); ++k) {
      const CellMeasure& c = f.measured.cells[k];
      Json one =
          Json::object({{"label", c.label}, {"name", f.cell_names[k]}, {"voxels", c.voxels}, {"parts", c.parts}, {"cut", c.cut}});
      for (const CellNumber& n : cell_numbers) one[n.name] = app::finite(n.of(c));
      cells.push_back(one);
    }
    Json one = Json::object({{"name", f.name},
                             {"file", f.file},
                             {"series", f.series},
                             {"frame", f.frame},
                             {"minutes", f.minutes >= 0 ? Json(f.minutes) : Json()},
                             {"spacing_um", Json::array({f.spacing_um[0], f.spacing_um[1], f.spacing_um[2]})},
                             {"cells", cells}});
    if (f.measured.synapse) {
      const Synapse& s = *f.measured.synapse;
      one["synapse"] = Json::object(
          {{"voxels", s.voxels}, {"volume_um3", s.volume_um3}, {"area_um2", s.area_um2}, {"mean_ri", app::finite(s.mean_ri)}});
    }
    list.push_back(one);
  }
  return Json::object(
      {{"frames", list},
       {"options", Json::object({{"dilate_um", options.dilate_um < 0 ? Json("largest spacing") : Json(options.dilate_um)},
                                 {"cleft_um", options.cleft_um < 0 ? Json("1.5 voxels across it") : Json(options.cleft_um)},
                                 {"medium_ri", options.medium_ri},
                                 {"increment_ml_per_g", options.increment}})},
       {"cuboid", app::version()}});
}

std::string measure_text(const std::vector<MeasuredFrame>& frames, std::size_t limit) {
  std::size_t widest = 4, cell = 4, lines = 0, all = 0;
  for (const MeasuredFrame& f : frames) {
    widest = std::max(widest, f.name.size()), all += f.measured.cells.size();
    for (const auto& name : f.cell_names) cell = std::max(cell, name.size());
  }
  const auto left = [](std::string text, std::size_t width) {
    return text + std::string(width - std::min(width, text.size()), ' ');
  };
  const auto right = [](const std::string& text) { return std::string(12 - std::min<std::size_t>(12, text.size()), ' ') + text; };
  const auto num = [&](double v, int decimals) { return right(std::isfinite(v) ? app::fixed(v, decimals) : "-"); };
  std::string text = left("case", widest + 2) + left("cell", cell + 2) + right("volume um3") + right("surface um2") +
                     right("mean RI") + right("dry mass pg") + right("synapse um2") + "\n";
  for (const MeasuredFrame& f : frames)
    for (std::size_t k = 0; k < f.measured.cells.size(); ++k) {
      if (lines++ >= limit) continue;
      const CellMeasure& c = f.measured.cells[k];
      text += left(f.name, widest + 2) + left(f.cell_names[k], cell + 2) + num(c.volume_um3, 2) + num(c.surface_um2, 2) +
              num(c.mean_ri, 4) + num(c.dry_mass_pg, 2);
      if (k == 0 && f.measured.synapse) text += num(f.measured.synapse->area_um2, 2);
      if (c.voxels == 0) text += "  not there";
      else if (c.cut) text += "  cut by the volume's border";
      text += "\n";
    }
  if (all > limit) text += "... and " + std::to_string(all - limit) + " more, in cells.csv\n";
  return text;
}

std::vector<fs::path> write_measures(const fs::path& folder, const std::vector<MeasuredFrame>& frames,
                                     const MeasureOptions& options, const std::vector<std::string>& notes) {
  std::vector<fs::path> written;
  const auto put = [&](const std::string& name, const std::string& content) {
    atomic_write(folder / name, content);
    written.push_back(folder / name);
  };
  put("cells.csv", cells_csv(frames));
  const std::string synapses = synapses_csv(frames);
  if (!synapses.empty()) put("synapses.csv", synapses);
  put("measure.json", measure_json(frames, options).dump(2) + "\n");
  if (synapses.empty()) return written;
  Page page("Cells and their synapse: " + folder.filename().string(), "cuboid " + app::version() + ", " + app::utc_now());
  const auto series = by_series(frames);
  double area = 0;
  std::int64_t touching = 0;
  for (const MeasuredFrame& f : frames) area += f.measured.synapse->area_um2, touching += f.measured.synapse->area_um2 > 0;
  const auto n = static_cast<double>(frames.size());
  std::vector<Page::Tile> tiles = {
      {"synapse area", app::fixed(area / n, 1) + " um²", "mean of " + std::to_string(frames.size()) + " frames"},
      {"frames with contact", std::to_string(touching), "of " + std::to_string(frames.size())}};
  for (std::size_t k = 0; k < frames.front().measured.cells.size() && k < 2; ++k) {
    double volume = 0;
    for (const MeasuredFrame& f : frames) volume += f.measured.cells[k].volume_um3;
    tiles.push_back({"volume " + frames.front().cell_names[k], app::fixed(volume / n, 0) + " um³", "mean"});
  }
  page.tiles(tiles);
  for (const std::string& note : notes) page.note(note);
  if (!plot::available())
    page.note("The plots are missing: gnuplot was not found (apt install gnuplot-nox). All numbers are in the csv files.");
  for (const auto& [name, list] : series) {
    if (list.size() < 2) continue;
    page.section(name.empty() ? "Frames" : "Time-lapse " + name, std::to_string(list.size()) + " frames.");
    std::vector<Page::Panel> panels;
    for (const TimePlot& p : time_plots) {
      const Figure figure = over_time(list, p.title, p.unit, p.of, p.of_synapse);
      if (!any_finite(figure)) continue;
      panels.push_back({plot::svg(figure), ""});
      const std::string file = (series.size() > 1 ? app::slug(name) + "_" : std::string()) + p.file + ".svg";
      if (const std::string svg = plot::standalone_svg(figure); !svg.empty()) put(file, svg);
    }
    page.panels(panels);
  }
  page.section("All frames");
  std::vector<std::vector<std::string>> rows;
  for (const MeasuredFrame& f : frames) {
    for (std::size_t k = 0; k < f.measured.cells.size(); ++k) {
      const CellMeasure& c = f.measured.cells[k];
      rows.push_back({k ? "" : app::html_escaped(f.name), app::html_escaped(f.cell_names[k]) + (c.cut ? " (cut)" : ""),
                      shown(c.volume_um3, 2), shown(c.surface_um2, 2), shown(c.sphericity, 3), shown(c.mean_ri, 4),
                      shown(c.dry_mass_pg, 2), k ? "" : shown(f.measured.synapse->area_um2, 2)});
    }
    if (rows.size() >= 1000) break;
  }
  page.panels(
      {{Page::table({"case", "cell", "volume um³", "surface um²", "sphericity", "mean RI", "dry mass pg", "synapse um²"}, rows),
        rows.size() >= 1000 ? "The first thousand; all are in cells.csv." : ""}});
  page.html("<details><summary>how this was made</summary><pre>" + app::html_escaped(app::command_line()) + "</pre></details>\n");
  put("measure.html", page.finish("Written by cuboid " + app::version() + ". Research software: not for diagnosis."));
  return written;
}

}  // namespace cuboid::deepis
