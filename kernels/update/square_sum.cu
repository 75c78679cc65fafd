// SPDX-License-Identifier: Apache-2.0
// The sum of all squares of a list: one part per chunk, then the parts in order. In f64.
#include "kernels/update/cuda.h"
#include "kernels/update/lists.h"

namespace cuboid::cuda {
namespace {

/// Thread 0 gets the block's sum.
__device__ double block_sum(double value) {
  GPU_SHARED(double, parts, [update_threads]);
  const int thread = static_cast<int>(threadIdx.x);
  parts[thread] = value;
  __syncthreads();
  for (int width = update_threads / 2; width > 0; width /= 2) {
    if (thread < width) parts[thread] += parts[thread + width];
    __syncthreads();
  }
  return parts[0];
}

template <class T, int W, int N>
__global__ void __launch_bounds__(update_threads) square_kernel(const Lists<T, 1, N> lists, double* parts) {
  const auto c = lists.chunk(static_cast<int>(blockIdx.x));
  const T* x = lists.data[0][c.place];
  double sum = 0;
  const auto add = [&](T v) { sum += static_cast<double>(v) * static_cast<double>(v); };
#pragma unroll 2
  for (std::int64_t i = c.begin + static_cast<std::int64_t>(threadIdx.x) * W; i + W <= c.end; i += update_threads * W) {
    const auto packet = Packet<T, W>::load(x + i);
    for (int k = 0; k < W; ++k) add(packet.at[k]);
  }
  const std::int64_t i = c.end - (c.end - c.begin) % W + threadIdx.x;
  if (i < c.end) add(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(update_threads) add_kernel(const double* parts, std::int64_t count, double* total) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += update_threads) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

void square_sum(const Views& x, const Out& total, bool packets) {
  std::int64_t count = 0;
  for (const View& v : x) count += (v.size() + update_chunk - 1) / update_chunk;
  const Scratch<double> parts(count, Device::cuda);
  with_type(x.front(), [&]<class T>() {
    const auto with_width = [&]<int W>() {
      each_table<T>(
          [&]<int N>(const Lists<T, 1, N>& lists, std::int64_t before) {
            gpu::launch(square_kernel<T, W, N>, blocks_of(lists.first_block[lists.count], update_threads, "square_sum"), lists,
                        parts.data() + before);
          },
          x);
    };
    if (packets) with_width.template operator()<packet_width<T>>();
    else with_width.template operator()<1>();
  });
  gpu::launch(add_kernel, blocks_of(1, update_threads, "square_sum_parts"), static_cast<const double*>(parts.data()), count,
              total.as<double>());
}

}  // namespace

void square_sum_chunks(const Views& x, const Out& total) { square_sum(x, total, all_in_packets(x)); }
void square_sum_reference(const Views& x, const Out& total) { square_sum(x, total, false); }

}  // namespace cuboid::cuda
