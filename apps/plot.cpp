// SPDX-License-Identifier: Apache-2.0
#include "apps/plot.h"

#include <stdlib.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "apps/text.h"
#include "core/files.h"

namespace cuboid::plot {
namespace {

// Colours that stand for the page's own; they are replaced in the SVG.
constexpr const char* ink = "#010203";
constexpr const char* faint = "#040506";
// Okabe and Ito's palette, told apart by colour-blind eyes; without black and yellow.
constexpr const char* palette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c == '\n' ? ' ' : c);
  return out + "'";
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

std::string script_of(const Figure& f, const std::string& output) {
  std::ostringstream s;
  s << "set terminal svg noenhanced size " << f.width << "," << f.height << " font 'sans-serif,12' background '#ffffff'\n"
    << "set output " << quoted(output) << "\n"
    << "set title " << quoted(f.title) << " textcolor rgb '" << ink << "' offset 0,-0.4\n"
    << "set xlabel " << quoted(f.x_label) << " textcolor rgb '" << ink << "' offset 0,0.3\n"
    << "set ylabel " << quoted(f.y_label) << " textcolor rgb '" << ink << "' offset 0.8,0\n"
    << "set border " << (f.y2_label.empty() ? 3 : 11) << " linecolor rgb '" << ink << "'\nset tics nomirror textcolor rgb '"
    << ink << "' scale 0.5\n"
    << "set grid linecolor rgb '" << faint << "' linewidth 0.6 linetype 1\n"
    << "set key textcolor rgb '" << ink << "' samplen 1.6 spacing 1.1 width -1 "
    << (f.key_above                   ? "outside top right horizontal"
        : f.square || f.y_high > 0.99 ? "bottom right"
                                      : "top right")
    << "\n";
  if (!f.y2_label.empty())
    s << "set y2label " << quoted(f.y2_label) << " textcolor rgb '" << ink << "' offset -0.8,0\nset y2tics textcolor rgb '" << ink
      << "' scale 0.5\n";
  if (f.square) s << "set size ratio 1\n";
  if (f.log_x) s << "set logscale x\n";
  if (f.log_y) s << "set logscale y\n";
  if (!f.x_ticks.empty()) {
    s << "set xtics (";
    for (std::size_t i = 0; i < f.x_ticks.size(); ++i)
      s << (i ? ", " : "") << quoted(f.x_ticks[i].second) << " " << f.x_ticks[i].first;
    s << ")\n";
  }
  if (f.x_low < f.x_high) s << "set xrange [" << f.x_low << ":" << f.x_high << "]\n";
  if (f.y_low < f.y_high) s << "set yrange [" << f.y_low << ":" << f.y_high << "]\n";
  s << "set style fill solid 0.18 noborder\n";
  int block = 0;
  std::ostringstream plot;
  for (const Series& series : f.series) {
    const std::string colour = series.colour < 0 ? faint : palette[static_cast<std::size_t>(series.colour) % std::size(palette)];
    s << "$d" << block << " << EOD\n";
    for (std::size_t i = 0; i < series.points.size(); ++i) {
      const auto& [x, y] = series.points[i];
      if (!std::isfinite(x) || !std::isfinite(y)) {
        s << "\n";
        continue;
      }
      s << x << " " << y;
      if (i < series.band.size()) s << " " << series.band[i].first << " " << series.band[i].second;
      s << "\n";
    }
    s << "EOD\n";
    if (!series.band.empty())
      plot << (block ? ", " : "") << "$d" << block << " using 1:3:4 with filledcurves linecolor rgb '" << colour << "' notitle";
    const char* with = series.style == Series::Style::points_and_line ? "linespoints pointtype 7 pointsize 0.5"
                       : series.style == Series::Style::steps         ? "steps"
                       : series.style == Series::Style::points        ? "points pointtype 7 pointsize 0.7"
                                                                      : "lines";
    plot << (block || !series.band.empty() ? ", " : "") << "$d" << block << " using 1:2 axes x1y" << series.axis << " with "
         << with << (series.style == Series::Style::dashed ? " dashtype 2 linewidth 1.2" : " linewidth 2") << " linecolor rgb '"
         << colour << "' " << (series.title.empty() ? "notitle" : "title " + quoted(series.title));
    ++block;
  }
  s << "plot " << plot.str() << "\n";
  return s.str();
}

}  // namespace

bool available() {
  static const bool there = std::system("command -v gnuplot >/dev/null 2>&1") == 0;
  return there;
}

std::string svg(const Figure& figure) {
  if (!available()) return "";
  std::error_code error;
  std::string folder = (std::filesystem::temp_directory_path(error) / "cuboid-plot-XXXXXX").string();
  if (error || !mkdtemp(folder.data())) return "";
  const std::filesystem::path root = folder;
  std::string text;
  if (FILE* gnuplot = popen("gnuplot >/dev/null 2>&1", "w")) {
    const std::string script = script_of(figure, (root / "plot.svg").string());
    std::fwrite(script.data(), 1, script.size(), gnuplot);
    if (pclose(gnuplot) == 0 && std::filesystem::exists(root / "plot.svg")) text = read_file(root / "plot.svg");
  }
  std::filesystem::remove_all(root, error);
  const auto start = text.find("<svg");
  if (start == text.npos) return "";
  text.erase(0, start);
  // gnuplot names its markers alike in every picture; on one page they must differ
  static int counter = 0;
  const std::string prefix = "p" + std::to_string(++counter) + "_";
  replace_all(text, "gnuplot_plot_", prefix + "plot_");
  replace_all(text, "gpDot", prefix + "Dot");
  replace_all(text, "gpPt", prefix + "Pt");
  replace_all(text, "gnuplot_canvas", prefix + "canvas");
  for (const char* spelled : {"#010203", "rgb(1,2,3)", "rgb(  1,   2,   3)"}) replace_all(text, spelled, "var(--ink)");
  for (const char* spelled : {"#040506", "rgb(4,5,6)", "rgb(  4,   5,   6)"}) replace_all(text, spelled, "var(--faint)");
  replace_all(text, "#ffffff", "none");
  return text;
}

std::string standalone_svg(const Figure& figure) {
  std::string text = svg(figure);
  if (text.empty()) return text;
  replace_all(text, "var(--ink)", "#1f2328");
  replace_all(text, "var(--faint)", "#d9dce0");
  text.insert(4, " style=\"background:#fff\"");
  return text + "\n";
}

}  // namespace cuboid::plot
