// SPDX-License-Identifier: Apache-2.0
// What the kernels for wgmma share: a ring of stages in shared memory that one thread fills by TMA and two warpgroups empty,
// 64 rows of the tile each, and the way from their registers to the result.
//
// A stage holds 64 of k, 128 rows and all columns, in 64 / c boxes of c channels, so that a tap of few channels wastes little.
// Boxes lie as TMA swizzles them, their lines 2 c bytes long. What a box reads beyond the tensor is zero.
#pragma once
#include "core/tensor_map.h"
#include "kernels/conv/contract.h"

#if CUBOID_EMULATED && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // tensor maps by value: GCC tells that it aligned them otherwise before 4.6
#endif

namespace cuboid::tiles {

/// Channels of a box: 16, 32 or 64.
struct BoxSize {
  int log = 2;  // of channels / 16

  CUBOID_HD int channels() const { return 16 << log; }
  CUBOID_HD int in_stage() const { return 4 >> log; }
  CUBOID_HD ptx::Swizzle swizzle() const { return static_cast<ptx::Swizzle>(3 - log); }
};

template <class T_, int columns_>
struct Wgmma {
  using T = T_;
  using Sum = float;
  static constexpr int rows = 128, columns = columns_, depth = 64;
  static constexpr int threads = 256, all_threads = threads + 32;  // consumers, and a warp that copies
  static constexpr int stages = 4;
  static constexpr int blocks = columns <= 64 ? 2 : 1;  // of a multiprocessor
  static constexpr int a_bytes = rows * depth * 2, b_bytes = columns * depth * 2;
  static constexpr int strip = columns < 64 ? columns : 64;  // columns of b that lie side by side where k does not
  static constexpr ptx::Swizzle strip_swizzle = strip == 64 ? ptx::Swizzle::b128 : ptx::Swizzle::b64;
  static constexpr std::size_t shared_bytes = stages * (a_bytes + b_bytes) + 2 * stages * 8 + rows * 8;
  static_assert(stages * (a_bytes + b_bytes) >= rows * (columns + 4) * 4);
};

#if GPU_HAS_SM90A
/// The block's shared memory. full[s]: stage s has arrived; empty[s]: all eight warps have read it.
template <class W>
struct Ring {
  unsigned char *a_room, *b_room;
  std::uint64_t *full, *empty;
  std::int64_t* rows;

  __device__ Ring() {
    gpu::SmemAlloc shared;
    a_room = shared.take<unsigned char>(W::stages * (W::a_bytes + W::b_bytes), 1024);
    b_room = a_room + W::stages * W::a_bytes;
    full = shared.take<std::uint64_t>(W::stages, 8);
    empty = shared.take<std::uint64_t>(W::stages, 8);
    rows = shared.take<std::int64_t>(W::rows, 8);
    if (threadIdx.x == 0) {
      for (int s = 0; s < W::stages; ++s) {
        ptx::mbar_init(&full[s], 1);
        ptx::mbar_init(&empty[s], W::threads / 32);
      }
      ptx::mbar_fence_init();
    }
    __syncthreads();
  }
  __device__ unsigned char* a(int step) const { return a_room + step % W::stages * W::a_bytes; }
  __device__ unsigned char* b(int step) const { return b_room + step % W::stages * W::b_bytes; }

  /// The producer's: waits until the stage is free, and tells what is coming.
  __device__ std::uint64_t* begin_fill(int step) const {
    const int s = step % W::stages;
    ptx::mbar_wait(&empty[s], (static_cast<unsigned>(step / W::stages) & 1) ^ 1);
    ptx::mbar_arrive_expect_tx(&full[s], W::a_bytes + W::b_bytes);
    return &full[s];
  }
  // The consumers'.
  __device__ void wait_full(int step) const {
    ptx::mbar_wait(&full[step % W::stages], static_cast<unsigned>(step / W::stages) & 1);
  }
  __device__ void release(int step) const {
    if (threadIdx.x % 32 == 0) ptx::mbar_arrive(&empty[step % W::stages]);
  }
};

/// All steps of a warpgroup. a(k) and b(k) describe the k-th 16 of k in stage 0.
template <class W, int trans_a, int trans_b, class A, class B>
__device__ __forceinline__ void multiply_steps(const Ring<W>& ring, int steps, float (&sum)[W::columns / 2], A&& a, B&& b) {
#pragma unroll
  for (float& v : sum) v = 0.f;
  for (int step = 0; step < steps; ++step) {
    const std::uint64_t stage = step % W::stages;
    ring.wait_full(step);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < W::depth / 16; ++k) {
      const std::uint64_t da = a(k) + stage * (W::a_bytes / 16), db = b(k) + stage * (W::b_bytes / 16);
      if constexpr (std::is_same_v<typename W::T, bf16>) ptx::wgmma_m64k16_bf16<W::columns, trans_a, trans_b>(sum, da, db);
      else ptx::wgmma_m64k16_f16<W::columns, trans_a, trans_b>(sum, da, db);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<1>();
    if (step > 0) ring.release(step - 1);
  }
  ptx::wgmma_wait<0>();
}

/// From the registers of both warpgroups to where rows of the result lie; row(r) as in Task (contract.h).
template <class W, class Row>
__device__ void write_sums(const Ring<W>& ring, const float (&sum)[W::columns / 2], const Result<typename W::T>& result,
                           int column, int end, Row&& row) {
  float* tile = reinterpret_cast<float*>(ring.a_room);
  constexpr int pitch = W::columns + 4;
  ptx::named_bar_sync(1, W::threads);  // both have read the last stages
  const int t = static_cast<int>(threadIdx.x), first = t / 32 * 16 + t % 32 / 4;
#pragma unroll
  for (int j = 0; j < W::columns / 8; ++j)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      Packet<float, 2>{{sum[4 * j + 2 * h], sum[4 * j + 2 * h + 1]}}.store(tile + (first + 8 * h) * pitch + 8 * j + t % 4 * 2);
  if (t < W::rows) ring.rows[t] = row(t);
  ptx::named_bar_sync(1, W::threads);
  write_tile<W, typename W::T>(result, tile, ring.rows, column, end);
}
#endif

}  // namespace cuboid::tiles
