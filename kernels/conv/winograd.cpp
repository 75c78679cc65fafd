// SPDX-License-Identifier: Apache-2.0
// 3x3x3 convolutions of f32 with a third of the multiplications: the maps of winograd_maps.h over bands of each plane, the
// planes of three depth taps in a ring. The gradient of the input is the same convolution with the weights turned round.
#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/panels.h"
#include "kernels/conv/rows.h"
#include "kernels/conv/winograd_maps.h"
#include "kernels/simd.h"

namespace cuboid::winograd {
namespace {

using namespace simd;

/// What one task computes: planes [d0, d1) of sample n, lines [y0, y0 + band.h).
struct Unit {
  std::int64_t n, d0, d1, y0;
  Tiling band;
};

/// Tiles two high: sums over hundreds of channels keep the digit that four would cost.
Tiling tiling_of(const Geometry& g) { return {g.in[1], g.in[2]}; }

std::vector<Unit> units_of(const Geometry& g) {
  const auto [d, h, w] = g.in;
  const std::int64_t lines = tiling_of(g).lines_at_a_time();
  const std::int64_t planes = std::max<std::int64_t>(8, (d + 3) / 4);
  std::vector<Unit> units;
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t d0 = 0; d0 < d; d0 += planes)
      for (std::int64_t y0 = 0; y0 < h; y0 += lines)
        units.push_back({n, d0, std::min(d, d0 + planes), y0, {std::min(lines, h - y0), w}});
  return units;
}

/// Lines y0 - 1, y0, ... of a plane with a border of zeros.
void pad_band(const Unit& u, std::int64_t h, std::int64_t channels, const float* plane, float* padded) {
  const std::int64_t line = u.band.w * channels, padded_line = u.band.padded_w() * channels;
  for (std::int64_t i = 0; i < u.band.padded_h(); ++i, padded += padded_line) {
    const std::int64_t y = u.y0 - 1 + i;
    if (y < 0 || y >= h) {
      std::fill_n(padded, padded_line, 0.f);
      continue;
    }
    std::fill_n(padded, channels, 0.f);
    std::copy_n(plane + y * line, line, padded + channels);
    std::fill(padded + channels + line, padded + padded_line, 0.f);
  }
}

void add_bias(const float* bias, std::int64_t channels, std::int64_t pixels, float* y) {
  for (std::int64_t i = 0; i < pixels; ++i, y += channels)
    for (std::int64_t c = 0; c < channels; ++c) y[c] += bias[c];
}

/// The points of the last three planes of x.
class Ring {
 public:
  Ring(const Geometry& g, const Unit& u, const float* x)
      : g_(g),
        u_(u),
        x_(x),
        next_(std::max<std::int64_t>(0, u.d0 - 1)),
        v_point_(point_stride(u.band.count(), g.in_channels)),
        padded_(u.band.padded_count() * g.in_channels),
        v_(3 * u.band.points() * v_point_) {}
  /// Makes planes up to and with `last`, where the volume has them.
  void reach(std::int64_t last) {
    for (; next_ <= std::min(last, g_.in[0] - 1); ++next_) {
      const std::int64_t plane = g_.in[1] * g_.in[2] * g_.in_channels;
      pad_band(u_, g_.in[1], g_.in_channels, x_ + (u_.n * g_.in[0] + next_) * plane, padded_.data());
      input_points(u_.band, g_.in_channels, padded_.data(), plane_of(next_), v_point_);
    }
  }
  const float* plane(std::int64_t d) const { return plane_of(d); }

