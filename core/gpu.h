// SPDX-License-Identifier: Apache-2.0
// The one header that kernel sources include: the same names under nvcc and under the emulator (tests/emulator/README.md has
// the rules for kernel code). Device side: shared memory, launches, barriers of grid and cluster. Host side: memory, streams,
// events, graphs. A failed call throws DeviceError with the place it was made.
#pragma once
#if CUBOID_EMULATED
#include "tests/emulator/emulator.h"
#define GPU_HAS_SM80 1
#define GPU_HAS_SM90 1
#define GPU_HAS_SM90A 1
namespace cuboid::gpu {
class Unrecorded {
 public:
  Unrecorded() {}
};
}  // namespace cuboid::gpu
#else
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <string>

#include "core/error.h"

// Whether this pass of the compiler knows the instructions of a compute capability; the host's pass and the emulator know all.
#if defined(__CUDA_ARCH__)
#define GPU_HAS_SM80 (__CUDA_ARCH__ >= 800)
#define GPU_HAS_SM90 (__CUDA_ARCH__ >= 900)
#define GPU_HAS_SM90A defined(__CUDA_ARCH_FEAT_SM90_ALL)
#else
#define GPU_HAS_SM80 1
#define GPU_HAS_SM90 1
#define GPU_HAS_SM90A 1
#endif
#define GPU_NOINLINE __noinline__
/// GPU_SHARED(float, tile, [64][33]): an array in the block's static shared memory.
#define GPU_SHARED(T, name, dims) __shared__ T name dims

namespace cuboid::gpu {

/// A line of source; defaulted arguments take the caller's.
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};
/// The one way out for every CUDA status.
inline void check(cudaError_t status, Where at = Where::current()) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) fail<OutOfMemory>("cuda: ", cudaGetErrorString(status), " at ", at.file, ":", at.line);
  fail<DeviceError>("cuda: ", cudaGetErrorString(status), " at ", at.file, ":", at.line);
}

using stream_t = cudaStream_t;
using event_t = cudaEvent_t;
using graph_t = cudaGraph_t;
using graph_exec_t = cudaGraphExec_t;

struct LaunchCfg {
  dim3 grid, block;
  std::size_t smem = 0;  // bytes of dynamic shared memory
  stream_t stream = nullptr;
  int cluster = 1;  // blocks, along x
  bool cooperative = false;
  const char* name = "kernel";  // for reports
  Where where = Where::current();
};

// ---- on the device -----------------------------------------------------------------------------

#if defined(__CUDACC__)
template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchCfg& c, A&&... a) {
  if (c.smem > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(c.smem)),
          c.where);
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = c.grid;
  config.blockDim = c.block;
  config.dynamicSmemBytes = c.smem;
  config.stream = c.stream;
  config.attrs = attributes;
  if (c.cluster > 1) {
    cudaLaunchAttribute& a = attributes[config.numAttrs++];
    a.id = cudaLaunchAttributeClusterDimension;
    a.val.clusterDim.x = static_cast<unsigned>(c.cluster);
    a.val.clusterDim.y = a.val.clusterDim.z = 1;
  }
  if (c.cooperative) {
    cudaLaunchAttribute& a = attributes[config.numAttrs++];
    a.id = cudaLaunchAttributeCooperative;
    a.val.cooperative = 1;
  }
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(std::forward<A>(a))...), c.where);
}

template <class T>
__device__ __forceinline__ T* dyn_smem() {
  extern __shared__ __align__(1024) unsigned char cuboid_dynamic_shared[];
  return reinterpret_cast<T*>(cuboid_dynamic_shared);
}

/// Cuts dynamic shared memory into arrays: gpu::SmemAlloc sm; float* tile = sm.take<float>(1024);
struct SmemAlloc {
  unsigned char* base;
  std::size_t off = 0;
  __device__ __forceinline__ SmemAlloc() : base(dyn_smem<unsigned char>()) {}
  template <class T>
  __device__ __forceinline__ T* take(std::size_t n, std::size_t align = 16) {
    off = (off + align - 1) / align * align;
    T* p = reinterpret_cast<T*>(base + off);
    off += n * sizeof(T);
    return p;
  }
};

/// In cooperative launches: all threads of the grid meet.
__device__ __forceinline__ void grid_sync() { cooperative_groups::this_grid().sync(); }
#if GPU_HAS_SM90
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/// The same variable in the shared memory of block `rank` of the cluster.
template <class T>
__device__ __forceinline__ T* cluster_map(T* p, unsigned rank) {
  unsigned long long there;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(reinterpret_cast<unsigned long long>(p)), "r"(rank));
  return reinterpret_cast<T*>(there);
}
#endif
#endif

// ---- memory ------------------------------------------------------------------------------------

enum class Kind { h2d = cudaMemcpyHostToDevice, d2h = cudaMemcpyDeviceToHost, d2d = cudaMemcpyDeviceToDevice };

/// nullptr when the device has no more.
inline void* malloc_bytes(std::size_t bytes, Where at = Where::current()) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) return cudaGetLastError(), nullptr;
  check(status, at);
  return p;
}
/// Waits for the device first.
inline void free_bytes(void* p, Where at = Where::current()) { check(cudaFree(p), at); }
/// Page-locked memory of the host; nullptr when there is no more.
inline void* host_alloc(std::size_t bytes, Where at = Where::current()) {
  void* p = nullptr;
  const cudaError_t status = cudaMallocHost(&p, bytes);
  if (status == cudaErrorMemoryAllocation) return cudaGetLastError(), nullptr;
  check(status, at);
  return p;
}
inline void host_free(void* p, Where at = Where::current()) { check(cudaFreeHost(p), at); }

