// SPDX-License-Identifier: Apache-2.0
// A reduction as a kernel sees it: outputs, and the elements of each. Plain numbers, passed by value.
#pragma once
#include <array>

#include "core/hd.h"
#include "core/strided.h"

namespace cuboid::reduce {

/// Operand 0 is reduced; the others have its rank, with 1 where it is reduced.
template <int N, class I = std::int64_t>
struct Axes {
  I outputs = 1, length = 1;  // elements per output
  int kept_rank = 0, reduced_rank = 0;
  bool fastest_reduced = false;  // operand 0's fastest dimension
  I kept[max_rank] = {}, reduced[max_rank] = {};
  I kept_strides[N][max_rank] = {}, reduced_strides[max_rank] = {};

  enum class Order : std::uint8_t { memory, row_major };  // in which outputs and elements are numbered

  /// Host side; dimensions are merged where all operands allow it.
  static Axes of(const std::array<View, N>& operands, Order order) {
    Axes a;
    const View &x = operands[0], &y = operands[1];
    const auto fastest_last = by_stride(x.strides);
    for (int k = 0; k < x.rank(); ++k) {
      const int d = order == Order::memory ? fastest_last[static_cast<std::size_t>(k)] : k;
      if (x.shape[d] == 1) continue;
      a.fastest_reduced = y.shape[d] == 1;
      if (a.fastest_reduced) a.add_reduced(x.shape[d], x.strides[d]);
      else a.add_kept(operands, d);
    }
    return a;
  }

  /// Offsets of output o in every operand.
  CUBOID_HD void output(I o, I (&offset)[N]) const {
    for (int k = 0; k < N; ++k) offset[k] = 0;
    for (int d = kept_rank - 1; d >= 0; --d) {
      const I q = d > 0 ? o / kept[d] : 0, index = o - q * kept[d];
      for (int k = 0; k < N; ++k) offset[k] += index * kept_strides[k][d];
      o = q;
    }
  }
  /// Offset of element i from the output's first.
  CUBOID_HD I element(I i) const {
    I offset = 0;
    for (int d = reduced_rank - 1; d > 0; --d) {
      const I q = i / reduced[d];
      offset += (i - q * reduced[d]) * reduced_strides[d];
      i = q;
    }
    return reduced_rank > 0 ? offset + i * reduced_strides[0] : 0;
  }

  void add_reduced(std::int64_t n, std::int64_t stride) {
    length *= static_cast<I>(n);
    const bool merge = reduced_rank > 0 && reduced_strides[reduced_rank - 1] == static_cast<I>(stride * n);
    if (!merge) reduced[reduced_rank++] = 1;
    reduced[reduced_rank - 1] *= static_cast<I>(n);
    reduced_strides[reduced_rank - 1] = static_cast<I>(stride);
  }

 private:
  void add_kept(const std::array<View, N>& operands, int d) {
    const std::int64_t n = operands[0].shape[d];
    outputs *= static_cast<I>(n);
    bool merge = kept_rank > 0;
    for (std::size_t k = 0; k < N && merge; ++k)
      merge = kept_strides[k][kept_rank - 1] == static_cast<I>(operands[k].strides[d] * n);
    if (!merge) kept[kept_rank++] = 1;
    kept[kept_rank - 1] *= static_cast<I>(n);
    for (std::size_t k = 0; k < N; ++k) kept_strides[k][kept_rank - 1] = static_cast<I>(operands[k].strides[d]);
  }
};

}  // namespace cuboid::reduce