 private:
  float* plane_of(std::int64_t d) const { return v_.data() + d % 3 * u_.band.points() * v_point_; }
  const Geometry& g_;
  const Unit& u_;
  const float* x_;
  std::int64_t next_, v_point_;
  Scratch<float> padded_, v_;
};

void convolve(const Geometry& g, const Unit& u, const float* x, const float* weights, const float* bias, float* y) {
  const Tiling& t = u.band;
  const auto [d, h, w] = g.in;
  const std::int64_t in = g.in_channels, out = g.out_channels, rows = t.count();
  const std::int64_t v_point = point_stride(rows, in), y_point = point_stride(rows, out);
  const Scratch<float> points(t.points() * y_point);
  Ring ring(g, u, x);
  for (std::int64_t o = u.d0; o < u.d1; ++o) {
    ring.reach(o + 1);
    const std::int64_t first = std::max<std::int64_t>(0, o - 1), last = std::min(d - 1, o + 1);
    for (std::int64_t p = 0; p < t.points(); ++p) {
      Product products[3];
      for (std::int64_t i = first; i <= last; ++i)
        products[i - first] = {{ring.plane(i) + p * v_point, in, 1},
                               {weights + (p * 3 + i - o + 1) * in * out, in * panel_width, panel_width}};
      gemm(rows, out, in, {products, static_cast<std::size_t>(last - first + 1)}, points.data() + p * y_point, out, false);
    }
    float* band = y + (((u.n * d + o) * h) + u.y0) * w * out;
    output_plane(t, out, points.data(), y_point, band, out);
    if (bias) add_bias(bias, out, t.h * w, band);
  }
}

void run(const Geometry& g, const float* x, const float* w, const float* bias, float* y) {
  const Tiling t = tiling_of(g);
  const Scratch<float> weights(t.points() * 3 * g.in_channels * g.out_channels);
  weight_points(t, w, g.out_channels, g.in_channels, 3, weights.data());
  const std::vector<Unit> units = units_of(g);
  parallel_for(static_cast<std::int64_t>(units.size()),
               [&](std::int64_t i) { convolve(g, units[static_cast<std::size_t>(i)], x, weights.data(), bias, y); });
}

/// One task's share of the weights' gradient, as points [point][tap][in][out], added to `part`.
void correlate(const Geometry& g, const Unit& u, const float* x, const float* dy, float* part) {
  const Tiling& t = u.band;
  const auto [d, h, w] = g.in;
  const std::int64_t in = g.in_channels, out = g.out_channels, rows = t.count();
  const std::int64_t v_point = point_stride(rows, in), y_point = point_stride(rows, out);
  const Scratch<float> points(t.points() * y_point);
  Ring ring(g, u, x);
  for (std::int64_t o = u.d0; o < u.d1; ++o) {
    ring.reach(o + 1);
    output_plane_transposed(t, out, dy + (((u.n * d + o) * h) + u.y0) * w * out, w, points.data(), y_point);
    for (std::int64_t p = 0; p < t.points(); ++p)
      for (std::int64_t i = std::max<std::int64_t>(0, o - 1); i <= std::min(d - 1, o + 1); ++i)
        gemm(in, out, rows, {ring.plane(i) + p * v_point, 1, in}, {points.data() + p * y_point, panel_width, out},
             part + (p * 3 + i - o + 1) * in * out, out, true);
  }
}

/// Where it was measured to win: planes of some size, channels for whole panels.
bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  constexpr Triple three{3, 3, 3}, one{1, 1, 1};
  if (lanes < 8 || x.dtype != DType::f32 || x.rank() != 5) return false;
  if (!x.is(Layout::channels_last) || !y.is(Layout::channels_last) || !w.is(Layout::contiguous)) return false;
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  return g.kernel == three && g.stride == one && g.dilation == one && g.pad_lo == one && g.in == g.out && g.groups == 1 &&
         g.in_channels % 64 == 0 && g.out_channels % 64 == 0 && g.in_channels <= 256 && g.out_channels <= 256 && g.in[1] >= 16 &&
         g.in[2] >= 16;
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return (!bias.data || bias.is(Layout::contiguous)) && fits(x, w, y, spec);
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) { return fits(dx, w, g, spec); }
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  run(geometry(x.dtype, x.shape, w.shape, y.shape, spec), x.as<float>(), w.as<float>(), bias.as<float>(), y.as<float>());
}

void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  Geometry back = geometry(g.dtype, dx.shape, w.shape, g.shape, spec);
  std::swap(back.in_channels, back.out_channels);
  const std::int64_t from = back.in_channels, to = back.out_channels;  // w is [from][to][27]
  const Scratch<float> turned(back.w_size());
  for (std::int64_t k = 0; k < from; ++k)
    for (std::int64_t c = 0; c < to; ++c)
      std::reverse_copy(w.as<float>() + (k * to + c) * 27, w.as<float>() + (k * to + c + 1) * 27,
                        turned.data() + (c * from + k) * 27);
  run(back, g.as<float>(), turned.data(), nullptr, dx.as<float>());
}

void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry own = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  const Tiling t = tiling_of(own);
  const std::vector<Unit> units = units_of(own);
  const auto count = static_cast<std::int64_t>(units.size()), parts = std::min<std::int64_t>(count, 16);
  const std::int64_t size = t.points() * 3 * own.in_channels * own.out_channels;
  const Scratch<float> sums(parts * size);
  parallel_for(parts, [&](std::int64_t k) {  // every sixteenth task adds to the same part, in order
    std::fill_n(sums.data() + k * size, size, 0.f);
    for (std::int64_t i = k; i < count; i += parts)
      correlate(own, units[static_cast<std::size_t>(i)], x.as<float>(), g.as<float>(), sums.data() + k * size);
  });
  weight_points_transposed(t, sums.data(), parts, own.out_channels, own.in_channels, 3, dw.as<float>());
}

}  // namespace cuboid::winograd
