// SPDX-License-Identifier: Apache-2.0
#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "core/cuda.h"
#include "core/error.h"

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

constexpr std::int64_t alignment = 64;

std::string mib(std::int64_t bytes) {
  std::ostringstream os;
  os.precision(1);
  os << std::fixed << static_cast<double>(bytes) / (1 << 20) << " MiB";
  return os.str();
}

void* obtain_pages(std::int64_t bytes) {
  void* p = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  madvise(p, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
  return p;
}
void give_back_pages(void* p, std::int64_t bytes) { munmap(p, static_cast<std::size_t>(bytes)); }

// Under the address sanitizer only the bytes asked for may be touched: each block ends in a red zone, free blocks are closed.
// The emulator does the same for the device's memory, from the moment when the work queued before is done.
#if defined(CUBOID_ASAN)
void open_pages(void* p, std::int64_t bytes) { __asan_unpoison_memory_region(p, static_cast<std::size_t>(bytes)); }
void close_pages(void* p, std::int64_t bytes) { __asan_poison_memory_region(p, static_cast<std::size_t>(bytes)); }
constexpr CachingAllocator::Source pages = {obtain_pages, give_back_pages, 32 << 20, open_pages, close_pages, alignment};
#else
constexpr CachingAllocator::Source pages = {obtain_pages, give_back_pages, 32 << 20};
#endif
#if CUBOID_EMULATED
constexpr CachingAllocator::Source device_memory = {cuda::obtain,     cuda::give_back,   2 << 20,
                                                    cuda::open_block, cuda::close_block, alignment};
#elif CUBOID_CUDA
constexpr CachingAllocator::Source device_memory = {cuda::obtain, cuda::give_back, 64 << 20};
#endif

}  // namespace

void* CachingAllocator::allocate(std::int64_t bytes) {
  check(bytes >= 0, "allocate: ", bytes, " bytes");
  check<OutOfMemory>(bytes < std::int64_t{1} << 60, "out of memory on ", device_, ": ", mib(bytes), " asked for");
  const std::int64_t wanted = std::max(alignment, (bytes + alignment - 1) / alignment * alignment) + source_.red_zone;
  const std::scoped_lock lock(guard_);
  check<OutOfMemory>(limit_ == 0 || stats_.live + wanted - source_.red_zone <= limit_, "out of memory on ", device_, ": ",
                     mib(wanted), " asked for, ", mib(stats_.live), " in use, limit ", mib(limit_));
  auto fit = free_.lower_bound({wanted, nullptr});
  auto it = fit != free_.end() ? blocks_.find(fit->second) : grow(wanted);
  char* address = it->first;
  Block& block = it->second;
  free_.erase({block.bytes, address});
  if (block.bytes - wanted >= alignment) {  // the rest stays free
    blocks_.emplace(address + wanted, Block{block.bytes - wanted, true, false});
    free_.emplace(block.bytes - wanted, address + wanted);
    block.bytes = wanted;
  }
  block.free = false;
  stats_.live += block.bytes - source_.red_zone;
  stats_.peak = std::max(stats_.peak, stats_.live);
  ++stats_.allocations;
  open(address, bytes);
  return address;
}

CachingAllocator::Blocks::iterator CachingAllocator::grow(std::int64_t bytes) {
  constexpr std::int64_t page = 2 << 20;
  std::int64_t size = (std::max(bytes, source_.segment_bytes) + page - 1) / page * page;
  void* p = source_.obtain(size);
  if (!p) {  // hand back what is cached and ask for no more than needed
    give_back_free_segments();
    size = (bytes + page - 1) / page * page;
    p = source_.obtain(size);
  }
  check<OutOfMemory>(p != nullptr, "out of memory on ", device_, ": ", mib(bytes), " asked for, ", mib(stats_.live), " in use, ",
                     mib(stats_.reserved), " held; the system gives no more");
  close(p, size);
  stats_.reserved += size;
  auto it = blocks_.emplace(static_cast<char*>(p), Block{size, true, true}).first;
  free_.emplace(size, it->first);
  return it;
}

void CachingAllocator::deallocate(void* pointer) noexcept {
  if (!pointer) return;
  const std::scoped_lock lock(guard_);
  auto it = blocks_.find(static_cast<char*>(pointer));
  if (it == blocks_.end() || it->second.free) std::abort();  // not ours, or freed twice: memory is corrupt
  stats_.live -= it->second.bytes - source_.red_zone;
  close(it->first, it->second.bytes);
  it->second.free = true;
  if (auto next = std::next(it); next != blocks_.end() && next->second.free && !next->second.starts_segment) {
    free_.erase({next->second.bytes, next->first});
    it->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (it != blocks_.begin() && !it->second.starts_segment) {
    auto before = std::prev(it);
    if (before->second.free) {
      free_.erase({before->second.bytes, before->first});
      before->second.bytes += it->second.bytes;
      blocks_.erase(it);
      it = before;
    }
  }
  free_.emplace(it->second.bytes, it->first);
}

void CachingAllocator::give_back_free_segments() {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    const auto next = std::next(it);
    const bool whole = it->second.starts_segment && (next == blocks_.end() || next->second.starts_segment);
    if (whole && it->second.free) {
      free_.erase({it->second.bytes, it->first});
      stats_.reserved -= it->second.bytes;
      open(it->first, it->second.bytes);
      source_.give_back(it->first, it->second.bytes);
      it = blocks_.erase(it);
    } else {
      it = next;
    }
  }
}

void CachingAllocator::release_cached() {
  const std::scoped_lock lock(guard_);
  give_back_free_segments();
}
void CachingAllocator::set_limit(std::int64_t bytes) {
  const std::scoped_lock lock(guard_);
  limit_ = bytes;
}
MemoryStats CachingAllocator::stats() const {
  const std::scoped_lock lock(guard_);
  return stats_;
}
void CachingAllocator::reset_peak() {
  const std::scoped_lock lock(guard_);
  stats_.peak = stats_.live;
}

namespace {
CachingAllocator& allocator_of(Device device) {
  // Never destroyed: tensors with static lifetime may outlive any order of destruction.
  if (device == Device::cuda) {
#if CUBOID_CUDA
    check<DeviceError>(cuda::available(), "no CUDA device answers");
    static auto* gpu = new CachingAllocator(Device::cuda, device_memory);
    return *gpu;
#else
    fail<DeviceError>("this build has no CUDA support");
#endif
  }
  static auto* cpu = new CachingAllocator(Device::cpu, pages);
  return *cpu;
}
}  // namespace

void* allocate(std::int64_t bytes, Device device) { return allocator_of(device).allocate(bytes); }
void deallocate(void* pointer, Device device) noexcept { allocator_of(device).deallocate(pointer); }
MemoryStats memory_stats(Device device) { return allocator_of(device).stats(); }
void reset_peak_memory(Device device) { allocator_of(device).reset_peak(); }
void set_memory_limit(std::int64_t bytes, Device device) { allocator_of(device).set_limit(bytes); }
void release_cached_memory(Device device) { allocator_of(device).release_cached(); }

}  // namespace cuboid
