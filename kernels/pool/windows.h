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
struct Span {
  std::int64_t begin, end;
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
    for (std::size_t a = 0; a < 3; ++a) {
      outputs_[a].assign(static_cast<std::size_t>(in[a]), {out[a], 0});
      for (std::int64_t o = 0; o < out[a]; ++o) {
        const std::int64_t begin = o * stride[a] - lo[a], end = begin + size[a];
        const Span inside{std::max<std::int64_t>(0, begin), std::min(in[a], end)};
        inputs_[a].push_back(inside);
        for (std::int64_t i = inside.begin; i < inside.end; ++i) {
          Span& s = outputs_[a][static_cast<std::size_t>(i)];
          s = {std::min(s.begin, o), o + 1};
        }
        const std::int64_t divisor = count_include_pad ? std::min(in[a] + hi[a], end) - begin : inside.end - inside.begin;
        shares_[a].push_back(1. / static_cast<double>(divisor));
      }
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
