// SPDX-License-Identifier: Apache-2.0
// Tiles of matrices in shared memory, and two ways to multiply them: Simt (any floating type, fused multiply-adds) and Mma
// (tensor cores of compute capability 8.0). A tile lies k-major (each row's k side by side) or the other way round, as its
// matrix does in global memory, so that both are read there in whole packets.
#pragma once
#include "core/gpu.h"
#include "core/packet.h"
#include "core/ptx.h"

namespace cuboid::tiles {

/// How a tile of `rows` by `depth` lies, and which packets of it a thread copies: always the same column.
template <class T_, int rows_, int depth_, int packet_, int threads, bool k_major_>
struct Map {
  using T = T_;
  static constexpr int rows = rows_, depth = depth_, packet = packet_;
  static constexpr bool k_major = k_major_;
  // A little more than a power of two, so that lines start in different banks.
  static constexpr int pitch = k_major ? depth + static_cast<int>(16 / sizeof(T)) : rows + 8;
  static constexpr int size = (k_major ? rows : depth) * pitch;
  static constexpr int line_packets = (k_major ? depth : rows) / packet;
  static constexpr int count = (k_major ? rows : depth) * line_packets / threads;  // packets of a thread
  static_assert(threads % line_packets == 0 && count * threads == (k_major ? rows : depth) * line_packets);

  __device__ static int line(int i) { return static_cast<int>(threadIdx.x) / line_packets + i * (threads / line_packets); }
  __device__ static int column() { return static_cast<int>(threadIdx.x) % line_packets * packet; }
  __device__ static T* at(T* tile, int i) { return tile + line(i) * pitch + column(); }
};

/// The first `valid` elements of a packet, zeros for the rest.
template <int packet, class T>
__device__ __forceinline__ void copy_packet(T* to, const T* from, int valid) {
  if constexpr (packet * sizeof(T) >= 4) ptx::cp_async<packet * sizeof(T)>(to, from, valid * static_cast<int>(sizeof(T)));
  else *to = valid > 0 ? *from : T{};
}

/// 128 threads, each 8 rows by columns / 8.
template <class T_, int columns_>
struct Simt {
  using T = T_;
  using Sum = Accum<T>;
  static constexpr int threads = 128, rows = 128, columns = columns_, depth = 16;
  static constexpr int stages = sizeof(T) == 8 ? 2 : 3;
  static constexpr int wide = columns / 8;
  Sum sum[8][wide] = {};

  // Rows 16 apart for a k-major tile, runs of four for the other, so that a thread reads packets without bank conflicts.
  template <bool k_major>
  __device__ static int row(int i) {
    const int y = static_cast<int>(threadIdx.x) / 8;
    return k_major ? y + 16 * i : i / 4 * 64 + y * 4 + i % 4;
  }
  template <bool k_major>
  __device__ static int column(int j) {
    const int x = static_cast<int>(threadIdx.x) % 8;
    return k_major ? x + 8 * j : j / 4 * 32 + x * 4 + j % 4;
  }

  template <class A, class B>
  __device__ __forceinline__ void multiply(const T* a, const T* b) {
#pragma unroll 1
    for (int k = 0; k < depth; k += 4) {
      Sum x[8][4], y[wide][4];
      load<A, 8>(a, k, x, [](int i) { return row<A::k_major>(i); });
      load<B, wide>(b, k, y, [](int j) { return column<B::k_major>(j); });
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < wide; ++j)
#pragma unroll
          for (int q = 0; q < 4; ++q) sum[i][j] += x[i][q] * y[j][q];
    }
  }

  template <class A, class B>
  __device__ void store(Sum* tile, int pitch) const {
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < wide; ++j) tile[row<A::k_major>(i) * pitch + column<B::k_major>(j)] = sum[i][j];
  }

 private:
  static constexpr int piece = sizeof(T) == 8 ? 2 : 4;  // elements read at once

  template <class M, int n, class Where>
  __device__ static __forceinline__ void load(const T* tile, int k, Sum (&to)[n][4], Where where) {
    if constexpr (M::k_major) {
#pragma unroll
      for (int i = 0; i < n; ++i)
#pragma unroll
        for (int q = 0; q < 4; q += piece) {
          const auto p = Packet<T, piece>::load(tile + where(i) * M::pitch + k + q);
#pragma unroll
          for (int e = 0; e < piece; ++e) to[i][q + e] = static_cast<Sum>(p.at[e]);
        }
    } else {
#pragma unroll
      for (int q = 0; q < 4; ++q)
#pragma unroll
        for (int i = 0; i < n; i += piece) {
          const auto p = Packet<T, piece>::load(tile + (k + q) * M::pitch + where(i));
#pragma unroll
          for (int e = 0; e < piece; ++e) to[i + e][q] = static_cast<Sum>(p.at[e]);
        }
    }
  }
};

