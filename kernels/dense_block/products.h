// SPDX-License-Identifier: Apache-2.0
// The kernel behind all products of a dense block. A block has one tile of rows by columns and a range of k; two stages in
// shared memory, the next one on its way in registers while this one is multiplied. Where there are few tiles k is cut, the
// parts of a tile are written as they are, and a second kernel adds them and ends the tile.
#pragma once
#include <utility>

#include "core/launch.h"
#include "kernels/dense_block/cuda.h"
#include "kernels/dense_block/endings.h"

namespace cuboid::dense::device {

/// How tiles are multiplied: wide ones of 64 or 128 columns, narrow ones of 32.
template <class T>
struct TensorCores {
  using Wide = tiles::Mma<T, 128>;
  using Narrow = tiles::Mma<T, 32>;
};
struct FullPrecision {
  using Wide = tiles::Simt<float, 64>;
  using Narrow = tiles::Simt<float, 32>;
};
/// f.operator()<Maths>(); f32 takes tensor cores where TF32 is allowed.
template <class T, class F>
auto with_maths(const Layer& l, F&& f) {
  if constexpr (std::is_same_v<T, float>)
    if (!l.tf32) return f.template operator()<FullPrecision>();
  return f.template operator()<TensorCores<T>>();
}

template <class Math, bool k_major>
using RowMap = tiles::Map<typename Math::T, Math::rows, Math::depth, packet_width<typename Math::T>, Math::threads, k_major>;
template <class Math, bool k_major>
using ColumnMap =
    tiles::Map<typename Math::T, Math::columns, Math::depth, packet_width<typename Math::T>, Math::threads, k_major>;

inline int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

/// A rows x columns product over `depth`, by shape alone: k is cut where there are too few tiles to fill a device.
struct Cut {
  int rows, columns, depth;
  int row_tiles, column_tiles, splits, split_depth;

