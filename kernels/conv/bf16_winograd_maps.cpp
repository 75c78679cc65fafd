// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/bf16_winograd_maps.h"

#include "kernels/bf16_simd.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

namespace cuboid::bf {
namespace {

/// B^T x of four vectors `step` apart, in place.
template <int step>
[[gnu::always_inline]] inline void input_map(Vec* x) {
  const Vec a = x[0] - x[2 * step], b = x[step] + x[2 * step], c = x[2 * step] - x[step], d = x[step] - x[3 * step];
  x[0] = a;
  x[step] = b;
  x[2 * step] = c;
  x[3 * step] = d;
}

/// One tile's points from the 4x4 inputs at `corner`, lines `line` elements apart.
[[gnu::always_inline]] inline void input_tile(const bf16* corner, std::int64_t line, std::int64_t channels, Vec* x) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) x[4 * i + j] = load(corner + i * line + j * channels);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) input_map<4>(x + j);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) input_map<1>(x + 4 * i);
}

/// A^T m A: 16 points -> 2x2 outputs.
[[gnu::always_inline]] inline void output_tile(const float* from, std::int64_t from_point, Vec* y) {
  Vec half[8];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec m1 = load(from + (4 + j) * from_point), m2 = load(from + (8 + j) * from_point);
    half[j] = load(from + j * from_point) + m1 + m2;
    half[4 + j] = m1 - m2 - load(from + (12 + j) * from_point);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const Vec* m = half + 4 * i;
    y[2 * i] = m[0] + m[1] + m[2];
    y[2 * i + 1] = m[1] - m[2] - m[3];
  }
}

/// A g A^T: 2x2 numbers -> 16 points.
[[gnu::always_inline]] inline void output_tile_transposed(const bf16* corner, std::int64_t line, std::int64_t channels, Vec* x) {
  Vec half[8];
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    const Vec a = load(corner + j * channels), b = load(corner + line + j * channels);
    half[j] = a;
    half[2 + j] = a + b;
    half[4 + j] = a - b;
    half[6 + j] = -b;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec a = half[2 * i], b = half[2 * i + 1];
    x[4 * i] = a;
    x[4 * i + 1] = a + b;
    x[4 * i + 2] = a - b;
    x[4 * i + 3] = -b;
  }
}

/// Where the 4x4 inputs of a row's tile begin in the padded planes.
struct Corners {
  const Band& b;
  std::int64_t channels;
  const bf16* padded;
  const bf16* of(std::int64_t row) const {
    const std::int64_t n = row / b.count(), y = row / b.wide() % b.tall, x = row % b.wide();
    return padded + (n * b.padded_count() + 2 * y * b.padded_w() + 2 * x) * channels;
  }
};

/// f(corner, x) makes the points of one tile; two tiles at a time become pairs.
template <class F>
void tiles_as_pairs(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                    std::int64_t to_point, const F& f) {
  const std::int64_t rows = samples * b.count();
  const Corners corners{b, channels, padded};
  for (std::int64_t r = 0; r < rows; r += 2, to += 2 * channels) {
    const bf16 *first = corners.of(r), *second = r + 1 < rows ? corners.of(r + 1) : nullptr;
    for (std::int64_t c = 0; c < channels; c += lanes) {
      Vec x[points], y[points] = {};
      f(first + c, x);
      if (second) f(second + c, y);
#pragma GCC unroll 16
      for (int i = 0; i < points; ++i) store_pairs(to + i * to_point + 2 * c, x[i], y[i]);
    }
  }
}

/// f(tile, line, column) for each tile of a band, with the tile's first pixel in the plane.
template <class F>
void each_tile(const Band& b, const F& f) {
  for (std::int64_t i = 0, y = 2 * b.first; y < 2 * (b.first + b.tall); y += 2)
    for (std::int64_t x = 0; x < 2 * b.wide(); x += 2, ++i) f(i, y, x);
}

}  // namespace