/// Warps of 32 columns; 32 or 64 rows each. T is bf16, f16, or float for TF32.
template <class T_, int columns_>
struct Mma {
  using T = T_;
  using Sum = float;
  static constexpr int rows = 128, columns = columns_, depth = sizeof(T) == 2 ? 32 : 16, stages = 4;
  static constexpr int warp_rows = columns == 32 ? 32 : 64, warps_down = rows / warp_rows;
  static constexpr int threads = 32 * warps_down * (columns / 32);
  static constexpr int down = warp_rows / 16, across = 4;        // pieces of 16x8
  static constexpr int step = sizeof(T) == 2 ? 16 : 8;           // k of one instruction
  static constexpr int half = static_cast<int>(16 / sizeof(T));  // elements of a 16-byte row of an 8x8 piece
  float sum[down][across][4] = {};

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 32 % warps_down * warp_rows; }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) / 32 / warps_down * 32; }

  template <class A, class B>
  __device__ __forceinline__ void multiply(const T* a, const T* b) {
#pragma unroll
    for (int k = 0; k < depth; k += step) {
      std::uint32_t x[down][4], y[across][2];
#pragma unroll
      for (int i = 0; i < down; ++i) load_rows<A>(a, first_row() + i * 16, k, x[i]);
#pragma unroll
      for (int j = 0; j < across; j += 2) load_columns<B>(b, first_column() + j * 8, k, y[j], y[j + 1]);
#pragma unroll
      for (int i = 0; i < down; ++i)
#pragma unroll
        for (int j = 0; j < across; ++j) {
          if constexpr (std::is_same_v<T, bf16>) ptx::mma_m16n8k16_bf16(sum[i][j], x[i], y[j]);
          else if constexpr (std::is_same_v<T, f16>) ptx::mma_m16n8k16_f16(sum[i][j], x[i], y[j]);
          else ptx::mma_m16n8k8_tf32(sum[i][j], x[i], y[j]);
        }
    }
  }

  template <class A, class B>
  __device__ void store(float* tile, int pitch) const {
    const int row = first_row() + lane() / 4, column = first_column() + lane() % 4 * 2;
#pragma unroll
    for (int i = 0; i < down; ++i)
#pragma unroll
      for (int j = 0; j < across; ++j)
#pragma unroll
        for (int h = 0; h < 2; ++h)
          Packet<float, 2>{{sum[i][j][2 * h], sum[i][j][2 * h + 1]}}.store(tile + (row + i * 16 + h * 8) * pitch + column +
                                                                           j * 8);
  }

 private:
  /// The fragment of 16 rows and one step of k.
  template <class M>
  __device__ static __forceinline__ void load_rows(const T* tile, int row, int k, std::uint32_t (&x)[4]) {
    const int l = lane(), piece = l / 8;  // (rows, k): (0, 0) (8, 0) (0, half) (8, half)
    if constexpr (M::k_major) {
      ptx::ldmatrix_x4(x, tile + (row + l % 8 + piece % 2 * 8) * M::pitch + k + piece / 2 * half);
    } else if constexpr (sizeof(T) == 2) {
      ptx::ldmatrix_x4_trans(x, tile + (k + l % 8 + piece / 2 * 8) * M::pitch + row + piece % 2 * 8);
    } else {
#pragma unroll
      for (int p = 0; p < 4; ++p) x[p] = word(tile[(k + l % 4 + p / 2 * 4) * M::pitch + row + l / 4 + p % 2 * 8]);
    }
    if constexpr (sizeof(T) == 4)
      for (std::uint32_t& v : x) v = ptx::to_tf32(__uint_as_float(v));
  }
  /// The fragments of 16 columns and one step of k.
  template <class M>
  __device__ static __forceinline__ void load_columns(const T* tile, int column, int k, std::uint32_t (&y)[2],
                                                      std::uint32_t (&z)[2]) {
    const int l = lane(), piece = l / 8;  // (columns, k): (0, 0) (0, half) (8, 0) (8, half)
    std::uint32_t both[4];
    if constexpr (M::k_major) {
      ptx::ldmatrix_x4(both, tile + (column + l % 8 + piece / 2 * 8) * M::pitch + k + piece % 2 * half);
    } else if constexpr (sizeof(T) == 2) {
      ptx::ldmatrix_x4_trans(both, tile + (k + l % 8 + piece % 2 * 8) * M::pitch + column + piece / 2 * 8);
    } else {
#pragma unroll
      for (int p = 0; p < 4; ++p) both[p] = word(tile[(k + l % 4 + p % 2 * 4) * M::pitch + column + l / 4 + p / 2 * 8]);
    }
    if constexpr (sizeof(T) == 4)
      for (std::uint32_t& v : both) v = ptx::to_tf32(__uint_as_float(v));
    y[0] = both[0];
    y[1] = both[1];
    z[0] = both[2];
    z[1] = both[3];
  }
  __device__ static __forceinline__ std::uint32_t word(T v) {
    if constexpr (sizeof(T) == 4) return __float_as_uint(v);
    else return 0;
  }
};

}  // namespace cuboid::tiles
