// SPDX-License-Identifier: Apache-2.0
// Launches that no device takes; grids, clusters and named barriers used wrongly.
#include "core/ptx.h"
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

__global__ void nothing_kernel(float*) {}
bool launches(const gpu::LaunchCfg& c) {
  const Buffer<float> x(1);
  gpu::launch(nothing_kernel, c, x);
  gpu::synchronize();
  return true;
}
bool too_many_threads() { return launches({.grid = dim3(1), .block = dim3(2048)}); }
bool grid_too_high() { return launches({.grid = dim3(1, 70000), .block = dim3(32)}); }
bool empty_grid() { return launches({.grid = dim3(0), .block = dim3(32)}); }
bool too_much_dynamic_shared() { return launches({.grid = dim3(1), .block = dim3(32), .smem = 240000}); }
bool cluster_does_not_divide() { return launches({.grid = dim3(6), .block = dim3(32), .cluster = 4}); }

__global__ void big_static_kernel(float* x) {
  GPU_SHARED(float, s, [12500]);
  s[threadIdx.x] = 1;
  x[threadIdx.x] = s[threadIdx.x];
}
bool too_much_static_shared() {
  const Buffer<float> x(32);
  gpu::launch(big_static_kernel, {.grid = dim3(1), .block = dim3(32)}, x);
  gpu::synchronize();
  return true;
}
__global__ void dynamic_kernel(float* x) {
  gpu::SmemAlloc shared;
  float* s = shared.take<float>(64);
  s[threadIdx.x] = 1;
  x[threadIdx.x] = s[threadIdx.x];
}
template <std::size_t bytes>
bool too_little_dynamic_shared() {
  const Buffer<float> x(32);
  gpu::launch(dynamic_kernel, {.grid = dim3(1), .block = dim3(32), .smem = bytes}, x);
  gpu::synchronize();
  return true;
}

/// Sums over clusters of four: 1 a block may leave while its shared memory is read, 2 no sync before it is read, 3 rank 4.
template <int bug>
__global__ void cluster_kernel(const float* x, float* sums) {
#if GPU_HAS_SM90
  GPU_SHARED(float, s, [1]);
  float v = x[blockIdx.x * 32 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(~0u, v, step);
  if (threadIdx.x == 0) s[0] = v;
  if constexpr (bug != 2) gpu::cluster_sync();
  if (gpu::cluster_rank() == 0 && threadIdx.x == 0) {
    float sum = 0;
    for (unsigned rank = 0; rank < (bug == 3 ? 5 : 4); ++rank) sum += gpu::cluster_map(&s[0], rank)[0];
    sums[blockIdx.x / 4] = sum;
  }
  if constexpr (bug != 1) gpu::cluster_sync();
#endif
}
template <int bug>
bool cluster() {
  const auto x = small_numbers(256);
  const Buffer<float> dx(x), sums(2);
  gpu::launch(cluster_kernel<bug>, {.grid = dim3(8), .block = dim3(32), .cluster = 4, .name = "cluster"}, dx, sums);
  std::vector<float> expected(2);
  for (std::size_t i = 0; i < x.size(); ++i) expected[i / 128] += x[i];
  return sums.host() == expected;
}

/// b = a reversed, over the whole grid: 1 the launch is not cooperative, 2 no grid_sync.
template <int bug>
__global__ void grid_kernel(float* a, float* b) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, count = gridDim.x * blockDim.x;
  a[i] = static_cast<float>(i);
  if constexpr (bug != 2) gpu::grid_sync();
  b[i] = a[count - 1 - i];
}
template <int bug>
bool grid() {
  const Buffer<float> a(256), b(256);
  gpu::launch(grid_kernel<bug>, {.grid = dim3(4), .block = dim3(64), .cooperative = bug != 1, .name = "grid"}, a, b);
  const auto got = b.host();
  for (std::size_t i = 0; i < 256; ++i)
    if (got[i] != static_cast<float>(255 - i)) return false;
  return true;
}

/// Two warps fill a slot, two others empty it: 1 the slot is used again before it is empty, 2 a warp leaves before the
/// barrier it should meet the others at, 3 they disagree on how many meet.
template <int bug>
__global__ void slot_kernel(const float* x, float* y, int steps) {
  GPU_SHARED(float, slot, [64]);
  const int t = static_cast<int>(threadIdx.x) % 64;
  for (int step = 0; step < steps; ++step) {
    if (threadIdx.x < 64) {
      if (step > 0 && bug != 1) ptx::named_bar_sync(2, 128);
      slot[t] = x[step * 64 + t];
      if (bug == 2 && step == 1 && t < 32) return;
      ptx::named_bar_sync(1, bug == 3 ? 96 : 128);
    } else {
      ptx::named_bar_sync(1, 128);
      y[step * 64 + t] = slot[63 - t];
      if (step + 1 < steps && bug != 1) ptx::named_bar_sync(2, 128);
    }
  }
}
template <int bug>
bool slot() {
  const auto x = small_numbers(64 * 5, 1000);
  const Buffer<float> dx(x), dy(x.size());
  gpu::launch(slot_kernel<bug>, {.grid = dim3(1), .block = dim3(128), .name = "slot"}, dx, dy, 5);
  const auto y = dy.host();
  for (std::size_t i = 0; i < x.size(); ++i)
    if (y[i] != x[i / 64 * 64 + 63 - i % 64]) return false;
  return true;
}

/// 1 the code believes that the chosen lane is number 0.
template <int bug>
__global__ void elected_kernel(float* out) {
#if GPU_HAS_SM90
  const bool chosen = ptx::elect_one();
  if (bug == 1 ? chosen && threadIdx.x == 0 : chosen) *out = 1;
#endif
}
template <int bug>
bool elected() {
  const Buffer<float> out(1, 0);
  gpu::launch(elected_kernel<bug>, {.grid = dim3(1), .block = dim3(32), .name = "elected"}, out);
  return out.host()[0] == 1;
}

}  // namespace

Family configurations() {
  return {"configurations",
          {{"cluster", cluster<0>}, {"grid", grid<0>}, {"slot", slot<0>}, {"elected", elected<0>}},
          {{"2048 threads per block", too_many_threads},
           {"70000 blocks in y", grid_too_high},
           {"no blocks", empty_grid},
           {"too much dynamic shared memory", too_much_dynamic_shared},
           {"too much static shared memory", too_much_static_shared},
           {"more dynamic shared memory than the launch gave", too_little_dynamic_shared<128>},
           {"dynamic shared memory, the launch gave none", too_little_dynamic_shared<0>},
           {"clusters do not divide the grid", cluster_does_not_divide},
           {"a block leaves while its cluster reads it", cluster<1>, false},
           {"no sync before the cluster is read", cluster<2>},
           {"a rank beyond the cluster", cluster<3>},
           {"grid_sync in an ordinary launch", grid<1>},
           {"no grid_sync", grid<2>},
           {"a slot is used again before it is empty", slot<1>},
           {"a warp leaves before a named barrier", slot<2>},
           {"a named barrier with two counts", slot<3>},
           {"elect_one taken for lane 0", elected<1>}}};
}

}  // namespace cuboid::test
