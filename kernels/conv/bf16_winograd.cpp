// SPDX-License-Identifier: Apache-2.0
// Convolutions 3x3x3 and 3x3 of bf16 with 2.25 times fewer multiplications: the maps of bf16_winograd_maps.h over bands of each
// plane, the planes of three depth taps in a ring. The gradient of the input is the same convolution with the weights turned
// round.
#include "kernels/bf16_simd.h"
#include "kernels/conv/rows.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv/bf16_panels.h"
#include "kernels/conv/bf16_winograd_maps.h"
#include "kernels/conv/geometry.h"

namespace cuboid::bf::winograd {
namespace {

/// What one task computes: planes [d0, d1) of sample n, a band of each.
struct Unit {
  std::int64_t n, d0, d1;
  Band band;
};
std::vector<Unit> units_of(const Geometry& g, std::int64_t most_tiles) {
  const std::int64_t planes = std::max<std::int64_t>(8, (g.in[0] + 3) / 4);
  std::vector<Unit> units;
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t d = 0; d < g.in[0]; d += planes)
      for (const Band& b : bands_of(g.in[1], g.in[2], most_tiles)) units.push_back({n, d, std::min(d + planes, g.in[0]), b});
  return units;
}

/// A band of one plane [h * w][channels] with its border.
void pad(const Band& b, std::int64_t channels, const bf16* plane, bf16* padded) {
  const std::int64_t line = b.w * channels, padded_line = b.padded_w() * channels;
  for (std::int64_t i = 0; i < b.padded_h(); ++i, padded += padded_line) {
    const std::int64_t y = 2 * b.first - 1 + i;
    if (y < 0 || y >= b.h) {
      std::fill_n(padded, padded_line, bf16());
      continue;
    }
    std::fill_n(padded, channels, bf16());
    std::copy_n(plane + y * line, line, padded + channels);
    std::fill(padded + channels + line, padded + padded_line, bf16());
  }
}

/// The points of the last planes of x, as rows or as rows of pairs.
class Ring {
 public:
  Ring(const Geometry& g, const Unit& u, std::int64_t channels, const bf16* x, decltype(input_points)* map)
      : g_(g),
        u_(u),
        channels_(channels),
        x_(x),
        map_(map),
        half_(g.kernel[0] / 2),
        next_(std::max<std::int64_t>(0, u.d0 - half_)),
        point_(point_stride(u.band.count(), channels)),
        padded_(u.band.padded_count() * channels),
        data_(g.kernel[0] * points * point_) {}
  /// Makes the planes that output plane o reads.
  void reach(std::int64_t o) {
    for (; next_ <= std::min(o + half_, g_.in[0] - 1); ++next_) {
      pad(u_.band, channels_, x_ + (u_.n * g_.in[0] + next_) * g_.in[1] * g_.in[2] * channels_, padded_.data());
      map_(u_.band, 1, channels_, padded_.data(), at(next_), point_);
    }
  }
  const bf16* point(std::int64_t d, std::int64_t p) const { return at(d) + p * point_; }

