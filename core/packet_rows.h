// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels in packets: N operands of one shape whose rows lie densely, one row or several with room between them. An
// operand other than the first may have a single element per row instead.
#pragma once
#include "core/indexer.h"
#include "core/packet.h"

namespace cuboid {

template <int N>
struct PacketRows {
  Indexer<N> rows;               // where each row starts
  std::int64_t length, packets;  // of a row
  bool repeats[N];               // one element per row

  /// Host side: true when each row starts at a multiple of `width` elements; it may end anywhere.
  static bool fit(const std::array<View, N>& operands, std::int64_t width) {
    const auto index = Indexer<N>::of(operands);
    const int inner = index.rank - 1;
    for (std::size_t k = 0; k < N; ++k) {
      const auto& strides = index.strides[k];
      if (k > 0 && strides[inner] == 0) continue;
      const auto bytes = static_cast<std::uintptr_t>(width * size_of(operands[k].dtype));
      if (strides[inner] != 1 || reinterpret_cast<std::uintptr_t>(operands[k].data) % bytes != 0) return false;
      for (int d = 0; d < inner; ++d)
        if (strides[d] % width != 0) return false;
    }
    return inner == 0 || index.dims[inner] >= width;
  }
  static PacketRows of(const std::array<View, N>& operands, std::int64_t width) {
    PacketRows p{Indexer<N>::of(operands), 0, 0, {}};
    const int inner = --p.rows.rank;
    p.length = p.rows.dims[inner];
    p.packets = (p.length + width - 1) / width;
    p.rows.size /= p.length;
    for (int k = 0; k < N; ++k) p.repeats[k] = p.rows.strides[k][inner] == 0;
    return p;
  }
  std::int64_t size() const { return rows.size * packets; }

  /// Offsets of packet i in each operand; returns how many of its elements there are.
  CUBOID_HD int at(std::int64_t i, int width, std::int64_t (&offset)[N]) const {
    std::int64_t row = 0;
    if (rows.size > 1) {
      row = i / packets;
      rows.at(row, offset);
    } else {
      for (int k = 0; k < N; ++k) offset[k] = 0;
    }
    const std::int64_t first = (i - row * packets) * width, left = length - first;
    for (int k = 0; k < N; ++k)
      if (!repeats[k]) offset[k] += first;
    return left < width ? static_cast<int>(left) : width;
  }
};

/// The first `count` elements of a packet; the others are copies of the first.
template <int W, class T>
CUBOID_HD Packet<T, W> load_some(const T* from, int count) {
  if (count == W) return Packet<T, W>::load(from);
  Packet<T, W> p;
  for (int j = 0; j < W; ++j) p.at[j] = from[j < count ? j : 0];
  return p;
}
template <int W, class T>
CUBOID_HD void store_some(const Packet<T, W>& p, T* to, int count) {
  if (count == W) return p.store(to);
  for (int j = 0; j < W; ++j)
    if (j < count) to[j] = p.at[j];
}

}  // namespace cuboid
