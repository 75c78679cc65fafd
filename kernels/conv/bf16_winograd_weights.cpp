// SPDX-License-Identifier: Apache-2.0
// The weights' side of bf16_winograd_maps.h. A pair of neighbours in depth (input channels, or outputs for the turned weights)
// and 16 columns are worked on at a time.
#include "kernels/bf16_simd.h"
#include "kernels/conv/bf16_winograd_maps.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

#include "core/device.h"
#include "core/parallel.h"
#include "kernels/conv/bf16_panels.h"

namespace cuboid::bf {
namespace {

/// G w G^T: 3x3 weights -> 16 points.
[[gnu::always_inline]] inline void weight_tile(const Vec* w, Vec* to) {
  const Vec half = splat(0.5f);
  Vec down[12];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    const Vec sum = (w[j] + w[6 + j]) * half, middle = w[3 + j] * half;
    down[j] = w[j];
    down[3 + j] = sum + middle;
    down[6 + j] = sum - middle;
    down[9 + j] = w[6 + j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec *d = down + 3 * i, sum = (d[0] + d[2]) * half, middle = d[1] * half;
    to[4 * i] = d[0];
    to[4 * i + 1] = sum + middle;
    to[4 * i + 2] = sum - middle;
    to[4 * i + 3] = d[2];
  }
}

/// Its transpose: G^T p G.
[[gnu::always_inline]] inline void weight_tile_transposed(const Vec* p, Vec* to) {
  const Vec half = splat(0.5f);
  Vec down[12];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec sum = (p[4 + j] + p[8 + j]) * half;
    down[j] = p[j] + sum;
    down[4 + j] = (p[4 + j] - p[8 + j]) * half;
    down[8 + j] = p[12 + j] + sum;
  }
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
    const Vec *d = down + 4 * i, sum = (d[1] + d[2]) * half;
    to[3 * i] = d[0] + sum;
    to[3 * i + 1] = (d[1] - d[2]) * half;
    to[3 * i + 2] = d[3] + sum;
  }
}

/// Columns and rows of the panels as channels of w: element (column, row, tap) is at column * column_step + row * row_step + tap,
/// or counted from the last tap backwards.
struct Order {
  std::int64_t columns, column_step, rows, row_step;
  bool backwards;
};

void pack_points(const bf16* w, const Order& o, std::int64_t depth_taps, bf16* to) {
  const std::int64_t taps = depth_taps * 9, to_tap = o.columns * o.rows, to_point = depth_taps * to_tap;
  parallel_ranges(o.rows / 2, 4, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) bf16 block[2 * 27 * lanes];
    for (std::int64_t r = begin; r < end; ++r)
      for (std::int64_t column = 0; column < o.columns; column += lanes) {
        for (std::int64_t lane = 0; lane < lanes; ++lane)
          for (std::int64_t side = 0; side < 2; ++side) {
            const bf16* from = w + (column + lane) * o.column_step + (2 * r + side) * o.row_step;
            bf16* at = block + side * 27 * lanes + lane;
            if (o.backwards)
              for (std::int64_t k = 0; k < taps; ++k) at[k * lanes] = from[taps - 1 - k];
            else
              for (std::int64_t k = 0; k < taps; ++k) at[k * lanes] = from[k];
          }
        bf16* panel = to + (column / panel_width * panel_width * o.rows + r * 2 * panel_width) + column % panel_width * 2;
        for (std::int64_t d = 0; d < depth_taps; ++d) {
          Vec in[2][9], out[2][points];
          for (int side = 0; side < 2; ++side) {
            for (int k = 0; k < 9; ++k) in[side][k] = load(block + (side * 27 + d * 9 + k) * lanes);
            weight_tile(in[side], out[side]);
          }
          for (int i = 0; i < points; ++i) store_pairs(panel + d * to_tap + i * to_point, out[0][i], out[1][i]);
        }
      }
  });
}

}  // namespace

void weight_points(const bf16* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, bf16* to) {
  pack_points(w, {out, in * depth_taps * 9, in, depth_taps * 9, false}, depth_taps, to);
}
void weight_points_turned(const bf16* w, std::int64_t out, std::int64_t in, std::int64_t depth_taps, bf16* to) {
  pack_points(w, {in, depth_taps * 9, out, in * depth_taps * 9, true}, depth_taps, to);
}

void weight_points_transposed(float* parts, std::int64_t count, std::int64_t out, std::int64_t in, std::int64_t depth_taps,
                              bf16* dw) {
  const std::int64_t tap = in * out, point = depth_taps * tap, size = points * point, taps = depth_taps * 9;
  if (count > 1)  // first into one part, so that memory is read as it lies
    parallel_ranges(size, 8192, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; i += lanes) {
        Vec sum = load(parts + i);
        for (std::int64_t q = 1; q < count; ++q) sum += load(parts + q * size + i);
        store(parts + i, sum);
      }
    });
  parallel_ranges(in, 8, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) bf16 block[27 * lanes];
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t o = 0; o < out; o += lanes) {
        for (std::int64_t d = 0; d < depth_taps; ++d) {
          Vec sums[points], nine[9];
          for (int k = 0; k < points; ++k) sums[k] = load(parts + k * point + d * tap + i * out + o);
          weight_tile_transposed(sums, nine);
          for (int k = 0; k < 9; ++k) store(block + (d * 9 + k) * lanes, nine[k]);
        }
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          bf16* to = dw + ((o + lane) * in + i) * taps;
          for (std::int64_t k = 0; k < taps; ++k) to[k] = block[k * lanes + lane];
        }
      }
  });
}

}  // namespace cuboid::bf
#endif
