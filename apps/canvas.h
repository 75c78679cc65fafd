// SPDX-License-Identifier: Apache-2.0
// Pictures of volumes: three planes through a voxel at their true proportions, and a canvas that knows letters and bars.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

using Rgb = std::array<std::uint8_t, 3>;

/// u8 (H,W,3), dark at first. What lies outside of it is not drawn.
class Canvas {
 public:
  Canvas(std::int64_t height, std::int64_t width);
  void put(std::int64_t y, std::int64_t x, const Rgb& c);
  void box(std::int64_t y, std::int64_t x, std::int64_t h, std::int64_t w, const Rgb& c);
  /// Letters of 10 x 14 pixels, 12 apart: a to z, digits, full stop, dash, blank.
  void text(std::int64_t y, std::int64_t x, const std::string& words, const Rgb& c);
  const Tensor& image() const { return image_; }

 private:
  Tensor image_;
  std::int64_t height_, width_;
  std::uint8_t* data_;
};

/// Okabe and Ito's palette: told apart by colour-blind eyes, and on grey.
Rgb palette_colour(std::int64_t i);

/// One plane of a (D,H,W) volume: rows along axis `down`, columns along `across`, at index `at` of the third axis; and where on a
/// canvas it stands.
struct Plane {
  const char* name;
  int down, across, fixed;
  std::int64_t at = 0;
  std::int64_t left = 0, height = 0, width = 0;  // pixels

  /// The voxel's row and column, as a fraction, that pixel (i,j) shows the middle of.
  std::array<double, 2> voxel(std::int64_t i, std::int64_t j, const Shape& shape) const {
    const auto place = [](std::int64_t pixel, std::int64_t pixels, std::int64_t voxels) {
      return (static_cast<double>(pixel) + 0.5) / static_cast<double>(pixels) * static_cast<double>(voxels) - 0.5;
    };
    return {place(i, height, shape[down]), place(j, width, shape[across])};
  }
  /// Place in memory of the voxel at row and column of this plane, those outside moved to the border.
  std::int64_t index(std::int64_t row, std::int64_t column, const Shape& shape) const;
};

/// xy, xz and yz side by side, the longest edge of the volume `height` pixels; `width` is that of all with gaps.
struct Planes {
  static constexpr std::int64_t gap = 10, top = 22;
  std::array<Plane, 3> planes;
  std::int64_t height = 0, width = 0;
  double scale = 1;  // pixels per µm, or per voxel where the spacing is not known
  bool known = false;

  Planes(const Shape& shape, const std::array<std::int64_t, 3>& through, const std::array<double, 3>& spacing_um,
         std::int64_t height);
  /// A bar of a round length in plane p whose picture begins at row `y`; nothing where the spacing is not known.
  void bar(Canvas& canvas, const Plane& p, std::int64_t y) const;
};

/// The values of a volume, linear in a window: from the least to the largest, or between two shares of the sorted values.
class Grey {
 public:
  explicit Grey(const Tensor& volume, double low_share = 0, double high_share = 1);
  /// 0 ... 1, linear between the four voxels around.
  double at(const Plane& p, double row, double column) const;
  bool flat() const { return high_ <= low_; }
  /// Place in memory of the largest value.
  std::int64_t peak() const;

 private:
  double voxel(const Plane& p, std::int64_t row, std::int64_t column) const;
  Tensor values_;  // f32
  double low_ = 0, high_ = 1;
};

}  // namespace cuboid
