// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/plot.h"

namespace cuboid::plot {
namespace {

constexpr double gap = std::numeric_limits<double>::quiet_NaN();  // breaks the line

double quantile(const std::vector<double>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Figure strips(const std::string& title, const std::string& y_label,
              const std::vector<std::pair<std::string, std::vector<double>>>& groups) {
  Figure figure{.title = title, .x_label = "", .y_label = y_label};
  figure.x_low = 0.4, figure.x_high = static_cast<double>(groups.size()) + 0.6;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const double x = static_cast<double>(g) + 1;
    figure.x_ticks.emplace_back(x, groups[g].first);
    std::vector<double> values;
    Series points{.title = "", .points = {}, .style = Series::Style::points, .colour = static_cast<int>(g)};
    for (const double v : groups[g].second) {
      if (!std::isfinite(v)) continue;
      // the golden ratio's multiples never fall on one another
      const double aside = std::fmod(0.618033988749895 * static_cast<double>(values.size()), 1.0) - 0.5;
      points.points.emplace_back(x + 0.3 * aside, v);
      values.push_back(v);
    }
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    const double low = quantile(values, 0.25), middle = quantile(values, 0.5), high = quantile(values, 0.75), w = 0.26;
    double least = high, most = low;
    for (const double v : values) {
      if (v >= low - 1.5 * (high - low)) least = std::min(least, v);
      if (v <= high + 1.5 * (high - low)) most = std::max(most, v);
    }
    Series box{.title = "", .points = {}, .style = Series::Style::line, .colour = -1};
    box.points = {{x - w, low},       {x + w, low},       {x + w, high}, {x - w, high},     {x - w, low},     {x, gap},
                  {x, low},           {x, least},         {x, gap},      {x, high},         {x, most},        {x, gap},
                  {x - w / 2, least}, {x + w / 2, least}, {x, gap},      {x - w / 2, most}, {x + w / 2, most}};
    Series median{
        .title = "", .points = {{x - w, middle}, {x + w, middle}}, .style = Series::Style::line, .colour = static_cast<int>(g)};
    figure.series.push_back(box);
    figure.series.push_back(median);
    figure.series.push_back(points);
  }
  return figure;
}

}  // namespace cuboid::plot
