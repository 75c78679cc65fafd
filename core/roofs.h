// SPDX-License-Identifier: Apache-2.0
// What the machine at hand can do at best, measured: the two roofs that every kernel stands under (Williams et al. 2009).
#pragma once
#include "core/device.h"

namespace cuboid {

/// Of many short measurements the best, which is the roof, and the median: the two lie apart where something else is busy.
struct Rate {
  double best = 0, median = 0;
};

struct Roofs {
  Rate flops;  // f32 per second in fused multiply-adds (two each), all threads
  Rate bytes;  // per second between memory and registers, all threads: the better of a sum and of a[i] = b[i] + s * c[i]
};

/// Takes about `seconds`, half of it for each roof, and needs some hundred MiB for that time only. On the CPU with
/// thread_count() threads; on a CUDA device without its tensor cores.
Roofs measure_roofs(Device device = Device::cpu, double seconds = 0.5);

namespace detail {
/// Seconds that the device took for so many operations or bytes.
struct Sample {
  double amount = 0, seconds = 0;
};
Sample cuda_multiply_adds();
Sample cuda_stream();
}  // namespace detail

}  // namespace cuboid
