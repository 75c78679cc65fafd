// SPDX-License-Identifier: Apache-2.0
#include "apps/contours.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "apps/canvas.h"

namespace cuboid {
namespace {

Tensor as_i32(const Tensor& x) {
  if (!x.defined() || (x.dtype() == DType::i32 && x.is(Layout::contiguous))) return x;
  Tensor y = empty(x.shape(), {.dtype = DType::i32});
  copy(x, y);
  return y;
}

/// Draws the inner border, two pixels wide, of every label of the plane; the picture begins at row `top`.
template <class ColourOf>
void outline(Canvas& canvas, const Tensor& labels, const Plane& p, std::int64_t top, ColourOf colour_of) {
  const auto* v = labels.data<std::int32_t>();
  std::vector<std::int32_t> shown(static_cast<std::size_t>(p.height * p.width));
  for (std::int64_t i = 0; i < p.height; ++i)
    for (std::int64_t j = 0; j < p.width; ++j) {
      const auto [row, column] = p.voxel(i, j, labels.shape());
      shown[static_cast<std::size_t>(i * p.width + j)] = v[p.index(std::lround(row), std::lround(column), labels.shape())];
    }
  for (std::int64_t i = 0; i < p.height; ++i)
    for (std::int64_t j = 0; j < p.width; ++j) {
      const std::int32_t own = shown[static_cast<std::size_t>(i * p.width + j)];
      if (own == 0) continue;
      bool border = false;
      for (std::int64_t di = -2; di <= 2 && !border; ++di)
        for (std::int64_t dj = -2; dj <= 2 && !border; ++dj) {
          const std::int64_t y = i + di, x = j + dj;
          border = y >= 0 && x >= 0 && y < p.height && x < p.width && shown[static_cast<std::size_t>(y * p.width + x)] != own;
        }
      if (border) canvas.put(top + i, p.left + j, colour_of(own));
    }
}

}  // namespace

std::array<std::int64_t, 3> middle_of(const Tensor& given) {
  const Tensor labels = as_i32(given);
  const auto* v = labels.data<std::int32_t>();
  const std::int64_t D = labels.dim(0), H = labels.dim(1), W = labels.dim(2);
  struct Sum {
    double z = 0, y = 0, x = 0, n = 0;
  } touching, all;
  const auto opposite = [](std::int32_t a, std::int32_t b) { return (a == 1 && b == 2) || (a == 2 && b == 1); };
  for (std::int64_t z = 0, i = 0; z < D; ++z)
    for (std::int64_t y = 0; y < H; ++y)
      for (std::int64_t x = 0; x < W; ++x, ++i) {
        if (v[i] == 0) continue;
        const auto add = [&](Sum& s) {
          s.z += static_cast<double>(z), s.y += static_cast<double>(y), s.x += static_cast<double>(x), s.n += 1;
        };
        add(all);
        // a cleft of one voxel is no distance
        const bool meets = (x + 1 < W && opposite(v[i], v[i + 1])) || (x + 2 < W && opposite(v[i], v[i + 2])) ||
                           (y + 1 < H && opposite(v[i], v[i + W])) || (y + 2 < H && opposite(v[i], v[i + 2 * W])) ||
                           (z + 1 < D && opposite(v[i], v[i + H * W])) || (z + 2 < D && opposite(v[i], v[i + 2 * H * W]));
        if (meets) add(touching);
      }
  const Sum& s = touching.n > 0 ? touching : all;
  if (s.n == 0) return {D / 2, H / 2, W / 2};
  const double cz = s.z / s.n, cy = s.y / s.n, cx = s.x / s.n;
  std::array<std::int64_t, 3> best = {D / 2, H / 2, W / 2};
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t z = 0, i = 0; z < D; ++z)
    for (std::int64_t y = 0; y < H; ++y)
      for (std::int64_t x = 0; x < W; ++x, ++i) {
        if (v[i] == 0) continue;
        const double dz = static_cast<double>(z) - cz, dy = static_cast<double>(y) - cy, dx = static_cast<double>(x) - cx;
        const double far = dz * dz + dy * dy + dx * dx;
        if (far < least) least = far, best = {z, y, x};
      }
  return best;
}

Tensor contours(const Tensor& image, const Tensor& truth_labels, const Tensor& predicted_labels, const ContourOptions& o) {
  const Tensor truth = as_i32(truth_labels), prediction = as_i32(predicted_labels);
  for (const Tensor* labels : {&truth, &prediction})
    check(!labels->defined() || labels->shape() == image.shape(), "contours: image ", image.shape(), ", labels ",
          labels->defined() ? labels->shape() : Shape{});
  std::array<std::int64_t, 3> through = o.through;
  if (through[0] < 0) {
    if (truth.defined()) through = middle_of(truth);
    else if (prediction.defined()) through = middle_of(prediction);
    else through = {image.dim(0) / 2, image.dim(1) / 2, image.dim(2) / 2};
  }
  const Grey grey(image, 0.005, 0.9995);
  const Planes layout(image.shape(), through, o.spacing_um, o.height);
  constexpr std::int64_t gap = Planes::gap, top = Planes::top;
  const std::int64_t below = top + layout.height + gap;
  Canvas canvas(below + layout.height + gap, layout.width);
  const Rgb light = {225, 225, 225};
  for (const Plane& p : layout.planes) {
    for (std::int64_t i = 0; i < p.height; ++i)
      for (std::int64_t j = 0; j < p.width; ++j) {
        const auto [row, column] = p.voxel(i, j, image.shape());
        const auto g = static_cast<std::uint8_t>(std::lround(255 * grey.at(p, row, column)));
        canvas.put(top + i, p.left + j, {g, g, g});
        canvas.put(below + i, p.left + j, {g, g, g});
      }
    if (truth.defined()) outline(canvas, truth, p, below, [](std::int32_t) { return Rgb{255, 255, 255}; });
    if (prediction.defined()) outline(canvas, prediction, p, below, [](std::int32_t label) { return palette_colour(label - 1); });
    canvas.text(4, p.left, p.name, light);
    layout.bar(canvas, p, top);
  }
  return canvas.image();
}

}  // namespace cuboid
