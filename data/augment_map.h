// SPDX-License-Identifier: Apache-2.0
// Resampling of volumes by one map of the y-x plane that all slices share, and another along z: what augment_labelled.h does,
// without its chances.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

class Random;

/// A place in the source plane; `fill`: there is nothing.
struct PlanePoint {
  double y = 0, x = 0;
  bool fill = false;
};

/// Where each pixel of an output plane comes from.
class PlaneMap {
 public:
  /// `place(i, j)` of output pixel (i, j), which must lie within the source plane unless it is a fill.
  PlaneMap(std::int64_t source_height, std::int64_t source_width, std::int64_t height, std::int64_t width,
           const std::function<PlanePoint(std::int64_t, std::int64_t)>& place);

  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }
  /// Floats of a source plane with its mirrored borders and a block of the fill value.
  std::size_t padded_size() const;
  /// Makes that of the source plane in the middle of `padded` (see middle()): borders and fill.
  void pad(float* padded, float fill) const;
  float* middle(float* padded) const { return padded + padded_width_ + 1; }
  std::int64_t padded_width() const { return padded_width_; }

  void linear(const float* padded, float* out) const;
  /// Of B-spline coefficients.
  void cubic(const float* padded, float* out) const;
  /// Fill is 0.
  template <class T>
  void nearest(const T* plane, T* out) const {
    for (std::size_t i = 0; i < nearest_.size(); ++i) out[i] = nearest_[i] < 0 ? T{0} : plane[nearest_[i]];
  }

 private:
  std::int64_t source_height_, source_width_, height_, width_, padded_width_;
  std::vector<std::int32_t> at_;          // of the pixel above and left of the place, in the padded plane
  std::vector<float> share_y_, share_x_;  // of the way to the next pixel
  std::vector<std::int32_t> nearest_;     // in the plane; -1: fill
};

/// Where an output slice comes from: between slices `low` and `low + 1`.
struct SlicePlace {
  std::int64_t low = 0;
  double share = 0;
  std::int64_t nearest() const { return share < 0.5 ? low : low + 1; }
};

/// f32 [D,H,W] through both maps; `cubic`: B-splines of order 3 along all axes with mirrored borders, as scipy.ndimage makes
/// them.
void resample(const float* from, const Shape& shape, const PlaneMap& plane, const std::vector<SlicePlace>& slices, bool cubic,
              float fill, float* to);
/// Labels, u8 or i32: of the nearest voxel.
void resample_nearest(const Tensor& from, const PlaneMap& plane, const std::vector<SlicePlace>& slices, const Tensor& to);

/// Values become the coefficients of the cubic B-spline through them, along one line of n values, `stride` apart, `lanes` such
/// lines beside each other. Unser, Aldroubi and Eden 1993.
void spline_coefficients(float* values, std::int64_t n, std::int64_t stride, std::int64_t lanes);

/// Uniform +-1 on each pixel, blurred by a Gaussian of `sigma` pixels, times alpha; drawn from `random`. For elastic
/// displacements.
std::vector<float> smooth_field(std::int64_t height, std::int64_t width, double alpha, double sigma, Random& random);

}  // namespace cuboid
