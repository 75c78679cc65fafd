// SPDX-License-Identifier: Apache-2.0
// For the .cu files: what most launches share.
#pragma once
#include <algorithm>

#include "core/cuda.h"
#include "core/gpu.h"
#include "core/indexer.h"

namespace cuboid::cuda {

/// `blocks` blocks of `threads` on the current stream.
inline gpu::LaunchCfg blocks_of(std::int64_t blocks, int threads, const char* name) {
  return {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(static_cast<unsigned>(threads)),
          .stream = static_cast<gpu::stream_t>(stream()),
          .name = name};
}

/// For kernels that stride over `jobs` one-thread jobs; few enough threads that a job's number plus the stride fits an int.
inline gpu::LaunchCfg over(std::int64_t jobs, const char* name) {
  constexpr int threads = 256;
  return blocks_of(std::min<std::int64_t>((jobs + threads - 1) / threads, 1 << 12), threads, name);
}

/// f.operator()<I>() with the narrowest index that reaches all of the views.
template <class F>
void with_index(std::initializer_list<View> views, F&& f) {
  if (fits_int(views)) f.template operator()<int>();
  else f.template operator()<std::int64_t>();
}

}  // namespace cuboid::cuda
