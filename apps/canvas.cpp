// SPDX-License-Identifier: Apache-2.0
#include "apps/canvas.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "apps/text.h"

namespace cuboid {
namespace {

/// Seven rows of five bits each.
struct Glyph {
  char letter;
  std::uint8_t rows[7];
};
constexpr Glyph font[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},      {'2', {14, 17, 1, 2, 4, 8, 31}},
    {'3', {31, 2, 4, 2, 1, 17, 14}},     {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},       {'8', {14, 17, 17, 14, 17, 17, 14}},
    {'9', {14, 17, 17, 15, 1, 2, 12}},   {'.', {0, 0, 0, 0, 0, 12, 12}},      {'-', {0, 0, 0, 14, 0, 0, 0}},
    {'a', {0, 0, 14, 1, 15, 17, 15}},    {'b', {16, 16, 30, 17, 17, 17, 30}}, {'c', {0, 0, 15, 16, 16, 16, 15}},
    {'d', {1, 1, 15, 17, 17, 17, 15}},   {'e', {0, 0, 14, 17, 31, 16, 15}},   {'f', {6, 8, 28, 8, 8, 8, 8}},
    {'g', {0, 0, 15, 17, 15, 1, 14}},    {'h', {16, 16, 30, 17, 17, 17, 17}}, {'i', {4, 0, 12, 4, 4, 4, 14}},
    {'j', {2, 0, 6, 2, 2, 18, 12}},      {'k', {16, 16, 18, 20, 24, 20, 18}}, {'l', {12, 4, 4, 4, 4, 4, 14}},
    {'m', {0, 0, 26, 21, 21, 17, 17}},   {'n', {0, 0, 30, 17, 17, 17, 17}},   {'o', {0, 0, 14, 17, 17, 17, 14}},
    {'p', {0, 0, 30, 17, 30, 16, 16}},   {'q', {0, 0, 15, 17, 15, 1, 1}},     {'r', {0, 0, 22, 25, 16, 16, 16}},
    {'s', {0, 0, 15, 16, 14, 1, 30}},    {'t', {8, 8, 28, 8, 8, 9, 6}},       {'u', {0, 0, 18, 18, 18, 29, 16}},
    {'v', {0, 0, 17, 17, 17, 10, 4}},    {'w', {0, 0, 17, 17, 21, 21, 10}},   {'x', {0, 0, 17, 10, 4, 10, 17}},
    {'y', {0, 0, 17, 17, 15, 1, 14}},    {'z', {0, 0, 31, 2, 4, 8, 31}},
};

/// 1, 2 or 5 times a power of ten, at most `limit`.
double round_length(double limit) {
  const double power = std::pow(10, std::floor(std::log10(limit)));
  for (const double step : {5.0, 2.0})
    if (step * power <= limit) return step * power;
  return power;
}

}  // namespace

Canvas::Canvas(std::int64_t height, std::int64_t width)
    : image_(empty({height, width, 3}, {.dtype = DType::u8})), height_(height), width_(width) {
  data_ = image_.mutable_data<std::uint8_t>();
  std::memset(data_, 16, static_cast<std::size_t>(height * width * 3));
}

void Canvas::put(std::int64_t y, std::int64_t x, const Rgb& c) {
  if (y < 0 || x < 0 || y >= height_ || x >= width_) return;
  std::copy(c.begin(), c.end(), data_ + (y * width_ + x) * 3);
}

void Canvas::box(std::int64_t y, std::int64_t x, std::int64_t h, std::int64_t w, const Rgb& c) {
  for (std::int64_t i = 0; i < h; ++i)
    for (std::int64_t j = 0; j < w; ++j) put(y + i, x + j, c);
}

void Canvas::text(std::int64_t y, std::int64_t x, const std::string& words, const Rgb& c) {
  for (const char letter : words) {
    for (const Glyph& g : font)
      if (g.letter == letter)
        for (int i = 0; i < 7; ++i)
          for (int j = 0; j < 5; ++j)
            if (g.rows[i] >> (4 - j) & 1) box(y + 2 * i, x + 2 * j, 2, 2, c);
    x += 12;
  }
}

