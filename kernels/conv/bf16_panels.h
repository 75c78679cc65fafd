// SPDX-License-Identifier: Apache-2.0
// panels.h for bf16: a small matrix product for one thread whose operands lie in cache, summed in f32. The depth k is counted in
// pairs, which lie side by side in memory on both sides.
#pragma once
#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace cuboid::bf {

inline constexpr std::int64_t panel_width = 32;

/// A(i, pair k) = data[i * row + k * col] and the element behind it: rows as they lie with {m, width, 2}; the transpose of a
/// matrix that lies in rows of pairs with {m, 2, 2 * width}.
struct Rows {
  const bf16* data;
  std::int64_t row, col;
};

/// B(pair k, 32 p + j) = data[p * panel + k * row + 2 j] and the element behind it.
struct Panels {
  const bf16* data;
  std::int64_t panel, row;
};

struct Product {
  Rows a;
  Panels b;
};

/// C[m x n] = sum of the products, or += with `add`; n is a multiple of 32; C(i, j) = c[i * c_row + j].
void gemm(std::int64_t m, std::int64_t n, std::int64_t pairs, std::span<const Product> products, float* c, std::int64_t c_row,
          bool add);

inline void gemm(std::int64_t m, std::int64_t n, std::int64_t pairs, Rows a, Panels b, float* c, std::int64_t c_row, bool add) {
  const Product one{a, b};
  gemm(m, n, pairs, {&one, 1}, c, c_row, add);
}

// Right sides, in parallel. Widths are multiples of 32, depths of 2.

/// m[depth][cols] -> [cols / 32][depth / 2][32] pairs.
void pack_panels(const bf16* m, std::int64_t depth, std::int64_t cols, bf16* to);
/// m[cols][depth], transposed -> the same.
void pack_panels_transposed(const bf16* m, std::int64_t cols, std::int64_t depth, bf16* to);
}  // namespace cuboid::bf
