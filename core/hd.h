// SPDX-License-Identifier: Apache-2.0
// Marks what a device may call as well. Nothing outside nvcc; the emulator's kernels are ordinary C++.
#pragma once
#if defined(__CUDACC__)
#define CUBOID_HD __host__ __device__
#else
#define CUBOID_HD
#endif