std::vector<Band> bands_of(std::int64_t h, std::int64_t w, std::int64_t most) {
  const std::int64_t tall = (h + 1) / 2, wide = (w + 1) / 2, lines = std::max<std::int64_t>(1, most / wide);
  const std::int64_t count = (tall + lines - 1) / lines, each = (tall + count - 1) / count;
  std::vector<Band> bands;
  for (std::int64_t first = 0; first < tall; first += each) bands.push_back({h, w, first, std::min(each, tall - first)});
  return bands;
}

// ---- activations ----------------------------------------------------------------------------------

void input_points(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                  std::int64_t to_point) {
  const Corners corners{b, channels, padded};
  const std::int64_t line = b.padded_w() * channels;
  for (std::int64_t r = 0; r < samples * b.count(); ++r, to += channels) {
    const bf16* corner = corners.of(r);
    for (std::int64_t c = 0; c < channels; c += 2 * lanes) {
      Vec low[points], high[points];
      input_tile(corner + c, line, channels, low);
      input_tile(corner + c + lanes, line, channels, high);
#pragma GCC unroll 16
      for (int i = 0; i < points; ++i) store(to + i * to_point + c, low[i], high[i]);
    }
  }
}

void input_pairs(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                 std::int64_t to_point) {
  const std::int64_t line = b.padded_w() * channels;
  tiles_as_pairs(b, samples, channels, padded, to, to_point,
                 [&](const bf16* corner, Vec* x) { input_tile(corner, line, channels, x); });
}

void output_pairs_transposed(const Band& b, std::int64_t samples, std::int64_t channels, const bf16* padded, bf16* to,
                             std::int64_t to_point) {
  const std::int64_t line = b.padded_w() * channels;
  tiles_as_pairs(b, samples, channels, padded, to, to_point,
                 [&](const bf16* corner, Vec* x) { output_tile_transposed(corner + line + channels, line, channels, x); });
}

void output_band(const Band& b, std::int64_t channels, const float* from, std::int64_t from_point, bf16* plane,
                 std::int64_t pixel, const float* bias) {
  each_tile(b, [&](std::int64_t tile, std::int64_t y, std::int64_t x) {
    for (std::int64_t c = 0; c < channels; c += 2 * lanes) {
      Vec low[4], high[4];
      output_tile(from + tile * channels + c, from_point, low);
      output_tile(from + tile * channels + c + lanes, from_point, high);
      if (bias)
        for (int i = 0; i < 4; ++i) {
          low[i] += load(bias + c);
          high[i] += load(bias + c + lanes);
        }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j)
          if (y + i < b.h && x + j < b.w) store(plane + ((y + i) * b.w + x + j) * pixel + c, low[2 * i + j], high[2 * i + j]);
    }
  });
}

void output_band_backward(const Band& b, std::int64_t channels, const float* from, std::int64_t from_point, const Behind& behind,
                          bf16* to, float* sums) {
  const Vec slope = splat(behind.slope);
  each_tile(b, [&](std::int64_t tile, std::int64_t y, std::int64_t x) {
    for (std::int64_t c = 0; c < channels; c += lanes) {
      Vec g[4];
      output_tile(from + tile * channels + c, from_point, g);
      const Vec scale = load(behind.scale + c), shift = load(behind.shift + c), mean = load(behind.mean + c);
      Vec sum = load(sums + c), product = load(sums + channels + c);
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) {
          if (y + i >= b.h || x + j >= b.w) continue;
          const std::int64_t at = ((y + i) * b.w + x + j) * channels + c;
          const Vec z = load(behind.z + at), da = activate_backward(g[2 * i + j], z * scale + shift, slope);
          store(to + at, da);
          sum += da;
          product += da * (z - mean);
        }
      store(sums + c, sum);
      store(sums + channels + c, product);
    }
  });
}

}  // namespace cuboid::bf
#endif
