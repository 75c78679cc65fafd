// SPDX-License-Identifier: Apache-2.0
// Convolutions to very few channels, f32: vectors run over the input channels. oneDNN's own kernels are ten times slower there.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/rows.h"
#include "kernels/conv/units.h"
#include "kernels/simd.h"

namespace cuboid::slim {
namespace {

using simd::lanes, simd::load, simd::Vec;

constexpr std::int64_t most_outputs = 4;

struct Range {
  std::int64_t begin, end;
};
/// Taps of one axis that meet the volume from output `at`.
Range taps(const Geometry& g, std::size_t axis, std::int64_t at) {
  const std::int64_t first = at - g.pad_lo[axis];
  return {std::max<std::int64_t>(0, -first), std::min(g.kernel[axis], g.in[axis] - first)};
}

/// P neighbouring outputs from (d, h, w) on, all of whose taps along the width `across` meet the volume. w lies [taps][channels].
template <int P>
void pixels(const Geometry& g, const float* x, const float* w, float bias, std::int64_t d, std::int64_t h, std::int64_t at,
            Range across, float* y, std::int64_t step) {
  const std::int64_t channels = g.in_channels;
  const Range down = taps(g, 0, d), along = taps(g, 1, h);
  Vec sums[P] = {};
  for (std::int64_t i = down.begin; i < down.end; ++i)
    for (std::int64_t j = along.begin; j < along.end; ++j) {
      const std::int64_t line = (d - g.pad_lo[0] + i) * g.in[1] + h - g.pad_lo[1] + j;
      const float* from = x + (line * g.in[2] + at - g.pad_lo[2] + across.begin) * channels;
      const float* by = w + ((i * g.kernel[1] + j) * g.kernel[2] + across.begin) * channels;
      for (std::int64_t c = 0; c < (across.end - across.begin) * channels; c += lanes) {  // taps lie side by side, as voxels do
        const Vec weight = load(by + c);
        for (int p = 0; p < P; ++p) sums[p] += weight * load(from + p * channels + c);
      }
    }
  for (int p = 0; p < P; ++p) {
    float sum = bias;
    for (int lane = 0; lane < lanes; ++lane) sum += sums[p][lane];
    y[p * step] = sum;
  }
}

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  if (x.dtype != DType::f32 || y.dim(1) > most_outputs || x.dim(1) % 16 != 0 || x.dim(1) % lanes != 0) return false;
  if (!x.is(Layout::channels_last) || !y.is(Layout::channels_last) || !w.is(Layout::contiguous)) return false;
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  constexpr Triple one{1, 1, 1};
  bool inside = Geometry::volume(g.kernel) > 1 && g.stride == one && g.dilation == one && g.groups == 1;
  for (std::size_t a = 0; a < 3; ++a)  // "same" or smaller: each window meets the volume
    inside = inside && g.pad_lo[a] < g.kernel[a] && g.out[a] + g.kernel[a] - 1 - g.in[a] - g.pad_lo[a] < g.kernel[a];
  return inside;
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return (!bias.data || bias.is(Layout::contiguous)) && fits(x, w, y, spec);
}

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  const std::int64_t volume = Geometry::volume(g.kernel), in = g.in_channels, out = g.out_channels;
  const Scratch<float> weights(g.w_size());  // [out][taps][in]
  for (std::int64_t k = 0; k < out; ++k)
    for (std::int64_t c = 0; c < in; ++c)
      for (std::int64_t tap = 0; tap < volume; ++tap)
        weights[(k * volume + tap) * in + c] = w.as<float>()[(k * in + c) * volume + tap];
  const std::int64_t lines = g.samples * g.out[0] * g.out[1];
  parallel_ranges(lines, std::max<std::int64_t>(1, 4096 / g.out[2]), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::int64_t n = line / (g.out[0] * g.out[1]), d = line / g.out[1] % g.out[0], h = line % g.out[1];
      const float* from = x.as<float>() + n * Geometry::volume(g.in) * in;
      for (std::int64_t k = 0; k < out; ++k) {
        const float* by = weights.data() + k * volume * in;
        const float shift = bias.data ? bias.as<float>()[k] : 0;
        float* to = y.as<float>() + line * g.out[2] * out + k;
        for (std::int64_t at = 0; at < g.out[2];) {
          const Range across = taps(g, 2, at);
          const bool whole = across.begin == 0 && at + 7 - g.pad_lo[2] + g.kernel[2] <= g.in[2] && at + 8 <= g.out[2];
          if (whole) pixels<8>(g, from, by, shift, d, h, at, across, to + at * out, out);
          else pixels<1>(g, from, by, shift, d, h, at, across, to + at * out, out);
          at += whole ? 8 : 1;
        }
      }
    }
  });
}

#if CUBOID_ONEDNN
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

/// dw[k][c][tap] = sum over v of g[v][k] x[v + tap][c], which is what a stem sees whose input is g and whose output x, with the
/// taps counted from the other end.
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry own = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  Geometry stem = own;
  std::swap(stem.in, stem.out);
  std::swap(stem.in_channels, stem.out_channels);
  for (std::size_t a = 0; a < 3; ++a) stem.pad_lo[a] = own.kernel[a] - 1 - own.pad_lo[a];
  const std::int64_t volume = Geometry::volume(own.kernel), k = own.out_channels, c = own.in_channels;
  const Scratch<float> turned(own.w_size());  // [c][k][taps]
  onednn::stem_weights(stem, g.data, x.data, turned.data());
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = 0; j < c; ++j)
      std::reverse_copy(turned.data() + (j * k + i) * volume, turned.data() + (j * k + i + 1) * volume,
                        dw.as<float>() + (i * c + j) * volume);
}
#endif

}  // namespace cuboid::slim
