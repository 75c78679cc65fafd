// SPDX-License-Identifier: Apache-2.0
// Where data lives, and how much of it: one caching allocator per device with live and peak counters.
#pragma once
#include <cstddef>
#include <cstdint>
#include <ostream>

namespace cuboid {

enum class Device : std::uint8_t { cpu, cuda };

constexpr const char* name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }
inline std::ostream& operator<<(std::ostream& os, Device d) { return os << name_of(d); }

/// Bytes as the allocator counts them: in use now, the most ever in use, held from the system, calls.
struct MemoryStats {
  std::int64_t live = 0, peak = 0, reserved = 0, allocations = 0;
};

MemoryStats memory_stats(Device device = Device::cpu);
/// Starts a new peak measurement from what is live now.
void reset_peak_memory(Device device = Device::cpu);
/// Allocations beyond `bytes` live throw OutOfMemory; 0 means no limit.
void set_memory_limit(std::int64_t bytes, Device device = Device::cpu);
/// Gives cached, unused memory back to the system.
void release_cached_memory(Device device = Device::cpu);

/// Memory from the device's cache, aligned to 64 bytes (256 on a CUDA device); throws OutOfMemory with the figures in the text.
void* allocate(std::int64_t bytes, Device device = Device::cpu);
void deallocate(void* pointer, Device device = Device::cpu) noexcept;
/// Page-locked memory of the host, for copies that run while the host goes on; ordinary memory where there is no device. To be
/// freed when the copies are done.
void* allocate_pinned(std::int64_t bytes);
void deallocate_pinned(void* pointer) noexcept;

/// Uninitialised kernel workspace that returns to the cache when it goes out of scope.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count, Device device = Device::cpu)
      : data_(static_cast<T*>(allocate(count * static_cast<std::int64_t>(sizeof(T)), device))), device_(device) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { deallocate(data_, device_); }
  T* data() const { return data_; }
  T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_;
  Device device_;
};

}  // namespace cuboid
