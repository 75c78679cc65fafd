// SPDX-License-Identifier: Apache-2.0
// The weights' gradient as matrix products. Units are cut by shape alone; partial sums are added in their order.
#if CUBOID_ONEDNN
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv/units.h"

namespace cuboid::onednn {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

void add_parts(const float* parts, std::int64_t pieces, std::int64_t count, float* result) {
  parallel_ranges(count, 4096, [&](std::int64_t begin, std::int64_t end) {
    if (result != parts) std::copy(parts + begin, parts + end, result + begin);
    for (std::int64_t p = 1; p < pieces; ++p)
      for (std::int64_t i = begin; i < end; ++i) result[i] += parts[p * count + i];
  });
}

void pointwise_weights(const Geometry& g, const float* x, const float* dy, float* dw) {
  const std::int64_t pixels = g.samples * Geometry::volume(g.in), c = g.in_channels, k = g.out_channels;
  const std::int64_t most = std::max<std::int64_t>(1, (32 << 20) / (4 * g.w_size()));
  const std::int64_t pieces = std::min({pixels / 2048, most, std::int64_t{32}});
  if (pieces > 2) {  // many pixels: sums over parts of them
    const std::int64_t length = ceil_div(pixels, pieces), count = ceil_div(pixels, length);
    const Scratch<float> parts(count * k * c);
    parallel_for(count, [&](std::int64_t i) {
      const std::int64_t begin = i * length, n = std::min(length, pixels - begin);
      sgemm(true, false, k, c, n, 1, dy + begin * k, k, x + begin * c, c, 0, parts.data() + i * k * c, c);
    });
    add_parts(parts.data(), count, k * c, dw);
    return;
  }
  constexpr std::int64_t rows = 128, columns = 256;  // few pixels: blocks of the result
  const std::int64_t across = ceil_div(c, columns);
  parallel_for(ceil_div(k, rows) * across, [&](std::int64_t i) {
    const std::int64_t r = i / across * rows, s = i % across * columns;
    sgemm(true, false, std::min(rows, k - r), std::min(columns, c - s), pixels, 1, dy + r, k, x + s, c, 0, dw + r * c + s, c);
  });
}

void tap_weights(const Geometry& g, const float* x, const float* dy, float* dw) {
  const std::int64_t c = g.in_channels, k = g.out_channels, taps = Geometry::volume(g.kernel);
  const std::int64_t x_step = Geometry::volume(g.in) * c, y_step = Geometry::volume(g.out) * k;
  const std::int64_t group = std::clamp<std::int64_t>(1024 / Geometry::volume(g.out), 1, g.samples);
  const Scratch<float> by_tap(taps * k * c);
  parallel_for(taps, [&](std::int64_t tap) {
    struct Pair {
      std::int64_t x, y;  // offsets of the two voxels within a sample
    };
    std::vector<Pair> pairs;
    const Triple t{tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]};
    for (std::int64_t v = 0; v < Geometry::volume(g.out); ++v) {
      const Triple o{v / (g.out[1] * g.out[2]), v / g.out[2] % g.out[1], v % g.out[2]};
      std::int64_t at = 0;
      bool inside = true;
      for (std::size_t a = 0; a < 3; ++a) {
        const std::int64_t i = o[a] * g.stride[a] - g.pad_lo[a] + t[a] * g.dilation[a];
        inside = inside && i >= 0 && i < g.in[a];
        at = at * g.in[a] + i;
      }
      if (inside) pairs.push_back({at * c, v * k});
    }
    float* result = by_tap.data() + tap * k * c;
    if (pairs.empty()) {
      std::fill_n(result, k * c, 0.f);
      return;
    }
    const auto per_sample = static_cast<std::int64_t>(pairs.size());
    const Scratch<float> rows_x(group * per_sample * c), rows_y(group * per_sample * k);
    for (std::int64_t n = 0; n < g.samples; n += group) {
      const std::int64_t samples = std::min(group, g.samples - n);
      float *px = rows_x.data(), *py = rows_y.data();
      for (std::int64_t s = n; s < n + samples; ++s)
        for (const Pair& p : pairs) {
          px = std::copy_n(x + s * x_step + p.x, c, px);
          py = std::copy_n(dy + s * y_step + p.y, k, py);
        }
      sgemm(true, false, k, c, samples * per_sample, 1, rows_y.data(), k, rows_x.data(), c, n == 0 ? 0.f : 1.f, result, c);
    }
  });
  parallel_ranges(k * c, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t tap = 0; tap < taps; ++tap) dw[i * taps + tap] = by_tap[tap * k * c + i];
  });
}

namespace {

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

template <class T>
void patches(const Geometry& g, const T* x, const T* dy, float* dw) {
  const std::int64_t c = g.in_channels, k = g.out_channels, taps = Geometry::volume(g.kernel), rows = c * taps;
  const std::int64_t planes = g.samples * g.out[0], ow = g.out[2];
  const std::int64_t lines = std::clamp<std::int64_t>(256 / ow, 1, g.out[1]);  // output lines per product
  const std::int64_t most = std::max<std::int64_t>(1, (32 << 20) / (4 * rows * k));
  const std::int64_t length = ceil_div(planes, std::min({planes, most, std::int64_t{64}})), pieces = ceil_div(planes, length);
  const Scratch<float> parts(pieces * rows * k);
  parallel_for(pieces, [&](std::int64_t piece) {
    float* part = parts.data() + piece * rows * k;
    Lines input(g);
    const Scratch<float> matrix(rows * lines * ow), wide(std::is_same_v<T, float> ? 0 : lines * ow * k);
    float beta = 0;
    for (std::int64_t plane = piece * length; plane < std::min(planes, (piece + 1) * length); ++plane) {
      input.load(x + plane / g.out[0] * Geometry::volume(g.in) * c, plane % g.out[0]);
      for (std::int64_t oh = 0; oh < g.out[1]; oh += lines) {
        const std::int64_t n = std::min(lines, g.out[1] - oh), pixels = n * ow;
        float* to = matrix.data();
        for (std::int64_t ic = 0; ic < c; ++ic)
          for (std::int64_t t = 0; t < taps; ++t)
            for (std::int64_t l = 0; l < n; ++l)
              to = std::copy_n(
                  input.tap(t / (g.kernel[1] * g.kernel[2]), t / g.kernel[2] % g.kernel[1], t % g.kernel[2], ic, oh + l), ow, to);
        const T* from = dy + (plane * g.out[1] + oh) * ow * k;
        const float* gradient = nullptr;
        if constexpr (std::is_same_v<T, float>) {
          gradient = from;
        } else {
          for (std::int64_t i = 0; i < pixels * k; ++i) wide[i] = static_cast<float>(from[i]);
          gradient = wide.data();
        }
        sgemm(false, false, rows, k, pixels, 1, matrix.data(), pixels, gradient, k, beta, part, k);
        beta = 1;
      }
    }
  });
  const Scratch<float> sum(rows * k);
  add_parts(parts.data(), pieces, rows * k, sum.data());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < k; ++o) dw[o * rows + r] = sum[r * k + o];
}

}  // namespace

void patch_weights(const Geometry& g, const void* x, const void* dy, float* dw) {
  if (g.dtype == DType::f32) patches(g, static_cast<const float*>(x), static_cast<const float*>(dy), dw);
  else patches(g, static_cast<const bf16*>(x), static_cast<const bf16*>(dy), dw);
}

}  // namespace cuboid::onednn
#endif
