// SPDX-License-Identifier: Apache-2.0
// Line plots as SVG, drawn by gnuplot. Without gnuplot there is no picture, and the caller says so.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace cuboid::plot {

struct Series {
  std::string title;
  std::vector<std::pair<double, double>> points;
  std::vector<std::pair<double, double>> band = {};  // low and high at each point: a shaded range
  enum class Style { line, steps, points_and_line, dashed, points } style = Style::line;
  int colour = 0;  // of the palette; -1: as faint as the grid
  int axis = 1;    // 2: the right one
};

struct Figure {
  std::string title, x_label, y_label, y2_label = "";
  std::vector<Series> series;
  std::vector<std::pair<double, std::string>> x_ticks = {};  // words instead of numbers
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;       // equal: chosen from the data
  bool square = false, log_x = false, log_y = false;
  bool key_above = false;  // the series' names beside the title's place, clear of the lines
  int width = 460, height = 320;
};

/// One column per group: every value a point, behind them the box from the first to the third quartile with the median, whiskers
/// to the last values within 1.5 times the box's height. NaN is left out.
Figure strips(const std::string& title, const std::string& y_label,
              const std::vector<std::pair<std::string, std::vector<double>>>& groups);

/// True when a gnuplot can be run.
bool available();
/// <svg ...>...</svg>, text and axes in the page's colours; empty without gnuplot.
std::string svg(const Figure& figure);
/// The same as a file of its own: black on white.
std::string standalone_svg(const Figure& figure);

}  // namespace cuboid::plot
