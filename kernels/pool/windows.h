// SPDX-License-Identifier: Apache-2.0
// The windows of a pooling, always in three dimensions: what is missing in front has size 1.
#pragma once
#include <algorithm>
#include <array>

#include "core/view.h"
#include "kernels/pool/pool.h"

namespace cuboid {

using Triple = std::array<std::int64_t, 3>;  // depth, height, width

/// [begin, end) along one axis.
struct Span {
  std::int64_t begin, end;
  std::int64_t length() const { return end - begin; }
};

struct Windows {
  std::int64_t samples, channels;
  Triple in{1, 1, 1}, out{1, 1, 1}, size{1, 1, 1}, stride{1, 1, 1}, lo{}, hi{};
  bool count_include_pad;

  Windows(const Shape& x, const Shape& y, const PoolSpec& spec)
      : samples(x[0]), channels(x[1]), count_include_pad(spec.count_include_pad) {
    for (int i = 1; i <= spec.size.rank(); ++i) {
      const auto a = static_cast<std::size_t>(3 - i);
      in[a] = x[-i];
      out[a] = y[-i];
      size[a] = spec.size[-i];
      stride[a] = spec.stride.empty() ? spec.size[-i] : spec.stride[-i];
      lo[a] = spec.pad_lo.empty() ? 0 : spec.pad_lo[-i];
      hi[a] = spec.pad_hi.empty() ? 0 : spec.pad_hi[-i];
    }
  }
  static std::int64_t volume(const Triple& t) { return t[0] * t[1] * t[2]; }

  /// The inputs that output o covers.
  Span inputs(std::size_t a, std::int64_t o) const {
    const std::int64_t begin = o * stride[a] - lo[a];
    return {std::max<std::int64_t>(0, begin), std::min(in[a], begin + size[a])};
  }
  /// The outputs that cover input i.
  Span outputs(std::size_t a, std::int64_t i) const {
    const std::int64_t reach = i + lo[a] - size[a];  // the last window start that misses i is at most this
    const std::int64_t begin = reach < 0 ? 0 : reach / stride[a] + 1;
    return {begin, std::min(out[a], (i + lo[a]) / stride[a] + 1)};
  }
  /// What the average of output o divides by, along one axis.
  std::int64_t divisor(std::size_t a, std::int64_t o) const {
    const std::int64_t begin = o * stride[a] - lo[a];
    return count_include_pad ? std::min(in[a] + hi[a], begin + size[a]) - begin : inputs(a, o).length();
  }
  double share(const Triple& o) const { return 1. / static_cast<double>(divisor(0, o[0]) * divisor(1, o[1]) * divisor(2, o[2])); }
  std::int64_t input_at(std::int64_t d, std::int64_t h, std::int64_t w) const { return (d * in[1] + h) * in[2] + w; }
  std::int64_t output_at(std::int64_t d, std::int64_t h, std::int64_t w) const { return (d * out[1] + h) * out[2] + w; }
};

inline Triple unflatten(std::int64_t v, const Triple& size) {
  return {v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]};
}

}  // namespace cuboid
