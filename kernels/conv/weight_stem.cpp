// SPDX-License-Identifier: Apache-2.0
// The weights' gradient of a convolution with very few input channels (a stem): too little to fill vectors with inputs,
// so the vectors run over output channels and the taps of a kernel row share each load of dy.
#if CUBOID_ONEDNN
#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv/units.h"

namespace cuboid::onednn {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::int64_t width = 16;
using Vector = float __attribute__((vector_size(64), aligned(4)));
const Vector& vector_at(const float* p) { return *reinterpret_cast<const Vector*>(p); }
Vector& vector_at(float* p) { return *reinterpret_cast<Vector*>(p); }

/// The input lines that one plane of outputs reads, split by channel and by position modulo the stride, with zeros for
/// the padding: the inputs of one tap for a whole output line then lie side by side.
class Lines {
 public:
  explicit Lines(const Geometry& g)
      : g_(g),
        length_(g.out[2] + g.extent(2) / g.stride[2] + 1),
        height_((g.out[1] - 1) * g.stride[1] + g.extent(1)),
        data_(g.kernel[0] * height_ * g.in_channels * g.stride[2] * length_) {}

  /// Reads what output plane `od` of the sample at x needs.
  template <class T>
  void load(const T* x, std::int64_t od) {
    for (std::int64_t kd = 0; kd < g_.kernel[0]; ++kd)
      for (std::int64_t h = 0; h < height_; ++h) {
        const std::int64_t d = od * g_.stride[0] - g_.pad_lo[0] + kd * g_.dilation[0], ih = h - g_.pad_lo[1];
        float* line = at(kd, h, 0, 0);
        std::fill_n(line, g_.in_channels * g_.stride[2] * length_, 0.f);
        if (d < 0 || d >= g_.in[0] || ih < 0 || ih >= g_.in[1]) continue;
        const T* from = x + (d * g_.in[1] + ih) * g_.in[2] * g_.in_channels;
        for (std::int64_t c = 0; c < g_.in_channels; ++c)
          for (std::int64_t phase = 0; phase < g_.stride[2]; ++phase) {
            float* to = line + (c * g_.stride[2] + phase) * length_;
            // position in the padded line: j * stride + phase
            const std::int64_t first = std::max<std::int64_t>(0, ceil_div(g_.pad_lo[2] - phase, g_.stride[2]));
            for (std::int64_t j = first; j < length_; ++j) {
              const std::int64_t w = j * g_.stride[2] + phase - g_.pad_lo[2];
              if (w >= g_.in[2]) break;
              to[j] = static_cast<float>(from[w * g_.in_channels + c]);
            }
          }
      }
  }
  /// Floats from the inputs of an output line to those of the next one.
  std::int64_t line_step() const { return g_.stride[1] * g_.in_channels * g_.stride[2] * length_; }
  /// The inputs of tap (kd, kh, kw) in channel c for the output line `oh`.
  const float* tap(std::int64_t kd, std::int64_t kh, std::int64_t kw, std::int64_t c, std::int64_t oh) const {
    const std::int64_t at_w = kw * g_.dilation[2];
    return at(kd, oh * g_.stride[1] + kh * g_.dilation[1], c, at_w % g_.stride[2]) + at_w / g_.stride[2];
  }

