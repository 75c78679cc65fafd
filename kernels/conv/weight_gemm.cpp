// SPDX-License-Identifier: Apache-2.0
// The weights' gradient as matrix products. Units are cut by shape alone; partial sums are added in their order.
#if CUBOID_ONEDNN
#include <algorithm>
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

}  // namespace cuboid::onednn
#endif