 private:
  bf16* at(std::int64_t d) const { return data_.data() + d % g_.kernel[0] * points * point_; }
  const Geometry& g_;
  const Unit& u_;
  std::int64_t channels_;
  const bf16* x_;
  decltype(input_points)* map_;
  std::int64_t half_, next_, point_;
  Scratch<bf16> padded_, data_;
};

struct Span {
  std::int64_t first, last;
};
/// The input planes that output plane o reads.
Span planes_of(const Geometry& g, std::int64_t o) {
  const std::int64_t half = g.kernel[0] / 2;
  return {std::max<std::int64_t>(0, o - half), std::min(g.in[0] - 1, o + half)};
}

/// in -> out channels with weights as panels of points.
void convolve(const Geometry& g, const Unit& u, std::int64_t in, std::int64_t out, const bf16* x, const bf16* weights,
              const float* bias, bf16* y) {
  const std::int64_t rows = u.band.count(), taps = g.kernel[0], y_point = point_stride(rows, out);
  const Scratch<float> results(points * y_point);
  Ring ring(g, u, in, x, input_points);
  for (std::int64_t o = u.d0; o < u.d1; ++o) {
    ring.reach(o);
    const auto [first, last] = planes_of(g, o);
    for (std::int64_t p = 0; p < points; ++p) {
      Product products[3];
      for (std::int64_t i = first; i <= last; ++i)
        products[i - first] = {{ring.point(i, p), in, 2},
                               {weights + (p * taps + i - o + taps / 2) * in * out, in * panel_width, 2 * panel_width}};
      gemm(rows, out, in / 2, {products, static_cast<std::size_t>(last - first + 1)}, results.data() + p * y_point, out, false);
    }
    output_band(u.band, out, results.data(), y_point, y + (u.n * g.in[0] + o) * g.in[1] * g.in[2] * out, out, bias);
  }
}

void run(const Geometry& g, std::int64_t in, std::int64_t out, const bf16* x, const bf16* weights, const float* bias, bf16* y) {
  const std::vector<Unit> units = units_of(g, 64);
  parallel_for(static_cast<std::int64_t>(units.size()),
               [&](std::int64_t i) { convolve(g, units[static_cast<std::size_t>(i)], in, out, x, weights, bias, y); });
}

/// One task's share of the weights' gradient, as points [point][tap][in][out], added to `part`.
void correlate(const Geometry& g, const Unit& u, const bf16* x, const bf16* dy, float* part) {
  const std::int64_t in = g.in_channels, out = g.out_channels, row_pairs = (u.band.count() + 1) / 2, taps = g.kernel[0];
  const std::int64_t y_point = point_stride(u.band.count(), out);
  const Scratch<bf16> padded(u.band.padded_count() * out), gradient(points * y_point);
  Ring ring(g, u, in, x, input_pairs);
  for (std::int64_t o = u.d0; o < u.d1; ++o) {
    ring.reach(o);
    pad(u.band, out, dy + (u.n * g.in[0] + o) * g.in[1] * g.in[2] * out, padded.data());
    output_pairs_transposed(u.band, 1, out, padded.data(), gradient.data(), y_point);
    const auto [first, last] = planes_of(g, o);
    for (std::int64_t p = 0; p < points; ++p)
      for (std::int64_t i = first; i <= last; ++i)
        gemm(in, out, row_pairs, {ring.point(i, p), 2, 2 * in}, {gradient.data() + p * y_point, 2 * panel_width, 2 * out},
             part + (p * taps + i - o + taps / 2) * in * out, out, true);
  }
}

/// Planes of some size and enough of them, so that it is not the weights' points that the time goes to.
bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  if (x.dtype != DType::bf16 || x.rank() < 4) return false;
  if (!x.is(Layout::channels_last) || !y.is(Layout::channels_last) || !w.is(Layout::contiguous)) return false;
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  constexpr Triple one{1, 1, 1};
  const bool three = g.kernel == Triple{3, 3, 3} && g.pad_lo == one,
             flat = g.kernel == Triple{1, 3, 3} && g.pad_lo == Triple{0, 1, 1};
  return (three || flat) && g.stride == one && g.dilation == one && g.in == g.out && g.groups == 1 && g.in_channels % 32 == 0 &&
         g.out_channels % 32 == 0 && g.in_channels <= 256 && g.out_channels <= 256 && g.in[1] >= 8 && g.in[2] >= 8 &&
         g.samples * Geometry::volume(g.in) >= 2048;
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return (!bias.data || bias.is(Layout::contiguous)) && fits(x, w, y, spec);
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) { return fits(dx, w, g, spec); }
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  const Scratch<bf16> weights(points * g.kernel[0] * g.in_channels * g.out_channels);
  weight_points(w.as<bf16>(), g.out_channels, g.in_channels, g.kernel[0], weights.data());
  const Scratch<float> shift(bias.data ? g.out_channels : 1);
  for (std::int64_t k = 0; bias.data && k < g.out_channels; ++k) shift[k] = static_cast<float>(bias.as<bf16>()[k]);
  run(g, g.in_channels, g.out_channels, x.as<bf16>(), weights.data(), bias.data ? shift.data() : nullptr, y.as<bf16>());
}

void conv_input(const View& dy, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(dy.dtype, dx.shape, w.shape, dy.shape, spec);
  const Scratch<bf16> weights(points * g.kernel[0] * g.in_channels * g.out_channels);
  weight_points_turned(w.as<bf16>(), g.out_channels, g.in_channels, g.kernel[0], weights.data());
  run(g, g.out_channels, g.in_channels, dy.as<bf16>(), weights.data(), nullptr, dx.as<bf16>());
}

void conv_weight(const View& dy, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, dw.shape, dy.shape, spec);
  const std::vector<Unit> units = units_of(g, 128);
  const std::int64_t size = points * g.kernel[0] * g.in_channels * g.out_channels;
  const std::int64_t count = static_cast<std::int64_t>(units.size());
  const std::int64_t parts = std::min(count, std::clamp<std::int64_t>((16 << 20) / size, 4, 16));
  const Scratch<float> sums(parts * size);
  parallel_for(parts, [&](std::int64_t k) {
    std::fill_n(sums.data() + k * size, size, 0.f);
    for (std::int64_t i = count * k / parts; i < count * (k + 1) / parts; ++i)
      correlate(g, units[static_cast<std::size_t>(i)], x.as<bf16>(), dy.as<bf16>(), sums.data() + k * size);
  });
  weight_points_transposed(sums.data(), parts, g.out_channels, g.in_channels, g.kernel[0], dw.as<bf16>());
}

}  // namespace cuboid::bf::winograd
#else
namespace cuboid::bf::winograd {
bool forward_fits(const View&, const View&, const View&, const Out&, const ConvSpec&, Storage*) { return false; }
bool input_fits(const View&, const View&, const Out&, const ConvSpec&, Storage*) { return false; }
bool weight_fits(const View&, const View&, const Out&, const ConvSpec&) { return false; }
void conv_forward(const View&, const View&, const View&, const Out&, const ConvSpec&, Storage*) {}
void conv_input(const View&, const View&, const Out&, const ConvSpec&, Storage*) {}
void conv_weight(const View&, const View&, const Out&, const ConvSpec&) {}
}  // namespace cuboid::bf::winograd
#endif
