// SPDX-License-Identifier: Apache-2.0
// The windows of a pooling, always in three dimensions: what is missing in front has size 1.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "core/view.h"
#include "kernels/pool/pool.h"

namespace cuboid {

using Triple = std::array<std::int64_t, 3>;  // depth, height, width

/// [begin, end) along one axis.
template <class I>
struct SpanOf {
  I begin, end;
};
using Span = SpanOf<std::int64_t>;

/// The windows along one axis.
template <class I>
struct WindowAxis {
  I in = 1, out = 1, size = 1, stride = 1, lo = 0, hi = 0;

  /// The inputs that output o covers.
  CUBOID_HD SpanOf<I> inputs(I o) const {
    const I begin = o * stride - lo, end = begin + size;
    return {begin > 0 ? begin : 0, end < in ? end : in};
  }
  /// The outputs that cover input i.
  CUBOID_HD SpanOf<I> outputs(I i) const {
    const I before = i + lo - size, end = (i + lo) / stride + 1;
    return {before < 0 ? 0 : before / stride + 1, end < out ? end : out};
  }
  /// What the sum over output o's window is divided by for the average.
  CUBOID_HD I divisor(I o, bool count_include_pad) const {
    const SpanOf<I> inside = inputs(o);
    if (!count_include_pad) return inside.end - inside.begin;
    const I begin = o * stride - lo, end = begin + size;
    return (end < in + hi ? end : in + hi) - begin;
  }
};

/// The three axes of a pooling of x to y.
template <class I = std::int64_t>
std::array<WindowAxis<I>, 3> window_axes(const Shape& x, const Shape& y, const PoolSpec& spec) {
  std::array<WindowAxis<I>, 3> axes;
  for (int i = 1; i <= spec.size.rank(); ++i) {
    WindowAxis<I>& axis = axes[static_cast<std::size_t>(3 - i)];
    axis.in = static_cast<I>(x[-i]);
    axis.out = static_cast<I>(y[-i]);
    axis.size = static_cast<I>(spec.size[-i]);
    axis.stride = spec.stride.empty() ? axis.size : static_cast<I>(spec.stride[-i]);
    axis.lo = spec.pad_lo.empty() ? 0 : static_cast<I>(spec.pad_lo[-i]);
    axis.hi = spec.pad_hi.empty() ? 0 : static_cast<I>(spec.pad_hi[-i]);
  }
  return axes;
}

struct Windows {
  std::int64_t samples, channels;
  Triple in{}, out{}, size{};

  Windows(const Shape& x, const Shape& y, const PoolSpec& spec) : samples(x[0]), channels(x[1]) {
    const auto axes = window_axes(x, y, spec);
    for (std::size_t a = 0; a < 3; ++a) {
      in[a] = axes[a].in;
      out[a] = axes[a].out;
      size[a] = axes[a].size;
      for (std::int64_t o = 0; o < out[a]; ++o) {
        inputs_[a].push_back(axes[a].inputs(o));
        shares_[a].push_back(1. / static_cast<double>(axes[a].divisor(o, spec.count_include_pad)));
      }
      for (std::int64_t i = 0; i < in[a]; ++i) outputs_[a].push_back(axes[a].outputs(i));
    }
  }
  static std::int64_t volume(const Triple& t) { return t[0] * t[1] * t[2]; }

  /// The inputs that output o covers.
  const Span& inputs(std::size_t a, std::int64_t o) const { return inputs_[a][static_cast<std::size_t>(o)]; }
  /// The outputs that cover input i.
  const Span& outputs(std::size_t a, std::int64_t i) const { return outputs_[a][static_cast<std::size_t>(i)]; }
  /// What the sum over output o's window is multiplied by for the average.
  double share(const Triple& o) const {
    double product = 1;
    for (std::size_t a = 0; a < 3; ++a) product *= shares_[a][static_cast<std::size_t>(o[a])];
    return product;
  }
  std::int64_t input_at(std::int64_t d, std::int64_t h, std::int64_t w) const { return (d * in[1] + h) * in[2] + w; }
  std::int64_t output_at(std::int64_t d, std::int64_t h, std::int64_t w) const { return (d * out[1] + h) * out[2] + w; }

 private:
  // Along each axis, so that the loops need no division.
  std::array<std::vector<Span>, 3> inputs_, outputs_;
  std::array<std::vector<double>, 3> shares_;
};

inline Triple unflatten(std::int64_t v, const Triple& size) {
  return {v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]};
}

}  // namespace cuboid