  template <class Math>
  static Cut of(int rows, int columns, int depth, int row_tiles) {
    Cut c{rows, columns, depth, row_tiles, ceil_div(columns, Math::columns), 1, 0};
    const int steps = ceil_div(depth, Math::depth), wanted = 160 / (c.row_tiles * c.column_tiles);
    const int each = ceil_div(steps, std::clamp(wanted, 1, std::max(1, steps / 2)));
    c.splits = ceil_div(steps, each);
    c.split_depth = each * Math::depth;
    return c;
  }
  std::int64_t blocks() const { return std::int64_t{row_tiles} * column_tiles * splits; }
};

/// A: rows, B: columns. `raw` [splits][rows][columns]: where tiles go as they are, or null.
template <class A, class B, class Ending>
struct Product {
  typename A::Params a;
  typename B::Params b;
  Ending ending;
  Cut cut;
  float *raw, *parts;
  int tap_rows;  // rows of a tap when A's tiles have one tap each, else 0
};

template <class Math, class A, class B>
constexpr std::size_t shared_bytes() {
  using T = typename Math::T;
  const std::size_t stages = 2 * sizeof(T) * (A::tile_size + B::tile_size),
                    tile = sizeof(float) * Math::rows * (Math::columns + 4);
  return std::max({stages, tile, sizeof(float) * finish_floats<T, Math::threads>});
}

template <class Math, class A, class B, class Ending>
__global__ void __launch_bounds__(Math::threads) product_kernel(const __grid_constant__ Product<A, B, Ending> p) {
  using T = typename Math::T;
  constexpr int pitch = Math::columns + 4;
  gpu::SmemAlloc shared;
  constexpr std::size_t bytes = shared_bytes<Math, A, B>();
  auto* room = shared.take<unsigned char>(bytes, 128);
  T* stages = reinterpret_cast<T*>(room);
  const int column_tile = static_cast<int>(blockIdx.x % p.cut.column_tiles),
            rest = static_cast<int>(blockIdx.x / p.cut.column_tiles);
  const int row_tile = rest % p.cut.row_tiles, split = rest / p.cut.row_tiles;
  const int k_begin = split * p.cut.split_depth, k_end = min(k_begin + p.cut.split_depth, p.cut.depth);
  // Rows of the result, and of A's matrix: the same unless each tap has row tiles of its own.
  const int tap_tiles = p.tap_rows > 0 ? (p.tap_rows + Math::rows - 1) / Math::rows : p.cut.row_tiles, tap = row_tile / tap_tiles;
  const int first_row = row_tile % tap_tiles * Math::rows, first_column = column_tile * Math::columns;
  const int tap_row = tap * p.tap_rows, end_row = p.tap_rows > 0 ? p.tap_rows : p.cut.rows;

  A a;
  B b;
  a.open(p.a, first_row, k_begin, k_end, tap);
  b.open(p.b, first_column, k_begin, k_end, tap);
  a.fetch(p.a);
  b.fetch(p.b);
  Math math;
  int stage = 0;
  for (int k = k_begin; k < k_end; k += Math::depth) {
    T* at = stages + stage * (A::tile_size + B::tile_size);
    a.put(p.a, at);
    b.put(p.b, at + A::tile_size);
    __syncthreads();  // this stage is there; nobody multiplies the other one any more
    if (k + Math::depth < k_end) {
      a.fetch(p.a);
      b.fetch(p.b);
    }
    math.template multiply<typename A::Map, typename B::Map>(at, at + A::tile_size);
    stage ^= 1;
  }
  __syncthreads();
  float* tile = reinterpret_cast<float*>(room);
  math.template store<typename A::Map, typename B::Map>(tile, pitch);
  __syncthreads();
  const int rows = min(Math::rows, end_row - first_row);
  if (p.raw) {
    constexpr int line = Math::columns / 4;
    float* to = p.raw + (static_cast<std::int64_t>(split) * p.cut.rows + tap_row + first_row) * p.cut.columns + first_column;
    for (int i = static_cast<int>(threadIdx.x); i < rows * line; i += Math::threads) {
      const int r = i / line, c = i % line * 4;
      if (first_column + c < p.cut.columns)
        Packet<float, 4>::load(tile + r * pitch + c).store(to + static_cast<std::int64_t>(r) * p.cut.columns + c);
    }
    return;
  }
  float* parts = p.parts ? p.parts + static_cast<std::int64_t>(row_tile) * 2 * p.cut.columns : nullptr;
  finish_tile<T, Math::threads, Math::columns>(p.ending, tile, pitch, rows, first_row, first_column, p.cut.columns, parts,
                                               p.cut.columns);
}

constexpr int combine_rows = 32, combine_columns = 64, combine_threads = 256;

/// Adds the splits of raw tiles and ends them, 32 rows by 64 columns at a time.
template <class T, class Ending>
__global__ void __launch_bounds__(combine_threads) combine_kernel(Ending ending, Cut cut, const float* raw, float* parts) {
  constexpr int pitch = combine_columns + 4, line = combine_columns / 4;
  constexpr int floats = std::max(combine_rows * pitch, finish_floats<T, combine_threads>);
  GPU_SHARED(float, tile, [floats]);
  const int column_tiles = (cut.columns + combine_columns - 1) / combine_columns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles, first_row = row_tile * combine_rows;
  const int first_column = static_cast<int>(blockIdx.x) % column_tiles * combine_columns,
            rows = min(combine_rows, cut.rows - first_row);
  const std::int64_t split = static_cast<std::int64_t>(cut.rows) * cut.columns;
  for (int i = static_cast<int>(threadIdx.x); i < rows * line; i += combine_threads) {
    const int r = i / line, c = first_column + i % line * 4;
    Packet<float, 4> sum = {};
    if (c < cut.columns)
      for (int s = 0; s < cut.splits; ++s) {
        const auto v = Packet<float, 4>::load(raw + s * split + static_cast<std::int64_t>(first_row + r) * cut.columns + c);
        for (int k = 0; k < 4; ++k) sum.at[k] += v.at[k];
      }
    sum.store(tile + r * pitch + i % line * 4);
  }
  __syncthreads();
  float* own = parts ? parts + static_cast<std::int64_t>(row_tile) * 2 * cut.columns : nullptr;
  finish_tile<T, combine_threads, combine_columns>(ending, tile, pitch, rows, first_row, first_column, cut.columns, own,
                                                   cut.columns);
}

template <class Math, class A, class B, class Ending>
void launch_product(const Product<A, B, Ending>& p, const char* name) {
  gpu::launch(product_kernel<Math, A, B, Ending>,
              {.grid = dim3(static_cast<unsigned>(p.cut.blocks())),
               .block = dim3(Math::threads),
               .smem = shared_bytes<Math, A, B>(),
               .stream = static_cast<gpu::stream_t>(cuda::stream()),
               .name = name},
              p);
}

/// The product to its end; its parts where wanted.
template <class Math, class A, class B, class Ending>
Parts multiply(Product<A, B, Ending> p, bool wanted, const char* name) {
  using T = typename Math::T;
  const bool split = p.cut.splits > 1;
  Parts parts;
  parts.channels = p.cut.columns;
  parts.tile_rows = split ? combine_rows : Math::rows;
  parts.tiles = ceil_div(p.cut.rows, parts.tile_rows);
  if (wanted) parts.memory = empty({parts.tiles, 2, parts.channels}, {.device = Device::cuda});
  p.parts = wanted ? static_cast<float*>(parts.memory.mutate().data) : nullptr;
  p.tap_rows = 0;
  const Scratch<float> raw(split ? std::int64_t{p.cut.splits} * p.cut.rows * p.cut.columns : 1, Device::cuda);
  p.raw = split ? raw.data() : nullptr;
  launch_product<Math>(p, name);
  if (split)
    gpu::launch(combine_kernel<T, Ending>,
                cuda::blocks_of(std::int64_t{ceil_div(p.cut.rows, combine_rows)} * ceil_div(p.cut.columns, combine_columns),
                                combine_threads, name),
                p.ending, p.cut, static_cast<const float*>(raw.data()), p.parts);
  return parts;
}

}  // namespace cuboid::dense::device
