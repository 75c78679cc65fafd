// SPDX-License-Identifier: Apache-2.0
// The one header that kernel sources include: the same names under nvcc and under the emulator.
#pragma once
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "core/error.h"
#define GPU_NOINLINE __noinline__
#define GPU_SHARED(T, name, dims) __shared__ T name dims

namespace gpu {
using stream_t = cudaStream_t;
struct LaunchCfg {
  dim3 grid, block;
  size_t smem = 0;
  stream_t stream = nullptr;
  int cluster = 1;
  bool cooperative = false;
  const char* name = "kernel";
};
inline void check(cudaError_t e, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (e != cudaSuccess) cuboid::fail<cuboid::DeviceError>("cuda: ", cudaGetErrorString(e), " at ", file, ":", line);
}
template <class... P, class... A>
void launch(void (*k)(P...), const LaunchCfg& c, A&&... a) {
  if (c.smem > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(k), cudaFuncAttributeMaxDynamicSharedMemorySize, int(c.smem)));
  cudaLaunchConfig_t lc{};
  lc.gridDim = c.grid;
  lc.blockDim = c.block;
  lc.dynamicSmemBytes = c.smem;
  lc.stream = c.stream;
  cudaLaunchAttribute at[2];
  int n = 0;
  if (c.cluster > 1) {
    at[n].id = cudaLaunchAttributeClusterDimension;
    at[n].val.clusterDim = {unsigned(c.cluster), 1, 1};
    ++n;
  }
  if (c.cooperative) {
    at[n].id = cudaLaunchAttributeCooperative;
    at[n].val.cooperative = 1;
    ++n;
  }
  lc.attrs = at;
  lc.numAttrs = unsigned(n);
  check(cudaLaunchKernelEx(&lc, k, P(a)...));
}
template <class T>
__device__ __forceinline__ T* dyn_smem() {
  extern __shared__ __align__(1024) unsigned char gpu_dyn_smem_raw[];
  return reinterpret_cast<T*>(gpu_dyn_smem_raw);
}
struct SmemAlloc {
  unsigned char* base;
  size_t off = 0;
  __device__ __forceinline__ SmemAlloc() : base(dyn_smem<unsigned char>()) {}
  template <class T>
  __device__ __forceinline__ T* take(size_t n, size_t align = 16) {
    off = (off + align - 1) / align * align;
    T* p = reinterpret_cast<T*>(base + off);
    off += n * sizeof(T);
    return p;
  }
};
enum class Kind { h2d = cudaMemcpyHostToDevice, d2h = cudaMemcpyDeviceToHost, d2d = cudaMemcpyDeviceToDevice };
inline int device_count() {
  int n = 0;
  return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}
inline void* malloc_bytes(size_t n) {
  void* p = nullptr;
  if (cudaMalloc(&p, n) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
inline void free_bytes(void* p) { check(cudaFree(p)); }
inline void copy_async(void* to, const void* from, size_t n, Kind kind, stream_t s) {
  check(cudaMemcpyAsync(to, from, n, static_cast<cudaMemcpyKind>(kind), s));
}
inline void stream_synchronize(stream_t s) { check(cudaStreamSynchronize(s)); }
}  // namespace gpu
#else
#include CUBOID_EMULATOR
namespace gpu {
enum class Kind { h2d, d2h, d2d };
inline int device_count() { return 1; }
inline void copy_async(void* to, const void* from, size_t n, Kind kind, stream_t) {
  if (kind == Kind::d2h) copy_d2h(to, from, n);
  else copy_h2d(to, from, n);
}
inline void stream_synchronize(stream_t) {}
}  // namespace gpu
#endif
