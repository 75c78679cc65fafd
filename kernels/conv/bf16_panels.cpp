// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/bf16_panels.h"

#include "kernels/bf16_simd.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

#include "core/parallel.h"

namespace cuboid::bf {
namespace {

// Of one register tile, with 32 columns: 16 sums, which hides the latency of two units.
constexpr int tile_rows = 8;
// Depth of one pass in pairs: a panel of B (128 pairs x 32) stays in the first level cache.
constexpr std::int64_t most_pairs = 128;

/// Where a tile begins: row of A, panel of B, first pair.
struct Corner {
  std::int64_t row, panel, pair;
};

template <int R>
void tile(std::int64_t pairs, std::span<const Product> products, Corner at, float* c, std::int64_t c_row, bool add) {
  Vec sum[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) sum[i][j] = add ? load(c + i * c_row + j * lanes) : Vec{};
  for (const auto& [a, b] : products) {
    const bf16* row[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) row[i] = a.data + (at.row + i) * a.row + at.pair * a.col;
    const bf16* panel = b.data + at.panel * b.panel + at.pair * b.row;
    const std::int64_t step = a.col, b_row = b.row;
    for (std::int64_t p = 0, q = 0; p < pairs; ++p, q += step, panel += b_row) {
      const __m512i left_half = load_pairs(panel), right_half = load_pairs(panel + 2 * lanes);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        const __m512i pair = splat_pair(row[i] + q);
        sum[i][0] = add_products(sum[i][0], pair, left_half);
        sum[i][1] = add_products(sum[i][1], pair, right_half);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) store(c + i * c_row + j * lanes, sum[i][j]);
}

using Tile = void (*)(std::int64_t, std::span<const Product>, Corner, float*, std::int64_t, bool);
constexpr Tile tiles[] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>, tile<7>, tile<8>};

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t pairs, std::span<const Product> products, float* c, std::int64_t c_row,
          bool add) {
  for (std::int64_t k = 0; k < pairs; k += most_pairs)
    for (std::int64_t j = 0; j < n; j += panel_width)
      for (std::int64_t i = 0; i < m; i += tile_rows)
        tiles[std::min<std::int64_t>(tile_rows, m - i)](std::min(most_pairs, pairs - k), products, {i, j / panel_width, k},
                                                        c + i * c_row + j, c_row, add || k > 0);
}

void pack_panels(const bf16* m, std::int64_t depth, std::int64_t cols, bf16* to) {
  parallel_ranges(depth / 2, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < cols; j += lanes)
        store_pairs(to + (j / panel_width * (depth / 2) + i) * 2 * panel_width + j % panel_width * 2, m + 2 * i * cols + j,
                    m + (2 * i + 1) * cols + j);
  });
}

void pack_panels_transposed(const bf16* m, std::int64_t cols, std::int64_t depth, bf16* to) {
  parallel_ranges(depth / 2, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = 0; p < cols; p += panel_width)
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t j = 0; j < panel_width; ++j)
          std::copy_n(m + (p + j) * depth + 2 * i, 2, to + (p * (depth / 2) + i * panel_width + j) * 2);
  });
}

}  // namespace cuboid::bf
#endif
