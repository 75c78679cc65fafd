// SPDX-License-Identifier: Apache-2.0
// For the .cu files that move elements without looking at them: memory as words, as wide as strides and addresses allow.
#pragma once
#include "core/gpu.h"
#include "core/indexer.h"

namespace cuboid::cuda {

/// Makes the elements of `index` words of 16 bytes if the rows, their starts and the steps between them are made of such, else of
/// as many as can be, down to one element. Returns the bytes of a word. The operands have dtypes of one size.
template <int N>
std::int64_t widen(Indexer<N>& index, const std::array<View, N>& operands) {
  const int inner = index.rank - 1;
  const std::int64_t size = size_of(operands[0].dtype);
  const auto made_of = [&](std::int64_t bytes) {
    bool whole = index.dims[inner] * size % bytes == 0;
    for (std::size_t k = 0; k < N && whole; ++k) {
      whole = index.strides[k][inner] == 1 &&
              reinterpret_cast<std::uintptr_t>(operands[k].data) % static_cast<std::uintptr_t>(bytes) == 0;
      for (int d = 0; d < inner; ++d) whole = whole && index.strides[k][d] * size % bytes == 0;
    }
    return whole;
  };
  std::int64_t bytes = 16;
  while (bytes > size && !made_of(bytes)) bytes /= 2;
  const std::int64_t elements = bytes / size;
  index.size /= elements;
  index.dims[inner] /= elements;
  for (int k = 0; k < N; ++k)
    for (int d = 0; d < inner; ++d) index.strides[k][d] /= elements;
  return bytes;
}

/// f.operator()<W>(Indexer<N>, std::array<W*, N>) with the operands in words.
template <int N, class F>
void with_words(const std::array<View, N>& operands, F&& f) {
  Indexer<N> index = Indexer<N>::of(operands);
  const std::int64_t bytes = widen<N>(index, operands);
  const auto as = [&]<class W>() {
    std::array<W*, N> data;
    for (std::size_t k = 0; k < N; ++k) data[k] = operands[k].template as<W>();
    f.template operator()<W>(index, data);
  };
  if (bytes == 16) as.template operator()<uint4>();
  else if (bytes == 8) as.template operator()<uint2>();
  else if (bytes == 4) as.template operator()<std::uint32_t>();
  else if (bytes == 2) as.template operator()<std::uint16_t>();
  else as.template operator()<std::uint8_t>();
}

}  // namespace cuboid::cuda
