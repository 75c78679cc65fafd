// SPDX-License-Identifier: Apache-2.0
// c = a b in tiles of 32 x 32 x 16 that come by cp.async into two buffers; rows beyond the matrices are zeros.
#include "core/ptx.h"
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr int rows = 45, columns = 36, depth = 40;
constexpr int tile = 32, step = 16;

/// 1 no barrier at the end of a step, 2 the last step leaves one group in flight, 3 no wait at all, 4 stores rows beyond c,
/// 5 takes one k too many, 6 the tile of a is short, 7 sums not initialised, 8 no barrier after the wait, 9 a transposed,
/// 10 destination not aligned, 11 no wait before the end, 12 more bytes than the copy has.
template <int bug>
__global__ void product_kernel(const float* a, const float* b, float* c) {
  gpu::SmemAlloc shared;
  float* sa = shared.take<float>(2 * tile * step - (bug == 6 ? 4 : 0));
  float* sb = shared.take<float>(2 * step * tile);
  const int t = static_cast<int>(threadIdx.x), row = t / 8 * 4, column = t % 8 * 4;
  const int row0 = static_cast<int>(blockIdx.x) * tile, column0 = static_cast<int>(blockIdx.y) * tile;
  const auto load = [&](int s) {
    const int buffer = s % 2, k0 = s * step;
    for (int i = t; i < tile * step / 4; i += 64) {
      const int r = i / (step / 4), k = i % (step / 4) * 4;
      const bool in = row0 + r < rows && (bug == 5 ? k0 + k <= depth : k0 + k < depth);
      const float* from = bug == 9 ? a + (k0 + r) * depth + row0 + k : a + (row0 + r) * depth + k0 + k;
      ptx::cp_async<16>(sa + (buffer * tile + r) * step + k + (bug == 10 ? 1 : 0), in ? from : a, in ? (bug == 12 ? 20 : 16) : 0);
    }
    for (int i = t; i < step * tile / 4; i += 64) {
      const int k = i / (tile / 4), n = i % (tile / 4) * 4;
      const bool in = k0 + k < depth && column0 + n < columns;
      ptx::cp_async<16>(sb + (buffer * step + k) * tile + n, in ? b + (k0 + k) * columns + column0 + n : b, in ? 16 : 0);
    }
    ptx::cp_async_commit();
  };
  float sum[4][4];
  if constexpr (bug != 7)
    for (auto& line : sum)
      for (float& v : line) v = 0;
  constexpr int steps = (depth + step - 1) / step;
  load(0);
  for (int s = 0; s < steps; ++s) {
    const bool last = s + 1 == steps;
    if (!last) load(s + 1);
    if (bug != 3 && bug != 11) {
      if (last && bug != 2) ptx::cp_async_wait<0>();
      else ptx::cp_async_wait<1>();
    }
    if constexpr (bug != 8) __syncthreads();
    const float *ta = sa + s % 2 * tile * step, *tb = sb + s % 2 * step * tile;
    for (int k = 0; k < step; ++k)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) sum[i][j] += ta[(row + i) * step + k] * tb[k * tile + column + j];
    if constexpr (bug != 1) __syncthreads();
  }
  if constexpr (bug == 2 || bug == 3) ptx::cp_async_wait<0>();
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int r = row0 + row + i, n = column0 + column + j;
      if ((bug == 4 || r < rows) && n < columns) c[r * columns + n] = sum[i][j];
    }
}

template <int bug>
bool product() {
  const auto a = small_numbers(rows * depth), b = small_numbers(depth * columns, 8, 2);
  const Buffer<float> da(a), db(b), dc(rows * columns);
  gpu::launch(product_kernel<bug>,
              {.grid = dim3((rows + tile - 1) / tile, (columns + tile - 1) / tile),
               .block = dim3(64),
               .smem = 4 * tile * step * sizeof(float),
               .name = "product"},
              da, db, dc);
  return is_product(dc.host(), a, b, rows, columns);
}

}  // namespace

Family copies() {
  return {"copies",
          {{"product", product<0>}},
          {{"no barrier at the end of a step", product<1>},
           {"the last step does not wait for its tile", product<2>},
           {"no wait", product<3>},
           {"rows beyond the matrix are stored", product<4>, false},
           {"<= instead of < where a row ends", product<5>, false},
           {"the tile is four floats short", product<6>},
           {"sums not initialised", product<7>, false},
           {"no barrier after the wait", product<8>},
           {"transposed index", product<9>},
           {"cp.async to an unaligned address", product<10>},
           {"copies never waited for", product<11>},
           {"cp.async of more bytes than it has", product<12>}}};
}

}  // namespace cuboid::test
