// SPDX-License-Identifier: Apache-2.0
// A convolution's sizes as numbers, always in three dimensions: what is missing in front has size 1.
#pragma once
#include <algorithm>
#include <array>

#include "kernels/conv/conv.h"

namespace cuboid {

using Triple = std::array<std::int64_t, 3>;  // depth, height, width

/// Weights are K, C/groups, kernel, with the K of group 0 first. The padding at the end follows from the rest.
struct Geometry {
  DType dtype = DType::f32;
  std::int64_t samples = 1, in_channels = 1, out_channels = 1, groups = 1;
  Triple in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, pad_lo{0, 0, 0};
  bool bias = false;

  friend bool operator==(const Geometry&, const Geometry&) = default;

  static std::int64_t volume(const Triple& t) { return t[0] * t[1] * t[2]; }
  std::int64_t extent(std::size_t axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
  std::int64_t x_size() const { return samples * volume(in) * in_channels; }
  std::int64_t y_size() const { return samples * volume(out) * out_channels; }
  std::int64_t w_size() const { return out_channels * (in_channels / groups) * volume(kernel); }
  /// Padding taps counted.
  double flops() const {
    return 2.0 * static_cast<double>(y_size()) * static_cast<double>(in_channels / groups * volume(kernel));
  }
  /// What the definition needs: taps on padding left out.
  double valid_flops() const {
    double taps = 2.0 * static_cast<double>(samples * out_channels * (in_channels / groups));
    for (std::size_t axis = 0; axis < 3; ++axis) {
      std::int64_t along = 0;
      for (std::int64_t k = 0; k < kernel[axis]; ++k) {  // outputs o with 0 <= o * stride + offset < in
        const std::int64_t offset = k * dilation[axis] - pad_lo[axis];
        const std::int64_t first = offset >= 0 ? 0 : (-offset + stride[axis] - 1) / stride[axis];
        const std::int64_t end = in[axis] <= offset ? 0 : (in[axis] - offset + stride[axis] - 1) / stride[axis];
        along += std::max<std::int64_t>(0, std::min(out[axis], end) - first);
      }
      taps *= static_cast<double>(along);
    }
    return taps;
  }
};

inline Geometry geometry(DType dtype, const Shape& x, const Shape& w, const Shape& y, const ConvSpec& spec) {
  Geometry g;
  g.dtype = dtype;
  g.samples = x[0];
  g.in_channels = x[1];
  g.out_channels = y[1];
  g.groups = spec.groups;
  for (int i = 1; i <= spec.rank(); ++i) {
    const auto axis = static_cast<std::size_t>(3 - i);
    g.in[axis] = x[-i];
    g.out[axis] = y[-i];
    g.kernel[axis] = w[-i];
    g.stride[axis] = spec.stride[-i];
    g.dilation[axis] = spec.dilation[-i];
    g.pad_lo[axis] = spec.pad_lo[-i];
  }
  return g;
}

}  // namespace cuboid
