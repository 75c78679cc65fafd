// SPDX-License-Identifier: Apache-2.0
// A caching allocator: best fit over blocks cut from large segments, freed neighbours merged again.
// Activations of a training step reuse the same, already faulted pages every time.
//
// Work on a device is queued, so a block may be freed while it is still to be used. What was queued before the free on the same
// queue (CUDA stream) comes first anyway: such a block is reused on that queue at once, on another one only when a mark (event)
// behind the free has been passed.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "core/device.h"

namespace cuboid {

/// Where segments come from, and what the allocator must know of the queues that use them. The CPU has one, nullptr.
class MemorySource {
 public:
  using Queue = void*;
  using Mark = std::shared_ptr<void>;

  virtual ~MemorySource() = default;
  /// nullptr when the system has no more.
  virtual void* obtain(std::int64_t bytes) = 0;
  virtual void give_back(void* pointer, std::int64_t bytes) = 0;
  /// From here on, in the order of the queue, these bytes are somebody's; nobody's.
  virtual void open(void*, std::int64_t, Queue) {}
  virtual void close(void*, std::int64_t, Queue) {}

  /// The one that the calling thread works on.
  virtual Queue queue() { return nullptr; }
  /// Behind everything queued so far.
  virtual Mark mark(Queue) { return nullptr; }
  virtual bool passed(const Mark&) { return true; }
  /// What is queued from now on runs after the mark.
  virtual void wait(Queue, const Mark&) {}
  /// Returns when nothing queued is left to do, on any queue.
  virtual void settle() {}

  std::int64_t segment_bytes = 32 << 20;  // the smallest segment to ask for
  std::int64_t alignment = 64;
  std::int64_t red_zone = 0;  // bytes behind each block that nobody may touch
};

class CachingAllocator {
 public:
  using Queue = MemorySource::Queue;
  CachingAllocator(Device device, MemorySource& source) : device_(device), source_(source) {}
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
  /// The queue is done and ends: what was freed on it is anybody's.
  void forget(Queue queue);

  /// A pool gives memory to those who enter it, and takes it back from them only: what a CUDA graph was captured with must
  /// stay where it is for the replays. What else is freed within a pool's scope is held until the pool ends, since the
  /// graph may read it. Pool 0 is everybody's.
  using Pool = std::uint32_t;
  Pool make_pool();
  /// Its memory becomes everybody's.
  void end_pool(Pool pool);
  /// Of the calling thread; returns the one before.
  static Pool enter_pool(Pool pool);

 private:
  struct Block {
    std::int64_t bytes;
    bool free;
    bool starts_segment;  // never merged into the block before it
    Pool pool;
    Queue queue;           // where it was freed
    std::uint64_t ticket;  // when, in frees of that queue
  };
  using Blocks = std::map<char*, Block>;  // every block of every segment, by address
  struct Free {                           // in the order of the search
    Pool pool;
    Queue queue;
    std::int64_t bytes;
    char* address;
    auto operator<=>(const Free&) const = default;
  };
  struct Frees {  // of one queue
    std::uint64_t count = 0, marked = 0, passed = 0;
    std::deque<std::pair<MemorySource::Mark, std::uint64_t>> marks;
  };

  Blocks::iterator take(std::int64_t bytes, Pool pool, Queue queue);
  Blocks::iterator fit(std::int64_t bytes, Pool pool, Queue queue, std::uint64_t latest);
  Blocks::iterator fit_elsewhere(std::int64_t bytes, Queue queue);
  Blocks::iterator borrow(std::int64_t bytes, Queue queue);
  Blocks::iterator grow(std::int64_t size, Pool pool, Queue queue);
  void update(Frees& frees);
  void add_mark(Queue queue, Frees& frees);
  Blocks::iterator make_free(Blocks::iterator it);
  void settle();
  void give_back_free_segments();

  Device device_;
  MemorySource& source_;
  mutable std::mutex guard_;
  Blocks blocks_;
  std::set<Free> free_;
  std::map<Queue, Frees> queues_;
  std::map<Pool, std::vector<void*>> pools_;  // but the first; what each holds
  Pool last_pool_ = 0;
  MemoryStats stats_;
  std::int64_t limit_ = 0;
};

/// That of a device; throws DeviceError where there is none.
CachingAllocator& allocator_of(Device device);

}  // namespace cuboid
