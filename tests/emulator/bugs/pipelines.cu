// SPDX-License-Identifier: Apache-2.0
// c (64 x 32) = a b as on Hopper: a producer warp fills two stages by TMA, a warpgroup multiplies them by wgmma. And a tile
// written by ordinary stores, and one that leaves by TMA.
#include "core/tensor_map.h"
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr int rows = 64, columns = 32, depth = 320, step = 64, stages = 2;

/// 1 'empty' never signalled, 2 the producer ignores 'empty', 3 too few bytes expected, 4 the producer's parity is wrong,
/// 5 no wait before the sums are stored, 6 'empty' before the wait, 7 no barrier after the mbarriers' init, 8 no wgmma fence,
/// 9 one arrival too many, 10 an mbarrier read like a number, 11 a stage where another one is.
template <int bug>
__global__ void pipeline_kernel(const __grid_constant__ gpu::TensorMap a, const __grid_constant__ gpu::TensorMap b, float* c) {
#if GPU_HAS_SM90A
  gpu::SmemAlloc shared;
  auto* sa = shared.take<unsigned char>(stages * 8192, 1024);
  auto* sb = shared.take<unsigned char>(stages * 4096, 1024);
  auto* full = shared.take<std::uint64_t>(stages, 8);
  auto* empty = shared.take<std::uint64_t>(stages, 8);
  const int t = static_cast<int>(threadIdx.x), warp = t / 32, lane = t % 32;
  if (t == 0) {
    for (int s = 0; s < stages; ++s) {
      ptx::mbar_init(&full[s], 1);
      ptx::mbar_init(&empty[s], 4);
    }
    ptx::mbar_fence_init();
  }
  if constexpr (bug != 7) __syncthreads();
  if (warp == 4) {
    if (ptx::elect_one())
      for (int i = 0; i < depth / step; ++i) {
        const int s = i % stages;
        const auto phase = static_cast<std::uint32_t>(i / stages) & 1u;
        if constexpr (bug != 2) ptx::mbar_wait(&empty[s], bug == 4 ? phase : phase ^ 1u);
        ptx::mbar_arrive_expect_tx(&full[s], bug == 3 ? 8192 : 8192 + 4096);
        ptx::tma_load_2d(sa + (bug == 11 ? 0 : s) * 8192, &a, &full[s], i * step, 0);
        ptx::tma_load_2d(sb + s * 4096, &b, &full[s], i * step, 0);
      }
  } else {
    float sum[columns / 2];
    for (float& v : sum) v = 0;
    for (int i = 0; i < depth / step; ++i) {
      const int s = i % stages;
      const auto phase = static_cast<std::uint32_t>(i / stages) & 1u;
      if (bug == 10 && full[s] == 1) c[0] = 1;
      ptx::mbar_wait(&full[s], phase);
      if constexpr (bug != 8) ptx::wgmma_fence();
      const auto da = ptx::wgmma_desc_sw128(sa + s * 8192), db = ptx::wgmma_desc_sw128(sb + s * 4096);
      for (std::uint64_t k = 0; k < 4; ++k) ptx::wgmma_m64k16_bf16<columns>(sum, da + k * 2, db + k * 2);
      ptx::wgmma_commit();
      if constexpr (bug != 5 && bug != 6) ptx::wgmma_wait<0>();
      if (bug != 1 && (lane == 0 || (bug == 9 && lane == 1))) ptx::mbar_arrive(&empty[s]);
      if constexpr (bug == 6) ptx::wgmma_wait<0>();
    }
    for (int i = 0; i < columns / 2; ++i)
      c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * columns + i / 4 * 8 + lane % 4 * 2 + i % 2] = sum[i];
    if constexpr (bug == 5) ptx::wgmma_wait<0>();
  }
#endif
}

/// One step of 64 k with operands written by the threads themselves: 1 no proxy fence, 2 swizzle forgotten.
template <int bug>
__global__ void tile_kernel(const bf16* a, const bf16* b, float* c) {
#if GPU_HAS_SM90A
  gpu::SmemAlloc shared;
  auto* sa = shared.take<bf16>(64 * 64, 1024);
  auto* sb = shared.take<bf16>(32 * 64, 1024);
  const int t = static_cast<int>(threadIdx.x);
  const auto place = [](int row, int k) { return row * 64 + ((bug == 2 ? k / 8 : k / 8 ^ row % 8) * 8) + k % 8; };
  for (int i = t; i < 64 * 64; i += 128) sa[place(i / 64, i % 64)] = a[i / 64 * depth + i % 64];
  for (int i = t; i < 32 * 64; i += 128) sb[place(i / 64, i % 64)] = b[i / 64 * depth + i % 64];
  if constexpr (bug != 1) ptx::fence_proxy_async();
  __syncthreads();
  float sum[columns / 2];
  ptx::wgmma_fence();
  const auto da = ptx::wgmma_desc_sw128(sa), db = ptx::wgmma_desc_sw128(sb);
  for (std::uint64_t k = 0; k < 4; ++k) ptx::wgmma_m64k16_bf16<columns>(sum, da + k * 2, db + k * 2, k > 0);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  for (int i = 0; i < columns / 2; ++i)
    c[(t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * columns + i / 4 * 8 + t % 4 * 2 + i % 2] = sum[i];
#endif
}

/// a, b: rows of k. The product over the first `k_size` of them.
bool equals_product(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c, std::size_t k_size) {
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < k_size; ++k) sum += a[i * depth + k] * b[j * depth + k];
      if (c[i * columns + j] != sum) return false;
    }
  return true;
}

