// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/panels.h"

#include <algorithm>

#include "kernels/simd.h"

namespace cuboid::simd {
namespace {

// Rows of one register tile: with 32 columns it fills the vector registers and hides the latency of the FMA units.
constexpr int tile_rows = lanes == 16 ? 8 : lanes == 8 ? 3 : 1;
// Depth of one pass: a panel of B (128 x 32 floats) stays in the first level cache.
constexpr std::int64_t depth = 128;

/// Where a tile begins: row of A, panel of B, first k.
struct Corner {
  std::int64_t row, panel, k;
};

template <int R>
void tile(std::int64_t k, std::span<const Product> products, Corner at, float* c, std::int64_t c_row, bool add) {
  Vec sum[R][panel_vecs];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < panel_vecs; ++j) sum[i][j] = add ? load(c + i * c_row + j * lanes) : Vec{};
  for (const auto& [a, b] : products) {
    const float* row[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) row[i] = a.data + (at.row + i) * a.row + at.k * a.col;
    const float* panel = b.data + at.panel * b.panel + at.k * b.row;
    const std::int64_t step = a.col, b_row = b.row;
    for (std::int64_t p = 0, q = 0; p < k; ++p, q += step, panel += b_row) {
      Vec right[panel_vecs];
#pragma GCC unroll 8
      for (int j = 0; j < panel_vecs; ++j) right[j] = load(panel + j * lanes);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        const Vec left = splat(row[i][q]);
#pragma GCC unroll 8
        for (int j = 0; j < panel_vecs; ++j) sum[i][j] += left * right[j];
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < panel_vecs; ++j) store(c + i * c_row + j * lanes, sum[i][j]);
}

using Tile = void (*)(std::int64_t, std::span<const Product>, Corner, float*, std::int64_t, bool);
constexpr Tile tiles[] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>, tile<7>, tile<8>};

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, std::span<const Product> products, float* c, std::int64_t c_row,
          bool add) {
  for (std::int64_t k0 = 0; k0 < k; k0 += depth)
    for (std::int64_t j = 0; j < n; j += panel_width)
      for (std::int64_t i = 0; i < m; i += tile_rows)
        tiles[std::min<std::int64_t>(tile_rows, m - i)](std::min(depth, k - k0), products, {i, j / panel_width, k0},
                                                        c + i * c_row + j, c_row, add || k0 > 0);
}

}  // namespace cuboid::simd
