// SPDX-License-Identifier: Apache-2.0
// The kernel behind all products of this room: a block computes one tile of rows by columns, with copies running a few
// steps ahead of the multiplications. A Task says what the block works on and where rows, columns and k lie:
//
//   struct Task {
//     using A = Map<...>, B = Map<...>;             // how the tiles lie
//     struct Params { ...; Result<T> result; };     // by value to the kernel
//     bool open(const Params&);                     // reads blockIdx; false: nothing to do here, for the whole block
//     int steps() const;                            // of Math::depth each
//     void load(const Params&, T* a, T* b);         // queues the copies of the next step
//     int column(const Params&) const, end(const Params&) const;  // the tile's first column, and where columns end
//     std::int64_t row(const Params&, int r) const; // where column 0 of the tile's row r lies in the result; < 0: nowhere
//   };
#pragma once
#include "kernels/conv/tile.h"

namespace cuboid::tiles {

/// Where tiles go: rounded, with the bias of each column; or as they are into `parts`, when k is split.
template <class T>
struct Result {
  T* to = nullptr;
  Accum<T>* parts = nullptr;
  const T* bias = nullptr;
  bool packets = false;  // every tile's row begins at a whole packet of 16 bytes
};

template <class Math, class Task>
constexpr std::size_t shared_bytes() {
  const std::size_t stage = sizeof(typename Math::T) * (Task::A::size + Task::B::size) * Math::stages;
  const std::size_t result = sizeof(typename Math::Sum) * Math::rows * (Math::columns + 4);
  return std::max(stage, result) + sizeof(std::int64_t) * Math::rows;
}

/// The result's tile from shared memory to where it belongs.
template <class Math, class T>
__device__ void write_tile(const Result<T>& result, const typename Math::Sum* tile, const std::int64_t* rows, int column,
                           int end) {
  using Sum = typename Math::Sum;
  constexpr int width = packet_width<T>, sums = packet_width<Sum>, line = Math::columns / width;
  for (int i = threadIdx.x; i < Math::rows * line; i += Math::threads) {
    const int r = i / line, c = i % line * width, n = column + c;
    if (rows[r] < 0 || n >= end) continue;
    const Sum* from = tile + r * (Math::columns + 4) + c;
    const std::int64_t at = rows[r] + n;
    const bool whole = result.packets && n + width <= end;
    if (result.parts) {
      if (whole)
        for (int e = 0; e < width; e += sums) Packet<Sum, sums>::load(from + e).store(result.parts + at + e);
      else
        for (int e = 0; e < width && n + e < end; ++e) result.parts[at + e] = from[e];
      continue;
    }
    Packet<T, width> p;
    for (int e = 0; e < width; ++e)
      p.at[e] = static_cast<T>(from[e] + (result.bias && n + e < end ? static_cast<Sum>(result.bias[n + e]) : 0));
    if (whole) p.store(result.to + at);
    else
      for (int e = 0; e < width && n + e < end; ++e) result.to[at + e] = p.at[e];
  }
}

template <class Math, class Task>
__global__ void __launch_bounds__(Math::threads, 1) contract(const __grid_constant__ typename Task::Params p) {
  using T = typename Math::T;
  using Sum = typename Math::Sum;
  constexpr int stages = Math::stages, a_size = Task::A::size, b_size = Task::B::size;
  gpu::SmemAlloc shared;
  auto* room = shared.take<unsigned char>(shared_bytes<Math, Task>() - sizeof(std::int64_t) * Math::rows, 128);
  auto* rows = shared.take<std::int64_t>(Math::rows);
  T* a = reinterpret_cast<T*>(room);
  T* b = a + stages * a_size;
  Task task;
  if (!task.open(p)) return;
  const int steps = task.steps();
  for (int s = 0; s < stages - 1; ++s) {
    if (s < steps) task.load(p, a + s * a_size, b + s * b_size);
    ptx::cp_async_commit();
  }
  Math math;
  for (int s = 0; s < steps; ++s) {
    ptx::cp_async_wait<stages - 2>();
    __syncthreads();  // step s is there, and nobody reads the stage of step s - 1 any more
    if (const int ahead = (s + stages - 1) % stages; s + stages - 1 < steps) task.load(p, a + ahead * a_size, b + ahead * b_size);
    ptx::cp_async_commit();
    const int now = s % stages;
    math.template multiply<typename Task::A, typename Task::B>(a + now * a_size, b + now * b_size);
  }
  ptx::cp_async_wait<0>();
  __syncthreads();
  Sum* tile = reinterpret_cast<Sum*>(room);
  math.template store<typename Task::A, typename Task::B>(tile, Math::columns + 4);
  for (int r = threadIdx.x; r < Math::rows; r += Math::threads) rows[r] = task.row(p, r);
  __syncthreads();
  write_tile<Math, T>(p.result, tile, rows, task.column(p), task.end(p));
}

}  // namespace cuboid::tiles