template <int bug>
bool pipeline() {
  const auto a = small_numbers(rows * depth), b = small_numbers(columns * depth, 8, 2);
  const Buffer<bf16> da(as<bf16>(a)), db(as<bf16>(b));
  const Buffer<float> c(rows * columns);
  const auto map = [](bf16* p, int lines) {
    return gpu::tiled_map({p, DType::bf16, 2, {depth, lines}, {1, depth}, ptx::Swizzle::b128}, {step, lines, 1, 1, 1});
  };
  gpu::launch(pipeline_kernel<bug>, {.grid = dim3(1), .block = dim3(160), .smem = stages * 12288 + 64, .name = "pipeline"},
              map(da, rows), map(db, columns), c);
  return equals_product(a, b, c.host(), depth);
}

template <int bug>
bool tile() {
  const auto a = small_numbers(rows * depth), b = small_numbers(columns * depth, 8, 2);
  const Buffer<bf16> da(as<bf16>(a)), db(as<bf16>(b));
  const Buffer<float> c(rows * columns);
  gpu::launch(tile_kernel<bug>, {.grid = dim3(1), .block = dim3(128), .smem = 12288, .name = "tile"}, da, db, c);
  return equals_product(a, b, c.host(), 64);
}

/// Two tiles leave through one buffer: 1 it is filled again while TMA still reads it, 2 the block ends before TMA has read,
/// 3 no proxy fence.
template <int bug>
__global__ void store_kernel(const __grid_constant__ gpu::TensorMap map) {
#if GPU_HAS_SM90
  gpu::SmemAlloc shared;
  auto* s = shared.take<float>(8 * 32, 128);
  const int t = static_cast<int>(threadIdx.x);
  for (int tile = 0; tile < 2; ++tile) {
    for (int i = t; i < 8 * 32; i += 32) s[i] = static_cast<float>(tile * 256 + i);
    if constexpr (bug != 3) ptx::fence_proxy_async();
    __syncthreads();
    if (t == 0) {
      ptx::tma_store_2d(&map, s, 0, tile * 8);
      ptx::bulk_commit();
      if constexpr (bug != 1 && bug != 2) ptx::bulk_wait_read<0>();
      if constexpr (bug == 1)
        if (tile == 1) ptx::bulk_wait_read<0>();
    }
    __syncthreads();
  }
#endif
}
template <int bug>
bool store() {
  const Buffer<float> out(16 * 32);
  const auto map = gpu::tiled_map({out, DType::f32, 2, {32, 16}, {1, 32}}, {32, 8, 1, 1, 1});
  gpu::launch(store_kernel<bug>, {.grid = dim3(1), .block = dim3(32), .smem = 1024, .name = "store"}, map);
  const auto got = out.host();
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i] != static_cast<float>(i)) return false;
  return true;
}

}  // namespace

Family pipelines() {
  return {"pipelines",
          {{"pipeline", pipeline<0>}, {"tile", tile<0>}, {"store", store<0>}},
          {{"'empty' is never signalled", pipeline<1>},
           {"the producer ignores 'empty'", pipeline<2>},
           {"too few bytes expected", pipeline<3>},
           {"the producer waits for the wrong parity", pipeline<4>},
           {"sums stored before wgmma_wait", pipeline<5>},
           {"'empty' signalled before wgmma_wait", pipeline<6>, false},
           {"no barrier after the mbarriers' init", pipeline<7>},
           {"no wgmma_fence", pipeline<8>},
           {"one arrival too many", pipeline<9>},
           {"an mbarrier read like a number", pipeline<10>, false},
           {"two stages in one place", pipeline<11>},
           {"no fence.proxy.async before wgmma", tile<1>, false},
           {"swizzle forgotten", tile<2>},
           {"a buffer filled again while TMA reads it", store<1>},
           {"the block ends while TMA reads its memory", store<2>},
           {"no fence.proxy.async before a TMA store", store<3>, false}}};
}

}  // namespace cuboid::test
