// SPDX-License-Identifier: Apache-2.0
// For this room's .cu files: lists of tensors as one kernel sees them. The table of pointers and sizes is passed by value, so
// that a launch needs no memory of its own and can be captured into a graph.
#pragma once
#include "core/launch.h"
#include "core/packet.h"
#include "kernels/dispatch.h"

namespace cuboid::cuda {

inline constexpr int update_threads = 256;
inline constexpr std::int64_t update_chunk = 4096;  // elements per block

/// Up to N places of P tensors each. Block b works on the place k with first_block[k] <= b < first_block[k + 1].
template <class T, int P, int N>
struct Lists {
  int count = 0;
  int first_block[N + 1] = {};
  std::int64_t size[N];
  T* data[P][N];

  struct Chunk {
    int place;
    std::int64_t begin, end;
  };
  __device__ Chunk chunk(int block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first_block[middle] <= block) low = middle;
      else high = middle;
    }
    const std::int64_t begin = (block - first_block[low]) * update_chunk;
    return {low, begin, min(size[low], begin + update_chunk)};
  }
};

/// f(lists, blocks before them) for as few tables as take all tensors; tensors without elements are left out.
template <class T, int N, class... V, class F>
void each_table_of(F&& f, const V&... operands) {
  constexpr int P = sizeof...(V);
  std::int64_t before = 0;
  Lists<T, P, N> lists;
  const auto flush = [&] {
    if (lists.count > 0) f(lists, before);
    before += lists.first_block[lists.count];
    lists.count = 0;
  };
  const auto& first = std::get<0>(std::tie(operands...));
  for (std::size_t k = 0; k < first.size(); ++k) {
    const std::int64_t size = first[k].size();
    if (size == 0) continue;
    if (lists.count == N) flush();
    const int at = lists.count++;
    int p = 0;
    ((lists.data[p++][at] = operands[k].template as<T>()), ...);
    lists.size[at] = size;
    lists.first_block[at + 1] = lists.first_block[at] + static_cast<int>((size + update_chunk - 1) / update_chunk);
  }
  flush();
}

/// A net's parameters fit one table of 512 (23 KB of a kernel's 32); few tensors go by a small one.
template <class T, class F, class First, class... V>
void each_table(F&& f, const First& first, const V&... operands) {
  if (first.size() <= 32) each_table_of<T, 32>(f, first, operands...);
  else each_table_of<T, 512>(f, first, operands...);
}

template <class V>
bool all_in_packets(const std::vector<V>& list) {
  for (const View& v : list)
    if (reinterpret_cast<std::uintptr_t>(v.data) % 16 != 0) return false;
  return true;
}

/// Blocks of f32 and f64 lists alike.
template <class F>
void with_type(const View& v, F&& f) {
  if (v.dtype == DType::f64) f.template operator()<double>();
  else f.template operator()<float>();
}

}  // namespace cuboid::cuda
