// SPDX-License-Identifier: Apache-2.0
// gpu::launch, shared memory, cluster and grid: what core/gpu.h offers kernels, for the emulator.
#pragma once
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/emulator/builtins.h"
#include "tests/emulator/where.h"

namespace cuboid::emulator {

struct Stream;

struct Launch {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  int cluster = 1;
  bool cooperative = false;
  const char* name = "kernel";
  Where where;
};
/// A kernel with its arguments: call(data) runs one thread of it.
struct Kernel {
  void (*call)(void*) = nullptr;
  std::shared_ptr<void> data;
};
/// Checks the configuration and queues the kernel; see stream.h for when it runs.
void enqueue(Stream* stream, const Launch& launch, Kernel kernel);
/// Throws Error where CUDA would refuse the configuration.
void check_launch(const Launch& launch);
/// Runs the kernel now, to its end. Throws Error.
void run(const Launch& launch, const Kernel& kernel);

void* static_shared(const void* key, std::size_t bytes, std::size_t align, const char* name);
void* dynamic_shared();
/// Makes [p, p + bytes) of dynamic shared memory an array of its own.
void divide_shared(void* p, std::size_t bytes);
/// Between pointers and the addresses that PTX uses, from the start of the block's shared memory.
std::uint32_t shared_address(const void* p);
void* shared_pointer(std::uint32_t address);

void grid_sync(Where at);
void cluster_sync(Where at);
unsigned cluster_rank();
void* cluster_map(const void* p, unsigned rank, Where at);

template <class F, class Arguments>
struct Call {
  F function;
  Arguments arguments;
};
/// The arguments lie on the thread's own stack, so that taking their address is no access to host memory.
template <class F, class Arguments>
CUBOID_UNCHECKED void call_kernel(void* data) {
  const auto* call = static_cast<const Call<F, Arguments>*>(data);
  const F function = call->function;
  alignas(Arguments) unsigned char bytes[sizeof(Arguments)];
  __builtin_memcpy(bytes, static_cast<const void*>(&call->arguments), sizeof(Arguments));
  std::apply(function, *reinterpret_cast<Arguments*>(bytes));
}

}  // namespace cuboid::emulator

namespace cuboid::gpu {

using stream_t = emulator::Stream*;

struct LaunchCfg {
  dim3 grid, block;
  std::size_t smem = 0;  // bytes of dynamic shared memory
  stream_t stream = nullptr;
  int cluster = 1;  // blocks, along x
  bool cooperative = false;
  const char* name = "kernel";
  emulator::Where where = emulator::Where::current();
};

template <class... P, class... A>
void launch(void (*kernel)(P...), const LaunchCfg& c, A&&... a) {
  static_assert((std::is_trivially_copyable_v<std::remove_cvref_t<P>> && ...), "kernel parameters must be trivially copyable");
  using Arguments = std::tuple<std::remove_cvref_t<P>...>;
  using Call = emulator::Call<void (*)(P...), Arguments>;
  emulator::enqueue(c.stream, {c.grid, c.block, c.smem, c.cluster, c.cooperative, c.name, c.where},
                    {&emulator::call_kernel<void (*)(P...), Arguments>,
                     std::make_shared<Call>(Call{kernel, Arguments(static_cast<P>(std::forward<A>(a))...)})});
}

template <class T>
T* dyn_smem() {
  return static_cast<T*>(emulator::dynamic_shared());
}

/// Cuts dynamic shared memory into arrays: gpu::SmemAlloc sm; float* tile = sm.take<float>(1024);
struct SmemAlloc {
  unsigned char* base;
  std::size_t off = 0;
  SmemAlloc() : base(dyn_smem<unsigned char>()) {}
  template <class T>
  T* take(std::size_t n, std::size_t align = 16) {
    off = (off + align - 1) / align * align;
    T* p = reinterpret_cast<T*>(base + off);
    off += n * sizeof(T);
    emulator::divide_shared(p, n * sizeof(T));
    return p;
  }
};

inline void grid_sync(emulator::Where at = emulator::Where::current()) { emulator::grid_sync(at); }
inline void cluster_sync(emulator::Where at = emulator::Where::current()) { emulator::cluster_sync(at); }
inline unsigned cluster_rank() { return emulator::cluster_rank(); }
template <class T>
T* cluster_map(T* p, unsigned rank, emulator::Where at = emulator::Where::current()) {
  return static_cast<T*>(emulator::cluster_map(p, rank, at));
}

}  // namespace cuboid::gpu

/// GPU_SHARED(float, tile, [64][33]); an array in the block's static shared memory.
#define GPU_SHARED(T, name, dims)                                                   \
  using name##_shared_type = T dims;                                                \
  static const char name##_shared_key = 0;                                          \
  auto& name = *static_cast<name##_shared_type*>(::cuboid::emulator::static_shared( \
      &name##_shared_key, sizeof(name##_shared_type),                               \
      alignof(name##_shared_type) < 16 ? std::size_t{16} : alignof(name##_shared_type), #name))
