// SPDX-License-Identifier: Apache-2.0
#include "data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/random.h"

namespace cuboid {
namespace {

constexpr std::uint64_t augment_stream = 0x6175676d656e74;  // "augment"

/// Where each pixel of an output slice comes from: up to four source pixels and their weights. -1: the fill value.
struct PlaneMap {
  struct Corner {
    std::int32_t at = -1;
    float weight = 0;
  };
  std::vector<std::array<Corner, 4>> pixels;
  int corners = 1;
};

/// Rotation about the plane's centre by `degrees`, counter-clockwise as seen with y pointing down, then flips. The pixel
/// centre (x, y) relative to the middle comes from (x cos - y sin, x sin + y cos), as torchvision rotates tensors.
PlaneMap plane_map(std::int64_t height, std::int64_t width, const AugmentDraw& draw, Interpolation interpolation) {
  PlaneMap map;
  map.pixels.resize(static_cast<std::size_t>(height * width));
  const double angle = draw.degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  const double cx = static_cast<double>(width - 1) / 2, cy = static_cast<double>(height - 1) / 2;
  const bool linear = interpolation == Interpolation::linear && draw.degrees != 0;
  map.corners = linear ? 4 : 1;
  const auto place = [&](double x, double y) {
    const bool inside = x >= 0 && y >= 0 && x < static_cast<double>(width) && y < static_cast<double>(height);
    return inside ? static_cast<std::int32_t>(static_cast<std::int64_t>(y) * width + static_cast<std::int64_t>(x)) : -1;
  };
  for (std::int64_t i = 0; i < height; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const double x = static_cast<double>(draw.flip_x ? width - 1 - j : j) - cx;
      const double y = static_cast<double>(draw.flip_y ? height - 1 - i : i) - cy;
      const double from_x = draw.degrees == 0 ? x + cx : x * c - y * s + cx;
      const double from_y = draw.degrees == 0 ? y + cy : x * s + y * c + cy;
      auto& pixel = map.pixels[static_cast<std::size_t>(i * width + j)];
      if (!linear) {
        pixel[0] = {place(std::nearbyint(from_x), std::nearbyint(from_y)), 1};
        continue;
      }
      const double x0 = std::floor(from_x), y0 = std::floor(from_y);
      const auto fx = static_cast<float>(from_x - x0), fy = static_cast<float>(from_y - y0);
      pixel = {{{place(x0, y0), (1 - fx) * (1 - fy)},
                {place(x0 + 1, y0), fx * (1 - fy)},
                {place(x0, y0 + 1), (1 - fx) * fy},
                {place(x0 + 1, y0 + 1), fx * fy}}};
    }
  return map;
}

}  // namespace

AugmentDraw draw_augmentation(const AugmentOptions& o, std::uint64_t seed, std::int64_t epoch, std::int64_t sample) {
  Random random(RandomKey{seed, augment_stream, static_cast<std::uint64_t>(epoch)}.derive(static_cast<std::uint64_t>(sample)));
  // Every number is drawn whether it is used or not, so that switching one option on leaves the others as they were.
  AugmentDraw draw;
  draw.degrees = random.uniform(-1, 1) * o.rotate_degrees;
  draw.flip_x = random.chance(o.flip_x);
  draw.flip_y = random.chance(o.flip_y);
  draw.flip_z = random.chance(o.flip_z);
  draw.scale = 1 + random.uniform(-1, 1) * o.jitter_scale;
  draw.shift = random.uniform(-1, 1) * o.jitter_shift;
  return draw;
}

float background_of(const Tensor& volume) {
  check(volume.rank() == 4, "background: needs [C,D,H,W], got ", volume.shape());
  const std::int64_t planes = volume.dim(0) * volume.dim(1), depth = volume.dim(1), h = volume.dim(2), w = volume.dim(3);
  check(volume.size() > 0, "background: of no voxels");
  const float* p = volume.data<float>();
  std::vector<float> values;
  for (std::int64_t z = 0; z < planes; ++z) {
    const float* plane = p + z * h * w;
    if (z % depth == 0 || z % depth == depth - 1) {
      values.insert(values.end(), plane, plane + h * w);
      continue;
    }
    for (std::int64_t y = 0; y < h; ++y)
      if (y == 0 || y == h - 1) values.insert(values.end(), plane + y * w, plane + (y + 1) * w);
      else {
        values.push_back(plane[y * w]);
        if (w > 1) values.push_back(plane[y * w + w - 1]);
      }
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void augment(const Tensor& from, const Tensor& to, const AugmentDraw& draw, const AugmentOptions& options) {
  check(from.rank() == 4 && from.shape() == to.shape() && from.is(Layout::contiguous) && to.is(Layout::contiguous),
        "augment: needs two contiguous [C,D,H,W] of one shape, got ", from.shape(), " and ", to.shape());
  const std::int64_t channels = from.dim(0), depth = from.dim(1), height = from.dim(2), width = from.dim(3);
  const PlaneMap map = plane_map(height, width, draw, options.interpolation);
  const bool fills = draw.degrees != 0 && options.fill == RotationFill::background;
  const float background = fills ? background_of(from) : 0.0f;
  const float scale = static_cast<float>(draw.scale), shift = static_cast<float>(draw.shift);
  const bool jitter = scale != 1 || shift != 0;
  const std::int64_t area = height * width;
  const float* source = from.data<float>();
  float* target = to.mutable_data<float>();
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t z = 0; z < depth; ++z) {
      const float* in = source + (c * depth + (draw.flip_z ? depth - 1 - z : z)) * area;
      float* out = target + (c * depth + z) * area;
      for (std::int64_t i = 0; i < area; ++i) {
        const auto& pixel = map.pixels[static_cast<std::size_t>(i)];
        if (map.corners == 1) {
          out[i] = pixel[0].at < 0 ? background : in[pixel[0].at];
        } else {
          float sum = 0;
          for (const auto& corner : pixel) sum += corner.weight * (corner.at < 0 ? background : in[corner.at]);
          out[i] = sum;
        }
      }
      if (jitter)
        for (std::int64_t i = 0; i < area; ++i) out[i] = out[i] * scale + shift;
    }
}

}  // namespace cuboid
