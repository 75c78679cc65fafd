// SPDX-License-Identifier: Apache-2.0
// The words and built-in variables of CUDA C++, for a plain C++ compiler. The vector and 16-bit float types are NVIDIA's own.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>
#include <vector_types.h>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __managed__
#undef __grid_constant__
#undef __launch_bounds__
#undef __cluster_dims__
#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
/// What a kernel may read besides its memory: the check build takes any other variable of the program for the host's.
#define CUBOID_DEVICE_DATA __attribute__((section("cuboid_device")))
#define __constant__ CUBOID_DEVICE_DATA
/// A raw __shared__ array could be neither found, poisoned nor bounded.
#define __shared__ static_assert(false, "use GPU_SHARED or gpu::SmemAlloc instead of __shared__");
/// Code of the emulator that the check build must not take for the kernel's.
#define CUBOID_UNCHECKED __attribute__((no_sanitize_thread, no_sanitize("undefined")))
#define GPU_NOINLINE __attribute__((noinline))

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;