Rgb palette_colour(std::int64_t i) {
  constexpr Rgb palette[] = {{86, 180, 233}, {230, 159, 0}, {0, 158, 115}, {204, 121, 167},
                             {240, 228, 66}, {213, 94, 0},  {0, 114, 178}};
  return palette[static_cast<std::size_t>(i) % std::size(palette)];
}

std::int64_t Plane::index(std::int64_t row, std::int64_t column, const Shape& shape) const {
  std::int64_t i[3];
  i[down] = std::clamp<std::int64_t>(row, 0, shape[down] - 1);
  i[across] = std::clamp<std::int64_t>(column, 0, shape[across] - 1);
  i[fixed] = at;
  return (i[0] * shape[1] + i[1]) * shape[2] + i[2];
}

Planes::Planes(const Shape& shape, const std::array<std::int64_t, 3>& through, const std::array<double, 3>& spacing_um,
               std::int64_t wanted)
    : planes{Plane{"xy", 1, 2, 0, through[0]}, Plane{"xz", 0, 2, 1, through[1]}, Plane{"yz", 0, 1, 2, through[2]}} {
  known = spacing_um[0] > 0 && spacing_um[1] > 0 && spacing_um[2] > 0;
  const auto length = [&](int axis) {
    return static_cast<double>(shape[axis]) * (known ? spacing_um[static_cast<std::size_t>(axis)] : 1.0);
  };
  scale = static_cast<double>(wanted) / std::max({length(0), length(1), length(2)});
  const auto pixels = [&](int axis) { return std::max<std::int64_t>(8, std::llround(length(axis) * scale)); };
  width = gap;
  for (Plane& p : planes) {
    p.left = width, p.height = pixels(p.down), p.width = pixels(p.across);
    width += p.width + gap, height = std::max(height, p.height);
  }
}

void Planes::bar(Canvas& canvas, const Plane& p, std::int64_t y) const {
  if (!known) return;
  const Rgb light = {225, 225, 225};
  const double length = round_length(0.4 * static_cast<double>(p.width) / scale);
  canvas.box(y + p.height - 10, p.left + 8, 4, std::llround(length * scale), light);
  if (p.fixed == 0) canvas.text(y + p.height - 28, p.left + 8, app::shortest(length) + "um", light);
}

Grey::Grey(const Tensor& volume, double low_share, double high_share) : values_(volume) {
  if (volume.dtype() != DType::f32 || !volume.is(Layout::contiguous)) {
    values_ = empty(volume.shape(), {.dtype = DType::f32});
    copy(volume, values_);
  }
  const float* v = values_.data<float>();
  const std::int64_t n = values_.size();
  if (low_share <= 0 && high_share >= 1) {
    const auto [a, b] = std::minmax_element(v, v + n);
    low_ = *a, high_ = *b;
    return;
  }
  // A hundred thousand voxels tell a percentile well enough.
  std::vector<float> some;
  for (std::int64_t i = 0, step = std::max<std::int64_t>(1, n / 100003); i < n; i += step) some.push_back(v[i]);
  const auto of = [&](double share) {
    const auto k = static_cast<std::ptrdiff_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(some.size() - 1));
    std::nth_element(some.begin(), some.begin() + k, some.end());
    return static_cast<double>(some[static_cast<std::size_t>(k)]);
  };
  low_ = of(low_share), high_ = of(high_share);
}

double Grey::voxel(const Plane& p, std::int64_t row, std::int64_t column) const {
  const double v = values_.data<float>()[p.index(row, column, values_.shape())];
  return high_ > low_ ? std::clamp((v - low_) / (high_ - low_), 0.0, 1.0) : 0;
}

double Grey::at(const Plane& p, double row, double column) const {
  const double r = std::floor(row), c = std::floor(column), fr = row - r, fc = column - c;
  const auto i = static_cast<std::int64_t>(r), j = static_cast<std::int64_t>(c);
  return (1 - fr) * ((1 - fc) * voxel(p, i, j) + fc * voxel(p, i, j + 1)) +
         fr * ((1 - fc) * voxel(p, i + 1, j) + fc * voxel(p, i + 1, j + 1));
}

std::int64_t Grey::peak() const {
  const float* v = values_.data<float>();
  return std::max_element(v, v + values_.size()) - v;
}

}  // namespace cuboid
