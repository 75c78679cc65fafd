// SPDX-License-Identifier: Apache-2.0
// A convolution, or the gradient of its input, as one matrix product: row m is a voxel of the result, column n one of its
// channels, and k runs over (tap, channel) of the source. What a row reads through a tap lies a fixed way from where the
// row's voxel lies, so a thread works out its rows once and a tap is an addition and a test.
//
// The input's gradient at stride s falls into s phases per axis: voxels of one phase see the same taps, each at its own
// distance, and none that would only add zeros.
#pragma once
#include <algorithm>
#include <utility>

#include "core/hd.h"
#include "kernels/conv/geometry.h"

namespace cuboid {

/// n / d for 0 <= n < 2^31, by a multiplication (Granlund and Montgomery 1994).
struct Divisor {
  std::uint32_t d = 1, multiplier = 0, shift = 0;

  Divisor() = default;
  explicit Divisor(std::int64_t divisor) : d(static_cast<std::uint32_t>(divisor)) {
    if (d == 1) return;
    std::uint32_t log = 0;
    while ((std::uint64_t{1} << log) < d) ++log;
    const std::uint32_t p = 31 + log;
    multiplier = static_cast<std::uint32_t>(((std::uint64_t{1} << p) + d - 1) / d);
    shift = p - 32;
  }
  CUBOID_HD int divide(int n) const {
    const auto wide = static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * multiplier;
    return d == 1 ? n : static_cast<int>(static_cast<std::uint32_t>(wide >> 32) >> shift);
  }
  /// The remainder; n becomes the quotient.
  CUBOID_HD int take(int& n) const {
    const int q = divide(n), r = n - q * static_cast<int>(d);
    n = q;
    return r;
  }
};

/// One phase of one axis: its results lie at phase + j * dest_step for j < size, and through its i-th tap result j reads
/// source j * source_step + first_offset + i * offset_step.
struct AxisPhase {
  int taps, first_tap, first_offset, size;
};

struct Gather {
  static constexpr int most_phases = 4;  // per axis
  static constexpr int most_taps = 10;   // of a phase, per axis: one bit each

  int samples, groups, channels, results;  // per group: of the source, of the result
  int source[3], dest[3], source_step[3], dest_step[3], offset_step[3], tap_step[3], kernel[3], phases[3];
  AxisPhase axis[3][most_phases] = {};

  /// y = conv(x, w).
  static Gather forward(const Geometry& g) {
    Gather a(g, g.in, g.out, g.in_channels, g.out_channels);
    for (int i = 0; i < 3; ++i) {
      const auto at = static_cast<std::size_t>(i);
      a.phases[i] = a.dest_step[i] = a.tap_step[i] = 1;
      a.source_step[i] = static_cast<int>(g.stride[at]);
      a.offset_step[i] = static_cast<int>(g.dilation[at]);
      a.axis[i][0] = {a.kernel[i], 0, static_cast<int>(-g.pad_lo[at]), a.dest[i]};
    }
    return a;
  }
  /// dx = conv_input(g, w): voxel i reads output (i + pad - tap * dilation) / stride where that is whole.
  static Gather backward(const Geometry& g) {
    Gather a(g, g.out, g.in, g.out_channels, g.in_channels);
    for (int i = 0; i < 3; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const int stride = static_cast<int>(g.stride[at]), dilation = static_cast<int>(g.dilation[at]);
      const int pad = static_cast<int>(g.pad_lo[at]);
      int common = stride;  // every (stride / common)-th tap is whole again
      for (int b = dilation; b != 0;) common = std::exchange(b, common % b);
      a.phases[i] = a.dest_step[i] = stride;
      a.source_step[i] = 1;
      a.tap_step[i] = stride / common;
      a.offset_step[i] = -dilation / common;
      for (int r = 0; r < std::min(stride, most_phases); ++r) {
        AxisPhase& p = a.axis[i][r];
        p.first_tap = 0;
        while (p.first_tap < a.kernel[i] && (r + pad - p.first_tap * dilation) % stride != 0) ++p.first_tap;
        p.taps = (a.kernel[i] - p.first_tap + a.tap_step[i] - 1) / a.tap_step[i];
        p.first_offset = (r + pad - p.first_tap * dilation) / stride;
        p.size = (a.dest[i] - r + stride - 1) / stride;
      }
    }
    return a;
  }

  bool fits() const {
    for (int i = 0; i < 3; ++i)
      for (int r = 0; r < phases[i]; ++r)
        if (phases[i] > most_phases || axis[i][r].taps > most_taps) return false;
    return true;
  }
  int all_phases() const { return phases[0] * phases[1] * phases[2]; }
  /// Rows of the largest phase, and of its sums.
  std::int64_t rows() const { return std::int64_t{samples} * axis[0][0].size * axis[1][0].size * axis[2][0].size; }
  std::int64_t depth() const {
    std::int64_t taps = channels;
    for (int i = 0; i < 3; ++i) {
      int most = 0;
      for (int r = 0; r < phases[i]; ++r) most = std::max(most, axis[i][r].taps);
      taps *= most;
    }
    return taps;
  }
  CUBOID_HD int all_taps() const { return kernel[0] * kernel[1] * kernel[2]; }

 private:
  Gather(const Geometry& g, const Triple& from, const Triple& to, std::int64_t from_channels, std::int64_t to_channels)
      : samples(static_cast<int>(g.samples)),
        groups(static_cast<int>(g.groups)),
        channels(static_cast<int>(from_channels / g.groups)),
        results(static_cast<int>(to_channels / g.groups)) {
    for (std::size_t i = 0; i < 3; ++i) {
      source[i] = static_cast<int>(from[i]);
      dest[i] = static_cast<int>(to[i]);
      kernel[i] = static_cast<int>(g.kernel[i]);
    }
  }
};

}  // namespace cuboid
