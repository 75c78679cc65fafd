// SPDX-License-Identifier: Apache-2.0
// c (32 x 16) = a b with mma.sync: two warps, 16 rows each, tiles of 16 k in shared memory.
#include "core/dtype.h"
#include "core/ptx.h"
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr int rows = 32, columns = 16, depth = 64, step = 16;

/// 1 ldmatrix rows of the wrong lanes, 2 b from the wrong k, 3 no barrier at the end of a step, 4 c's fragment transposed,
/// 5 rows of shared memory not 16-byte aligned, 6 a lane skips ldmatrix, 7 a's tile is one row short.
template <int bug>
__global__ void mma_kernel(const bf16* a, const bf16* b, float* c) {
  constexpr int pitch_a = bug == 5 ? step + 4 : step + 8, pitch_b = columns + 8;
  gpu::SmemAlloc shared;
  bf16* sa = shared.take<bf16>((bug == 7 ? rows - 1 : rows) * pitch_a);
  bf16* sb = shared.take<bf16>(depth * pitch_b);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32;
  for (int i = t; i < depth * columns; i += 64) sb[i / columns * pitch_b + i % columns] = b[i];
  float sum[2][4] = {};
  for (int k0 = 0; k0 < depth; k0 += step) {
    for (int i = t; i < rows * step; i += 64) sa[i / step * pitch_a + i % step] = a[i / step * depth + k0 + i % step];
    __syncthreads();
    const int matrix = lane / 8, down = bug == 1 ? matrix / 2 : matrix % 2, right = bug == 1 ? matrix % 2 : matrix / 2;
    std::uint32_t fa[4], fb[2];
    if (!(bug == 6 && lane == 31 && k0 > 0)) ptx::ldmatrix_x4(fa, sa + (warp * 16 + lane % 8 + down * 8) * pitch_a + right * 8);
    for (int n = 0; n < 2; ++n) {
      ptx::ldmatrix_x2_trans(fb, sb + ((bug == 2 ? 0 : k0) + lane % 16) * pitch_b + n * 8);
      ptx::mma_m16n8k16_bf16(sum[n], fa, fb);
    }
    if constexpr (bug != 3) __syncthreads();
  }
  for (int n = 0; n < 2; ++n)
    for (int i = 0; i < 4; ++i) {
      const int below = bug == 4 ? i % 2 : i / 2, next = bug == 4 ? i / 2 : i % 2;
      c[(warp * 16 + lane / 4 + below * 8) * columns + n * 8 + lane % 4 * 2 + next] = sum[n][i];
    }
}

template <int bug>
bool mma() {
  const auto a = small_numbers(rows * depth), b = small_numbers(depth * columns, 8, 2);
  const Buffer<bf16> da(as<bf16>(a)), db(as<bf16>(b));
  const Buffer<float> dc(rows * columns);
  gpu::launch(mma_kernel<bug>, {.grid = dim3(1), .block = dim3(64), .smem = 8192, .name = "mma"}, da, db, dc);
  return is_product(dc.host(), a, b, rows, columns);
}

}  // namespace

Family tensor_cores() {
  return {"tensor cores",
          {{"mma", mma<0>}},
          {{"ldmatrix rows of the wrong lanes", mma<1>},
           {"b from the wrong k", mma<2>},
           {"no barrier at the end of a step", mma<3>, false},
           {"c's fragment transposed", mma<4>},
           {"rows not 16-byte aligned", mma<5>},
           {"a lane skips ldmatrix", mma<6>},
           {"ldmatrix beyond the tile", mma<7>}}};
}

}  // namespace cuboid::test