/// From or to pinned memory: when its turn comes. From other host memory: the bytes are taken now; to it: done on return.
inline void copy_async(void* to, const void* from, std::size_t bytes, Kind kind, stream_t stream, Where at = Where::current()) {
  check(cudaMemcpyAsync(to, from, bytes, static_cast<cudaMemcpyKind>(kind), stream), at);
}
inline void fill_bytes_async(void* to, int value, std::size_t bytes, stream_t stream, Where at = Where::current()) {
  check(cudaMemsetAsync(to, value, bytes, stream), at);
}

// ---- streams and events ------------------------------------------------------------------------

/// Not ordered with the default stream.
inline stream_t stream_create(Where at = Where::current()) {
  stream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), at);
  return stream;
}
inline void stream_destroy(stream_t stream, Where at = Where::current()) { check(cudaStreamDestroy(stream), at); }
inline void stream_synchronize(stream_t stream, Where at = Where::current()) { check(cudaStreamSynchronize(stream), at); }
/// True when everything queued so far is done.
inline bool stream_query(stream_t stream, Where at = Where::current()) {
  const cudaError_t status = cudaStreamQuery(stream);
  if (status != cudaErrorNotReady) check(status, at);
  return status == cudaSuccess;
}

inline event_t event_create(bool timed = false, Where at = Where::current()) {
  event_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming), at);
  return event;
}
inline void event_destroy(event_t event, Where at = Where::current()) { check(cudaEventDestroy(event), at); }
inline void event_record(event_t event, stream_t stream, Where at = Where::current()) {
  check(cudaEventRecord(event, stream), at);
}
inline void event_synchronize(event_t event, Where at = Where::current()) { check(cudaEventSynchronize(event), at); }
inline bool event_query(event_t event, Where at = Where::current()) {
  const cudaError_t status = cudaEventQuery(event);
  if (status != cudaErrorNotReady) check(status, at);
  return status == cudaSuccess;
}
/// What is queued on `stream` from now on runs after the last record of `event`.
inline void stream_wait(stream_t stream, event_t event, Where at = Where::current()) {
  check(cudaStreamWaitEvent(stream, event, 0), at);
}
/// Milliseconds between two timed events that are done.
inline float event_elapsed(event_t from, event_t to, Where at = Where::current()) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, from, to), at);
  return milliseconds;
}

/// Everything on all streams.
inline void synchronize(Where at = Where::current()) { check(cudaDeviceSynchronize(), at); }
/// Throws what went wrong without anybody hearing of it.
inline void last_error(Where at = Where::current()) { check(cudaGetLastError(), at); }

// On the default stream, done on return.
inline void copy_h2d(void* to, const void* from, std::size_t bytes, Where at = Where::current()) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), at);
}
inline void copy_d2h(void* to, const void* from, std::size_t bytes, Where at = Where::current()) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), at);
}
inline void fill_bytes(void* to, int value, std::size_t bytes, Where at = Where::current()) {
  check(cudaMemset(to, value, bytes), at);
  stream_synchronize(nullptr, at);
}

// ---- the device itself -------------------------------------------------------------------------

/// 0 without a device or a driver.
inline int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}
/// For the calling thread.
inline void set_device(int device, Where at = Where::current()) { check(cudaSetDevice(device), at); }

struct Properties {
  std::string name;
  int multiprocessors = 0, major = 0, minor = 0;
  std::size_t total_bytes = 0, free_bytes = 0, shared_bytes_per_block = 0;
  int driver_version = 0, runtime_version = 0;  // 1000 * major + 10 * minor
};
/// `free_bytes` is of the current device.
inline Properties properties(int device = 0, Where at = Where::current()) {
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, device), at);
  Properties r{p.name, p.multiProcessorCount, p.major, p.minor, p.totalGlobalMem, 0, p.sharedMemPerBlockOptin, 0, 0};
  std::size_t total = 0;
  check(cudaMemGetInfo(&r.free_bytes, &total), at);
  check(cudaDriverGetVersion(&r.driver_version), at);
  check(cudaRuntimeGetVersion(&r.runtime_version), at);
  return r;
}

// ---- graphs ------------------------------------------------------------------------------------

/// What is queued on `stream` from here to end_capture is recorded instead of run.
inline void begin_capture(stream_t stream, Where at = Where::current()) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), at);
}
inline graph_t end_capture(stream_t stream, Where at = Where::current()) {
  graph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), at);
  return graph;
}
inline graph_exec_t instantiate(graph_t graph, Where at = Where::current()) {
  graph_exec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0), at);
  return exec;
}
inline void launch_graph(graph_exec_t graph, stream_t stream, Where at = Where::current()) {
  check(cudaGraphLaunch(graph, stream), at);
}
/// While it lives, this thread may make calls that cannot be part of a recording, and are not: allocations.
class Unrecorded {
 public:
  Unrecorded() { check(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  Unrecorded(const Unrecorded&) = delete;
  Unrecorded& operator=(const Unrecorded&) = delete;
  ~Unrecorded() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};
inline void graph_destroy(graph_t graph, Where at = Where::current()) { check(cudaGraphDestroy(graph), at); }
inline void graph_exec_destroy(graph_exec_t graph, Where at = Where::current()) { check(cudaGraphExecDestroy(graph), at); }

}  // namespace cuboid::gpu
#endif
