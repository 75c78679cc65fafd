// SPDX-License-Identifier: Apache-2.0
// Orthogonal planes of a volume with a map on top, as a picture.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "apps/explain.h"
#include "apps/text.h"

namespace cuboid {
namespace {

using Rgb = std::array<std::uint8_t, 3>;

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

/// Seven rows of five bits each.
struct Glyph {
  char letter;
  std::uint8_t rows[7];
};
constexpr Glyph font[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},   {'2', {14, 17, 1, 2, 4, 8, 31}},
    {'3', {31, 2, 4, 2, 1, 17, 14}},     {'4', {2, 6, 10, 18, 31, 2, 2}},  {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},    {'8', {14, 17, 17, 14, 17, 17, 14}},
    {'9', {14, 17, 17, 15, 1, 2, 12}},   {'.', {0, 0, 0, 0, 0, 12, 12}},   {'u', {0, 0, 18, 18, 18, 29, 16}},
    {'m', {0, 0, 26, 21, 21, 17, 17}},   {'x', {0, 0, 17, 10, 4, 10, 17}}, {'y', {0, 0, 17, 17, 15, 1, 14}},
    {'z', {0, 0, 31, 2, 4, 8, 31}},
};

struct Canvas {
  Tensor image;
  std::int64_t height, width;
  Canvas(std::int64_t h, std::int64_t w) : image(empty({h, w, 3}, {.dtype = DType::u8})), height(h), width(w) {
    std::memset(image.mutable_data<std::uint8_t>(), 16, static_cast<std::size_t>(h * w * 3));
    data = image.mutable_data<std::uint8_t>();
  }
  void put(std::int64_t y, std::int64_t x, const Rgb& c) {
    if (y < 0 || x < 0 || y >= height || x >= width) return;
    std::copy(c.begin(), c.end(), data + (y * width + x) * 3);
  }
  void box(std::int64_t y, std::int64_t x, std::int64_t h, std::int64_t w, const Rgb& c) {
    for (std::int64_t i = 0; i < h; ++i)
      for (std::int64_t j = 0; j < w; ++j) put(y + i, x + j, c);
  }
  void text(std::int64_t y, std::int64_t x, const std::string& words, const Rgb& c) {
    for (const char letter : words) {
      for (const Glyph& g : font)
        if (g.letter == letter)
          for (int i = 0; i < 7; ++i)
            for (int j = 0; j < 5; ++j)
              if (g.rows[i] >> (4 - j) & 1) box(y + 2 * i, x + 2 * j, 2, 2, c);
      x += 12;
    }
  }
  std::uint8_t* data;
};

/// One plane of a (D,H,W) volume: rows along axis `down`, columns along `across`, at index `at` of the third axis.
struct Plane {
  const char* down_name;
  const char* across_name;
  int down, across, fixed;
  std::int64_t at = 0;
};

struct Picture {
  std::vector<double> values;
  Shape shape;
  double low = 0, high = 1;
  explicit Picture(const Tensor& t) : values(t.to_vector()), shape(t.shape()) {
    const auto [a, b] = std::minmax_element(values.begin(), values.end());
    low = *a, high = *b;
  }
  double at(const Plane& p, std::int64_t row, std::int64_t column) const {
    std::int64_t i[3];
    i[p.down] = std::clamp<std::int64_t>(row, 0, shape[p.down] - 1);
    i[p.across] = std::clamp<std::int64_t>(column, 0, shape[p.across] - 1);
    i[p.fixed] = p.at;
    const double v = values[static_cast<std::size_t>((i[0] * shape[1] + i[1]) * shape[2] + i[2])];
    return high > low ? (v - low) / (high - low) : 0;
  }
  double smooth(const Plane& p, double row, double column) const {
    const double r = std::floor(row), c = std::floor(column), fr = row - r, fc = column - c;
    const auto i = static_cast<std::int64_t>(r), j = static_cast<std::int64_t>(c);
    return (1 - fr) * ((1 - fc) * at(p, i, j) + fc * at(p, i, j + 1)) +
           fr * ((1 - fc) * at(p, i + 1, j) + fc * at(p, i + 1, j + 1));
  }
};

/// 1, 2 or 5 times a power of ten, at most `limit`.
double round_length(double limit) {
  const double power = std::pow(10, std::floor(std::log10(limit)));
  for (const double step : {5.0, 2.0})
    if (step * power <= limit) return step * power;
  return power;
}

}  // namespace

