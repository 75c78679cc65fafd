// SPDX-License-Identifier: Apache-2.0
// The allocators there are: pages of the CPU, memory of the device, page-locked pages for copies between the two.
#include <sys/mman.h>

#include "core/allocator.h"
#include "core/cuda.h"
#include "core/error.h"
#include "core/profiler_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define CUBOID_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUBOID_ASAN 1
#endif
#endif
#if defined(CUBOID_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace cuboid {
namespace {

class Pages : public MemorySource {
 public:
  void* obtain(std::int64_t bytes) override {
    void* p = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    madvise(p, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
    return p;
  }
  void give_back(void* p, std::int64_t bytes) override {
    open(p, bytes, nullptr);
    munmap(p, static_cast<std::size_t>(bytes));
  }
// Under the address sanitizer only the bytes asked for may be touched: each block ends in a red zone, free blocks are closed.
#if defined(CUBOID_ASAN)
  Pages() { red_zone = alignment; }
  void open(void* p, std::int64_t bytes, Queue) override { __asan_unpoison_memory_region(p, static_cast<std::size_t>(bytes)); }
  void close(void* p, std::int64_t bytes, Queue) override { __asan_poison_memory_region(p, static_cast<std::size_t>(bytes)); }
#endif
};

#if CUBOID_CUDA
CachingAllocator& pinned() {
  static auto* memory = new CachingAllocator(Device::cpu, cuda::pinned_memory());
  return *memory;
}
#endif

}  // namespace

CachingAllocator& allocator_of(Device device) {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  if (device == Device::cuda) {
#if CUBOID_CUDA
    check<DeviceError>(cuda::available(), "no CUDA device answers");
    static auto* gpu = new CachingAllocator(Device::cuda, cuda::device_memory());
    return *gpu;
#else
    fail<DeviceError>("this build has no CUDA support");
#endif
  }
  static auto* cpu = new CachingAllocator(Device::cpu, *new Pages);
  return *cpu;
}

void* allocate(std::int64_t bytes, Device device) {
  void* p = allocator_of(device).allocate(bytes);
  if (profiler::watches_memory()) profiler::allocated(p, bytes, device);
  return p;
}
void deallocate(void* pointer, Device device) noexcept {
  if (profiler::watches_memory()) profiler::freed(pointer, device);
  allocator_of(device).deallocate(pointer);
}
MemoryStats memory_stats(Device device) { return allocator_of(device).stats(); }
void reset_peak_memory(Device device) { allocator_of(device).reset_peak(); }
void set_memory_limit(std::int64_t bytes, Device device) { allocator_of(device).set_limit(bytes); }
void release_cached_memory(Device device) { allocator_of(device).release_cached(); }

#if CUBOID_CUDA
void* allocate_pinned(std::int64_t bytes) { return cuda::available() ? pinned().allocate(bytes) : allocate(bytes); }
void deallocate_pinned(void* pointer) noexcept {
  if (cuda::available()) pinned().deallocate(pointer);
  else deallocate(pointer);
}
#else
void* allocate_pinned(std::int64_t bytes) { return allocate(bytes); }
void deallocate_pinned(void* pointer) noexcept { deallocate(pointer); }
#endif

}  // namespace cuboid
