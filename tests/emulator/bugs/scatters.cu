// SPDX-License-Identifier: Apache-2.0
// Max pooling (2 x 2 windows) with a scattered gradient; rows scaled in vectors of four; counting with atomics.
#include "tests/emulator/bugs/bugs.h"

namespace cuboid::test {
namespace {

constexpr int height = 6, width = 10, out_height = 5, out_width = 9, outputs = out_height * out_width;

__global__ void pool_kernel(const float* x, float* y, int* index) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= outputs) return;
  const int h = i / out_width, w = i % out_width;
  int best = h * width + w;
  for (int k = 1; k < 4; ++k) {
    const int at = (h + k / 2) * width + w + k % 2;
    if (x[at] > x[best]) best = at;
  }
  y[i] = x[best];
  index[i] = best;
}
/// 1 += instead of atomicAdd, 2 threads beyond the end, 3 the host does not clear dx, 4 height and width exchanged.
template <int bug>
__global__ void scatter_kernel(const float* g, const int* index, float* dx) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug != 2 && i >= outputs) return;
  int at = index[i];
  if (bug == 4) at = at % width * width + at / width;
  if constexpr (bug == 1) dx[at] += g[i];
  else atomicAdd(&dx[at], g[i]);
}

template <int bug>
bool scatter() {
  const auto x = small_numbers(height * width, 100), g = small_numbers(outputs, 8, 2);
  const Buffer<float> dx_in(x), y(outputs), dg(g), dx(x.size());
  const Buffer<int> index(outputs);
  if (bug != 3) gpu::fill_bytes(dx, 0, dx.bytes());
  const gpu::LaunchCfg over{.grid = dim3(2), .block = dim3(32), .name = "scatter"};
  gpu::launch(pool_kernel, over, dx_in, y, index);
  gpu::launch(scatter_kernel<bug>, over, dg, index, dx);
  const auto at = index.host();
  std::vector<float> expected(x.size());
  for (std::size_t i = 0; i < outputs; ++i) expected[static_cast<std::size_t>(at[i])] += g[i];
  return dx.host() == expected;
}

/// 1 vectors of four although rows are not 16-byte aligned.
template <int bug>
__global__ void scale_kernel(float* x, const float* factors, int columns) {
  float* row = x + blockIdx.x * static_cast<unsigned>(columns);
  const float f = factors[blockIdx.x];
  const int vectors = bug == 1 || columns % 4 == 0 ? columns / 4 : 0;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += 32) {
    auto* p = reinterpret_cast<float4*>(row) + i;
    const float4 v = *p;
    *p = make_float4(v.x * f, v.y * f, v.z * f, v.w * f);
  }
  for (int i = vectors * 4 + static_cast<int>(threadIdx.x); i < columns; i += 32) row[i] *= f;
}
template <int bug>
bool scale() {
  const std::size_t rows = 10, columns = 6;
  const auto x = small_numbers(rows * columns), factors = small_numbers(rows, 8, 2);
  const Buffer<float> dx(x), df(factors);
  gpu::launch(scale_kernel<bug>, {.grid = dim3(rows), .block = dim3(32), .name = "scale"}, dx, df, static_cast<int>(columns));
  auto expected = x;
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] *= factors[i / columns];
  return dx.host() == expected;
}

/// Each block adds its sum to *total: 1 by +=, 2 to memory that nobody cleared, 3 with a plain store by one of them.
template <int bug>
__global__ void total_kernel(const int* x, int* total) {
  int sum = x[blockIdx.x * 32 + threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x != 0) return;
  if (bug == 1 || (bug == 3 && blockIdx.x == 0)) *total += sum;
  else atomicAdd(total, sum);
}
template <int bug>
bool total() {
  std::vector<int> x(256);
  int sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] = static_cast<int>(i);
  const Buffer<int> dx(x), dt(1);
  if (bug != 2) gpu::fill_bytes(dt, 0, dt.bytes());
  gpu::launch(total_kernel<bug>, {.grid = dim3(8), .block = dim3(32), .name = "total"}, dx, dt);
  return dt.host()[0] == sum;
}

/// Blocks leave partial sums; the last one to come adds them. 1 no fence before the ticket, 2 none after it.
template <int bug>
__global__ void last_block_kernel(const float* x, float* parts, unsigned* ticket, float* sum) {
  GPU_SHARED(float, s, [64]);
  GPU_SHARED(bool, last, [1]);
  const unsigned t = threadIdx.x;
  const auto add_all = [&](float v) {
    s[t] = v;
    __syncthreads();
    for (unsigned step = 32; step > 0; step /= 2) {
      if (t < step) s[t] += s[t + step];
      __syncthreads();
    }
  };
  add_all(x[blockIdx.x * 64 + t]);
  if (t == 0) {
    parts[blockIdx.x] = s[0];
    if constexpr (bug != 1) __threadfence();
    last[0] = atomicAdd(ticket, 1u) == gridDim.x - 1;
    if constexpr (bug != 2) __threadfence();
  }
  __syncthreads();
  if (!last[0]) return;
  add_all(t < gridDim.x ? parts[t] : 0.f);
  if (t == 0) *sum = s[0];
}
template <int bug>
bool last_block() {
  const auto x = small_numbers(7 * 64);
  float expected = 0;
  for (const float v : x) expected += v;
  const Buffer<float> dx(x), parts(7), sum(1);
  const Buffer<unsigned> ticket(1, 0);
  gpu::launch(last_block_kernel<bug>, {.grid = dim3(7), .block = dim3(64), .name = "last_block"}, dx, parts, ticket, sum);
  return sum.host()[0] == expected;
}

}  // namespace

Family scatters() {
  return {"scatters",
          {{"scatter", scatter<0>}, {"scale", scale<0>}, {"total", total<0>}, {"last block", last_block<0>}},
          {{"+= instead of atomicAdd", scatter<1>, false},
           {"threads beyond the end", scatter<2>, false},
           {"the gradient is not cleared", scatter<3>},
           {"height and width exchanged", scatter<4>},
           {"float4 on rows that are not aligned", scale<1>},
           {"blocks add with +=", total<1>, false},
           {"the sum is not cleared", total<2>},
           {"a plain store among atomics", total<3>, false},
           {"last block: no fence before the ticket", last_block<1>, false},
           {"last block: no fence after the ticket", last_block<2>, false}}};
}

}  // namespace cuboid::test
