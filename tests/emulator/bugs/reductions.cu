// SPDX-License-Identifier: Apache-2.0
// Mean and variance of columns, one block each (Welford, by shuffles and shared memory); scans; exchanges within a warp.
#include <cmath>

#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

struct Moments {
  float mean, m2, n;
};
__device__ Moments merge(Moments a, Moments b) {
  const float n = a.n + b.n;
  if (n == 0.f) return a;
  const float d = b.mean - a.mean;
  return {a.mean + d * (b.n / n), a.m2 + b.m2 + d * d * (a.n * b.n / n), n};
}
__device__ Moments from_below(unsigned mask, Moments m, int step) {
  return {__shfl_down_sync(mask, m.mean, step), __shfl_down_sync(mask, m.m2, step), __shfl_down_sync(mask, m.n, step)};
}

/// 1 no barrier, 2 shuffles begin at 8, 3 mask of half a warp, 4 shuffles in a divergent branch, 5 one row too many,
/// 6 barrier in a divergent branch, 7 one entry beyond the array, 8 return before the barrier.
template <int bug>
__global__ void moments_kernel(const float* x, float* mean, float* variance, int rows, int columns) {
  GPU_SHARED(Moments, part, [32]);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32, warps = static_cast<int>(blockDim.x) / 32;
  const int column = static_cast<int>(blockIdx.x);
  if (bug == 8 && t >= rows) return;
  Moments m{0, 0, 0};
  for (int r = t; bug == 5 ? r <= rows : r < rows; r += static_cast<int>(blockDim.x))
    m = merge(m, {x[r * columns + column], 0, 1});
  if (bug == 4 && lane < 16) m = merge(m, from_below(~0u, m, 16));
  const unsigned mask = bug == 3 ? 0xffffu : ~0u;
  for (int step = bug == 2 ? 8 : 16; step > 0; step /= 2) m = merge(m, from_below(mask, m, step));
  if (lane == 0) part[bug == 7 ? warp + 32 - warps + 1 : warp] = m;
  if constexpr (bug == 6) {
    if (warp == 0) __syncthreads();
  } else if constexpr (bug != 1) {
    __syncthreads();
  }
  if (warp == 0) {
    m = lane < warps ? part[lane] : Moments{0, 0, 0};
    for (int step = 16; step > 0; step /= 2) m = merge(m, from_below(~0u, m, step));
    if (lane == 0) {
      mean[column] = m.mean;
      variance[column] = m.m2 / m.n;
    }
  }
}

template <int bug>
bool moments() {
  const std::size_t rows = bug == 8 ? 100 : 300, columns = 5;
  const auto x = small_numbers(rows * columns);
  const Buffer<float> data(x), mean(columns), variance(columns);
  gpu::launch(moments_kernel<bug>, {.grid = dim3(columns), .block = dim3(256), .name = "moments"}, data, mean, variance,
              static_cast<int>(rows), static_cast<int>(columns));
  const auto m = mean.host(), v = variance.host();
  for (std::size_t c = 0; c < columns; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t r = 0; r < rows; ++r) sum += x[r * columns + c];
    sum /= static_cast<double>(rows);
    for (std::size_t r = 0; r < rows; ++r) squares += (x[r * columns + c] - sum) * (x[r * columns + c] - sum);
    if (!(std::abs(m[c] - sum) < 1e-4) || !(std::abs(v[c] - squares / static_cast<double>(rows)) < 1e-3)) return false;
  }
  return true;
}

__global__ void partial_warp_kernel(float* sums) {
  float v = 1;
  for (int step = 16; step > 0; step /= 2) v += __shfl_down_sync(~0u, v, step);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
}
/// The second warp has 16 lanes, the mask says 32.
bool partial_warp() {
  const Buffer<float> sums(2);
  gpu::launch(partial_warp_kernel, {.grid = dim3(1), .block = dim3(48), .name = "partial_warp"}, sums);
  return sums.host()[0] == 32;
}

/// 1 no __syncwarp.
template <int bug>
__global__ void reverse_kernel(const float* x, float* y) {
  GPU_SHARED(float, slot, [4][32]);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, i = blockIdx.x * blockDim.x + threadIdx.x;
  slot[warp][lane] = x[i];
  if constexpr (bug != 1) __syncwarp();
  y[i] = slot[warp][31 - lane];
}
template <int bug>
bool reverse() {
  const auto x = small_numbers(256, 1000);
  const Buffer<float> data(x), y(256);
  gpu::launch(reverse_kernel<bug>, {.grid = dim3(2), .block = dim3(128), .name = "reverse"}, data, y);
  const auto got = y.host();
  for (std::size_t i = 0; i < 256; ++i)
    if (got[i] != x[i / 32 * 32 + 31 - i % 32]) return false;
  return true;
}

/// 1 no barrier between the reads of a step and its writes, 2 barriers in two branches.
template <int bug>
__global__ void scan_kernel(float* sums) {
  GPU_SHARED(float, s, [64]);
  const int t = static_cast<int>(threadIdx.x);
  s[t] = 1;
  if constexpr (bug == 2) {
    if (t < 32) __syncthreads();
    else __syncthreads();
  } else {
    __syncthreads();
  }
  for (int step = 1; step < 64; step *= 2) {
    const float v = t >= step ? s[t - step] : 0.f;
    if constexpr (bug != 1) __syncthreads();
    s[t] += v;
    __syncthreads();
  }
  sums[t] = s[t];
}
template <int bug>
bool scan() {
  const Buffer<float> sums(64);
  gpu::launch(scan_kernel<bug>, {.grid = dim3(1), .block = dim3(64), .name = "scan"}, sums);
  const auto got = sums.host();
  for (std::size_t i = 0; i < 64; ++i)
    if (got[i] != static_cast<float>(i + 1)) return false;
  return true;
}

}  // namespace

Family reductions() {
  return {"reductions",
          {{"moments", moments<0>}, {"reverse", reverse<0>}, {"scan", scan<0>}},
          {{"no barrier before the partial results are read", moments<1>},
           {"shuffles begin at 8", moments<2>},
           {"mask of half a warp", moments<3>},
           {"shuffle in a divergent branch", moments<4>},
           {"reads one row too many", moments<5>},
           {"barrier in a divergent branch", moments<6>},
           {"writes beyond the shared array", moments<7>},
           {"return before the barrier", moments<8>},
           {"full mask, partial warp", partial_warp},
           {"exchange without __syncwarp", reverse<1>},
           {"scan without the barrier between reads and writes", scan<1>},
           {"barrier at two places", scan<2>}}};
}

}  // namespace cuboid::test