 private:
  float* at(std::int64_t kd, std::int64_t h, std::int64_t c, std::int64_t phase) const {
    return data_.data() + (((kd * height_ + h) * g_.in_channels + c) * g_.stride[2] + phase) * length_;
  }
  const Geometry& g_;
  std::int64_t length_, height_;
  Scratch<float> data_;
};

/// out[r][k] += sum over lines and their voxels j of x[r][j] * dy[j][k], for `taps` rows r and `vectors` * 16 columns k.
struct Block {
  const float* x[8];  // one per tap
  std::int64_t x_step;
  const float* dy;
  std::int64_t dy_step;  // between voxels
  std::int64_t lines, voxels;
  float* out;
  std::int64_t out_step;
};

template <int taps, int vectors>
void correlate(const Block& b) {
  Vector sum[taps][vectors];
  for (int r = 0; r < taps; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = vector_at(b.out + r * b.out_step + v * width);
  for (std::int64_t line = 0; line < b.lines; ++line) {
    const float* dy = b.dy + line * b.voxels * b.dy_step;
    for (std::int64_t j = 0; j < b.voxels; ++j, dy += b.dy_step) {
      Vector d[vectors];
      for (int v = 0; v < vectors; ++v) d[v] = vector_at(dy + v * width);
      for (int r = 0; r < taps; ++r) {
        const float x = b.x[r][line * b.x_step + j];
        for (int v = 0; v < vectors; ++v) sum[r][v] += x * d[v];
      }
    }
  }
  for (int r = 0; r < taps; ++r)
    for (int v = 0; v < vectors; ++v) vector_at(b.out + r * b.out_step + v * width) = sum[r][v];
}

template <int vectors>
void correlate(int taps, const Block& b) {
  static constexpr void (*all[])(const Block&) = {correlate<1, vectors>, correlate<2, vectors>, correlate<3, vectors>,
                                                  correlate<4, vectors>, correlate<5, vectors>, correlate<6, vectors>,
                                                  correlate<7, vectors>, correlate<8, vectors>};
  all[taps - 1](b);
}

/// dy of `voxels` voxels as f32, channels padded with zeros to a multiple of the vector width.
template <class T>
void widen(const T* from, std::int64_t voxels, std::int64_t channels, std::int64_t padded, float* to) {
  for (std::int64_t v = 0; v < voxels; ++v, from += channels, to += padded) {
    for (std::int64_t c = 0; c < channels; ++c) to[c] = static_cast<float>(from[c]);
    std::fill(to + channels, to + padded, 0.f);
  }
}

template <class T>
void correlate_all(const Geometry& g, const T* x, const T* dy, float* dw) {
  const std::int64_t c = g.in_channels, k = g.out_channels, padded = ceil_div(k, width) * width;
  const std::int64_t taps = Geometry::volume(g.kernel), rows = c * taps, planes = g.samples * g.out[0], ow = g.out[2];
  // Output lines at a time: their dy stays in the first-level cache while all taps pass over it.
  const std::int64_t lines = std::clamp<std::int64_t>((24 << 10) / (4 * ow * padded), 1, g.out[1]);
  const std::int64_t most = std::max<std::int64_t>(1, (32 << 20) / (4 * rows * padded));
  const std::int64_t length = ceil_div(planes, std::min({planes, most, std::int64_t{64}})), pieces = ceil_div(planes, length);
  const Scratch<float> parts(pieces * rows * padded);
  parallel_for(pieces, [&](std::int64_t piece) {
    float* part = parts.data() + piece * rows * padded;
    std::fill_n(part, rows * padded, 0.f);
    Lines input(g);
    const Scratch<float> wide(lines * ow * padded);
    for (std::int64_t plane = piece * length; plane < std::min(planes, (piece + 1) * length); ++plane) {
      input.load(x + plane / g.out[0] * Geometry::volume(g.in) * c, plane % g.out[0]);
      for (std::int64_t oh = 0; oh < g.out[1]; oh += lines) {
        const std::int64_t n = std::min(lines, g.out[1] - oh);
        widen(dy + (plane * g.out[1] + oh) * ow * k, n * ow, k, padded, wide.data());
        for (std::int64_t row = 0; row < rows / g.kernel[2]; ++row) {  // a kernel row of one channel
          const std::int64_t ic = row / (g.kernel[0] * g.kernel[1]), kd = row / g.kernel[1] % g.kernel[0], kh = row % g.kernel[1];
          for (std::int64_t kw = 0; kw < g.kernel[2]; kw += 8) {
            const int count = static_cast<int>(std::min<std::int64_t>(8, g.kernel[2] - kw));
            Block b{{}, input.line_step(), wide.data(), padded, n, ow, part + (row * g.kernel[2] + kw) * padded, padded};
            for (int r = 0; r < count; ++r) b.x[r] = input.tap(kd, kh, kw + r, ic, oh);
            std::int64_t at = 0;
            for (; at + 2 * width <= padded; at += 2 * width, b.dy += 2 * width, b.out += 2 * width) correlate<2>(count, b);
            if (at < padded) correlate<1>(count, b);
          }
        }
      }
    }
  });
  const Scratch<float> sum(rows * padded);
  add_parts(parts.data(), pieces, rows * padded, sum.data());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < k; ++o) dw[o * rows + r] = sum[r * padded + o];
}

}  // namespace

void stem_weights(const Geometry& g, const void* x, const void* dy, float* dw) {
  if (g.dtype == DType::f32) correlate_all(g, static_cast<const float*>(x), static_cast<const float*>(dy), dw);
  else correlate_all(g, static_cast<const bf16*>(x), static_cast<const bf16*>(dy), dw);
}

}  // namespace cuboid::onednn
#endif
