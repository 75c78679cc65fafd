// SPDX-License-Identifier: Apache-2.0
// For this room's .cu files: threads of a block in teams of `lanes` (a power of two), one team per output.
#pragma once
#include "core/launch.h"
#include "kernels/reduce/axes.h"

namespace cuboid::reduce::cuda {

inline constexpr int team_threads = 256;

/// Combines the values of each team; all of its lanes get the result. Every thread of the block must call it.
template <class T, class F>
__device__ T fold(T value, int lanes, F&& combine) {
  GPU_SHARED(T, parts, [team_threads]);
  if (lanes == 1) return value;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % lanes;
  parts[thread] = value;
  __syncthreads();
  for (int width = lanes / 2; width > 0; width /= 2) {
    if (lane < width) parts[thread] = combine(parts[thread], parts[thread + width]);
    __syncthreads();
  }
  value = parts[thread - lane];
  __syncthreads();
  return value;
}

/// The smallest power of two that is at least n, at most a block.
inline int lanes_for(std::int64_t n) {
  int lanes = 1;
  while (lanes < team_threads && lanes < n) lanes *= 2;
  return lanes;
}

/// For kernels whose blocks stride over teams.
inline gpu::LaunchCfg teams_of(std::int64_t outputs, int lanes, const char* name) {
  const std::int64_t per_block = team_threads / lanes;
  return cuboid::cuda::blocks_of(std::min<std::int64_t>((outputs + per_block - 1) / per_block, 1 << 12), team_threads, name);
}

/// How many teams share an output's elements: enough to fill a device, each with some work. By shape alone.
inline std::int64_t shares_of(std::int64_t outputs, std::int64_t length) {
  constexpr std::int64_t wanted = 1024, least = 4 * team_threads;
  return std::max<std::int64_t>(1, std::min(wanted / outputs, length / least));
}

}  // namespace cuboid::reduce::cuda