Tensor overlay(const Tensor& volume, const Tensor& map, const OverlayOptions& o) {
  check(volume.rank() == 3 && volume.shape() == map.shape(), "overlay: volume ", volume.shape(), ", map ", map.shape());
  const Picture grey(volume), heat(map);
  std::size_t peak = static_cast<std::size_t>(std::max_element(heat.values.begin(), heat.values.end()) - heat.values.begin());
  if (heat.high <= heat.low)
    peak = heat.values.size() / 2 + static_cast<std::size_t>(map.dim(1) * map.dim(2) / 2 + map.dim(2) / 2) % heat.values.size();
  peak = std::min(peak, heat.values.size() - 1);
  const auto at = static_cast<std::int64_t>(peak);
  const std::int64_t z = at / (map.dim(1) * map.dim(2)), y = at / map.dim(2) % map.dim(1), x = at % map.dim(2);
  const Plane planes[] = {{"y", "x", 1, 2, 0, z}, {"z", "x", 0, 2, 1, y}, {"z", "y", 0, 1, 2, x}};
  const bool known = o.spacing_um[0] > 0 && o.spacing_um[1] > 0 && o.spacing_um[2] > 0;
  const std::array<double, 3> spacing = known ? o.spacing_um : std::array<double, 3>{1, 1, 1};
  double longest = 0;
  for (int i = 0; i < 3; ++i) longest = std::max(longest, static_cast<double>(map.dim(i)) * spacing[static_cast<std::size_t>(i)]);
  const double scale = static_cast<double>(o.height) / longest;  // pixels per unit
  const auto pixels = [&](int axis) {
    return std::max<std::int64_t>(
        8, std::llround(static_cast<double>(map.dim(axis)) * spacing[static_cast<std::size_t>(axis)] * scale));
  };
  constexpr std::int64_t gap = 10, top = 22, bar = 74;
  std::int64_t width = gap, height = 0;
  for (const Plane& p : planes) width += pixels(p.across) + gap, height = std::max(height, pixels(p.down));
  Canvas canvas(top + 2 * height + 2 * gap, width + bar);
  const Rgb light = {225, 225, 225};
  std::int64_t left = gap;
  for (const Plane& p : planes) {
    const std::int64_t h = pixels(p.down), w = pixels(p.across);
    for (std::int64_t i = 0; i < h; ++i)
      for (std::int64_t j = 0; j < w; ++j) {
        const double row = (static_cast<double>(i) + 0.5) / static_cast<double>(h) * static_cast<double>(map.dim(p.down)) - 0.5;
        const double column =
            (static_cast<double>(j) + 0.5) / static_cast<double>(w) * static_cast<double>(map.dim(p.across)) - 0.5;
        const auto g = static_cast<std::uint8_t>(std::lround(255 * grey.smooth(p, row, column)));
        const Rgb c = colour(heat.high > heat.low ? heat.smooth(p, row, column) : 0, o.colours);
        Rgb mixed{};
        for (std::size_t k = 0; k < 3; ++k)
          mixed[k] = static_cast<std::uint8_t>(std::lround((1 - o.opacity) * g + o.opacity * c[k]));
        canvas.put(top + i, left + j, {g, g, g});
        canvas.put(top + height + gap + i, left + j, mixed);
      }
    canvas.text(4, left, std::string(p.across_name) + p.down_name, light);
    if (known) {
      const double length =
          round_length(0.4 * static_cast<double>(map.dim(p.across)) * spacing[static_cast<std::size_t>(p.across)]);
      canvas.box(top + h - 10, left + 8, 4, std::llround(length * scale), light);
      if (p.fixed == 0) canvas.text(top + h - 28, left + 8, app::shortest(length) + "um", light);
    }
    left += w + gap;
  }
  const std::int64_t bar_top = top + height + gap;
  for (std::int64_t i = 0; i < height; ++i)
    canvas.box(bar_top + i, left + 4, 1, 18, colour(1 - static_cast<double>(i) / static_cast<double>(height - 1), o.colours));
  canvas.text(bar_top, left + 28, "1.0", light);
  canvas.text(bar_top + height / 2 - 7, left + 28, "0.5", light);
  canvas.text(bar_top + height - 15, left + 28, "0.0", light);
  return canvas.image;
}

}  // namespace cuboid
