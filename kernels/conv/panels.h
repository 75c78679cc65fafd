// SPDX-License-Identifier: Apache-2.0
// A small matrix product for one thread whose operands lie in cache. The left side may have any strides (so a transposed
// matrix costs nothing), the right side consists of panels of 32 columns.
#pragma once
#include <cstdint>
#include <span>

namespace cuboid::simd {

/// A(i, k) = data[i * row + k * col].
struct Rows {
  const float* data;
  std::int64_t row, col;
};

/// B(k, 32 p + j) = data[p * panel + k * row + j].
struct Panels {
  const float* data;
  std::int64_t panel, row;
};

struct Product {
  Rows a;
  Panels b;
};

/// C[m x n] = sum of the products, or += with `add`; n is a multiple of 32; C(i, j) = c[i * c_row + j].
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, std::span<const Product> products, float* c, std::int64_t c_row,
          bool add);

inline void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Rows a, Panels b, float* c, std::int64_t c_row, bool add) {
  const Product one{a, b};
  gemm(m, n, k, {&one, 1}, c, c_row, add);
}

}  // namespace cuboid::simd
