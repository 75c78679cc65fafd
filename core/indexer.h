// SPDX-License-Identifier: Apache-2.0
// The elements of N operands of one shape, as a kernel sees them: plain numbers, passed by value.
#pragma once
#include <array>

#include "core/hd.h"
#include "core/strided.h"

namespace cuboid {

/// Position i in the order of the first operand's memory -> the offset of each operand. `I` is int where all offsets fit,
/// because 64-bit division is slow on a device.
template <int N, class I = std::int64_t>
struct Indexer {
  I size = 0;
  int rank = 0;
  I dims[max_rank] = {};
  I strides[N][max_rank] = {};

  /// Host side: from views of equal shapes; dimensions are merged where all operands allow it.
  static Indexer of(const std::array<View, N>& operands) {
    const StridedLoop<N> loop(operands);
    Indexer x;
    x.rank = loop.dims().rank();
    x.size = static_cast<I>(loop.dims().count());
    for (int d = 0; d < x.rank; ++d) {
      x.dims[d] = static_cast<I>(loop.dims()[d]);
      for (int k = 0; k < N; ++k) x.strides[k][d] = static_cast<I>(loop.strides(k)[d]);
    }
    return x;
  }
  CUBOID_HD void at(I i, I (&offset)[N]) const {
    for (int k = 0; k < N; ++k) offset[k] = 0;
    for (int d = rank - 1; d > 0; --d) {
      const I q = i / dims[d], index = i - q * dims[d];
      for (int k = 0; k < N; ++k) offset[k] += index * strides[k][d];
      i = q;
    }
    for (int k = 0; k < N; ++k) offset[k] += i * strides[k][0];
  }
};

/// True when every offset within these views fits an int.
inline bool fits_int(std::initializer_list<View> views) {
  for (const View& v : views) {
    std::int64_t reach = 1;
    for (int d = 0; d < v.rank(); ++d) reach += (v.dim(d) - 1) * std::abs(v.stride(d));
    if (reach > (1LL << 31) - (1 << 20) || v.size() > (1LL << 31) - (1 << 20)) return false;
  }
  return true;
}

}  // namespace cuboid
