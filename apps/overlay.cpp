// SPDX-License-Identifier: Apache-2.0
// Orthogonal planes of a volume with a map on top, as a picture.
#include <algorithm>
#include <cmath>
#include <string>

#include "apps/canvas.h"
#include "apps/explain.h"

namespace cuboid {
namespace {

/// Matplotlib's viridis (CC0) at every sixteenth of its length.
constexpr std::uint8_t viridis[17][3] = {{68, 1, 84},    {72, 24, 106},  {71, 45, 123},  {66, 64, 134},  {59, 82, 139},
                                         {51, 99, 141},  {44, 114, 142}, {38, 130, 142}, {33, 145, 140}, {31, 160, 136},
                                         {40, 174, 128}, {63, 188, 115}, {94, 201, 98},  {132, 212, 75}, {173, 220, 48},
                                         {216, 226, 25}, {253, 231, 37}};

Rgb colour(double v, ColourMap map) {
  v = std::clamp(v, 0.0, 1.0);
  Rgb rgb{};
  for (std::size_t c = 0; c < 3; ++c) {
    double x = 0;
    if (map == ColourMap::jet) {
      x = 255 * std::clamp(1.5 - std::abs(4 * v - 3 + static_cast<double>(c)), 0.0, 1.0);
    } else {
      const double at = v * 16;
      const int i = std::min(15, static_cast<int>(at));
      x = viridis[i][c] + (at - i) * (viridis[i + 1][c] - viridis[i][c]);
    }
    rgb[c] = static_cast<std::uint8_t>(std::lround(x));
  }
  return rgb;
}

}  // namespace

Tensor overlay(const Tensor& volume, const Tensor& map, const OverlayOptions& o) {
  check(volume.rank() == 3 && volume.shape() == map.shape(), "overlay: volume ", volume.shape(), ", map ", map.shape());
  const Grey grey(volume), heat(map);
  const std::int64_t peak = heat.peak(), rows = map.dim(1), columns = map.dim(2);
  std::array<std::int64_t, 3> through = {map.dim(0) / 2, rows / 2, columns / 2};
  if (o.through[0] >= 0) through = o.through;
  else if (!heat.flat()) through = {peak / (rows * columns), peak / columns % rows, peak % columns};
  const Planes layout(map.shape(), through, o.spacing_um, o.height);
  constexpr std::int64_t gap = Planes::gap, top = Planes::top, bar = 74;
  const std::int64_t height = layout.height;
  Canvas canvas(top + 2 * height + 2 * gap, layout.width + bar);
  const Rgb light = {225, 225, 225};
  for (const Plane& p : layout.planes) {
    for (std::int64_t i = 0; i < p.height; ++i)
      for (std::int64_t j = 0; j < p.width; ++j) {
        const auto [row, column] = p.voxel(i, j, map.shape());
        const auto g = static_cast<std::uint8_t>(std::lround(255 * grey.at(p, row, column)));
        const Rgb c = colour(heat.at(p, row, column), o.colours);
        Rgb mixed{};
        for (std::size_t k = 0; k < 3; ++k)
          mixed[k] = static_cast<std::uint8_t>(std::lround((1 - o.opacity) * g + o.opacity * c[k]));
        canvas.put(top + i, p.left + j, {g, g, g});
        canvas.put(top + height + gap + i, p.left + j, mixed);
      }
    canvas.text(4, p.left, p.name, light);
    layout.bar(canvas, p, top);
  }
  const std::int64_t bar_top = top + height + gap, left = layout.width;
  for (std::int64_t i = 0; i < height; ++i)
    canvas.box(bar_top + i, left + 4, 1, 18, colour(1 - static_cast<double>(i) / static_cast<double>(height - 1), o.colours));
  canvas.text(bar_top, left + 28, "1.0", light);
  canvas.text(bar_top + height / 2 - 7, left + 28, "0.5", light);
  canvas.text(bar_top + height - 15, left + 28, "0.0", light);
  return canvas.image();
}

}  // namespace cuboid
