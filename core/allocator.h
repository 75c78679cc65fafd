// SPDX-License-Identifier: Apache-2.0
// A caching allocator: best fit over blocks cut from large segments, freed neighbours merged again.
// Activations of a training step reuse the same, already faulted pages every time.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include "core/device.h"

namespace cuboid {

class CachingAllocator {
 public:
  /// Where segments come from: `obtain` returns nullptr when the system has no more.
  struct Source {
    void* (*obtain)(std::int64_t bytes);
    void (*give_back)(void* pointer, std::int64_t bytes);
    std::int64_t segment_bytes;  // smallest segment to ask for
    // For tools that watch memory: bytes that may be touched from now on, or no longer; the gap they want between blocks.
    void (*open)(void* pointer, std::int64_t bytes) = nullptr;
    void (*close)(void* pointer, std::int64_t bytes) = nullptr;
    std::int64_t red_zone = 0;
  };
  CachingAllocator(Device device, Source source) : device_(device), source_(source) {}
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;
  /// Gives back what nobody uses.
  ~CachingAllocator() { release_cached(); }

  void* allocate(std::int64_t bytes);
  void deallocate(void* pointer) noexcept;
  void release_cached();
  void set_limit(std::int64_t bytes);
  MemoryStats stats() const;
  void reset_peak();

 private:
  struct Block {
    std::int64_t bytes;
    bool free;
    bool starts_segment;  // never merged into the block before it
  };
  using Blocks = std::map<char*, Block>;  // every block of every segment, by address

  Blocks::iterator grow(std::int64_t bytes);
  void open(void* pointer, std::int64_t bytes) const {
    if (source_.open) source_.open(pointer, bytes);
  }
  void close(void* pointer, std::int64_t bytes) const {
    if (source_.close) source_.close(pointer, bytes);
  }
  void give_back_free_segments();

  Device device_;
  Source source_;
  mutable std::mutex guard_;
  Blocks blocks_;
  std::set<std::pair<std::int64_t, char*>> free_;  // by size, then address
  MemoryStats stats_;
  std::int64_t limit_ = 0;
};

}  // namespace cuboid
