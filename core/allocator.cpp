// SPDX-License-Identifier: Apache-2.0
#include "core/allocator.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "core/error.h"

namespace cuboid {
namespace {

/// Bytes in a message. Written only when the message is: formatting on each call would cost more than the allocation.
struct Mib {
  std::int64_t bytes;
  explicit Mib(std::int64_t b) : bytes(b) {}
};
std::ostream& operator<<(std::ostream& os, const Mib& m) {
  std::ostringstream text;
  text.precision(1);
  text << std::fixed << static_cast<double>(m.bytes) / (1 << 20) << " MiB";
  return os << text.str();
}

thread_local CachingAllocator::Pool entered = 0;

constexpr auto any_time = ~std::uint64_t{0};

}  // namespace

void* CachingAllocator::allocate(std::int64_t bytes) {
  check(bytes >= 0, "allocate: ", bytes, " bytes");
  check<OutOfMemory>(bytes < std::int64_t{1} << 60, "out of memory on ", device_, ": ", Mib(bytes), " asked for");
  const std::int64_t unit = source_.alignment, red_zone = source_.red_zone;
  const std::int64_t wanted = std::max(unit, (bytes + unit - 1) / unit * unit) + red_zone;
  const Queue queue = source_.queue();
  const std::scoped_lock lock(guard_);
  check<OutOfMemory>(limit_ == 0 || stats_.live + wanted - red_zone <= limit_, "out of memory on ", device_, ": ", Mib(wanted),
                     " asked for, ", Mib(stats_.live), " in use (peak ", Mib(stats_.peak), "), limit ", Mib(limit_));
  const auto it = take(wanted, device_ == Device::cpu ? 0 : entered, queue);
  char* address = it->first;
  Block& block = it->second;
  free_.erase({block.pool, block.queue, block.bytes, address});
  if (block.bytes - wanted >= unit) {  // the rest stays free
    Block rest = block;
    rest.bytes -= wanted;
    rest.starts_segment = false;
    blocks_.emplace(address + wanted, rest);
    free_.insert({rest.pool, rest.queue, rest.bytes, address + wanted});
    block.bytes = wanted;
  }
  block.free = false;
  stats_.live += block.bytes - red_zone;
  stats_.peak = std::max(stats_.peak, stats_.live);
  ++stats_.allocations;
  source_.open(address, bytes, queue);
  return address;
}

/// A free block of at least that size, from wherever it costs least.
CachingAllocator::Blocks::iterator CachingAllocator::take(std::int64_t bytes, Pool pool, Queue queue) {
  constexpr std::int64_t page = 2 << 20;
  const std::int64_t least = (bytes + page - 1) / page * page;
  auto it = fit(bytes, pool, queue, any_time);
  if (it == blocks_.end() && pool == 0) it = fit_elsewhere(bytes, queue);
  if (it == blocks_.end()) it = grow(std::max(least, source_.segment_bytes), pool, queue);
  if (it == blocks_.end() && pool == 0) it = borrow(bytes, queue);
  if (it == blocks_.end() && pool == 0) {  // wait for everything; what lies side by side becomes one
    settle();
    it = fit_elsewhere(bytes, queue);
    if (it == blocks_.end()) give_back_free_segments();
  }
  if (it == blocks_.end()) it = grow(least, pool, queue);
  check<OutOfMemory>(it != blocks_.end(), "out of memory on ", device_, ": ", Mib(bytes), " asked for, ", Mib(stats_.live),
                     " in use (peak ", Mib(stats_.peak), "), ", Mib(stats_.reserved), " held; the system gives no more");
  return it;
}

/// The smallest that fits, freed on this queue no later than `latest`.
CachingAllocator::Blocks::iterator CachingAllocator::fit(std::int64_t bytes, Pool pool, Queue queue, std::uint64_t latest) {
  for (auto at = free_.lower_bound({pool, queue, bytes, nullptr}); at != free_.end(); ++at) {
    if (at->pool != pool || at->queue != queue) break;
    const auto it = blocks_.find(at->address);
    if (it->second.ticket <= latest) return it;
  }
  return blocks_.end();
}

/// Freed on another queue, and that queue is known to be past it. Marks what is not, so that it will be.
CachingAllocator::Blocks::iterator CachingAllocator::fit_elsewhere(std::int64_t bytes, Queue queue) {
  for (auto& [other, frees] : queues_) {
    update(frees);
    const auto it = fit(bytes, 0, other, other == queue ? any_time : frees.passed);
    if (it != blocks_.end()) return it;
    if (other != queue && frees.marked < frees.count && fit(bytes, 0, other, any_time) != blocks_.end()) add_mark(other, frees);
  }
  return blocks_.end();
}

/// Freed on another queue: what comes on this one waits.
CachingAllocator::Blocks::iterator CachingAllocator::borrow(std::int64_t bytes, Queue queue) {
  for (auto& [other, frees] : queues_) {
    const auto it = fit(bytes, 0, other, any_time);
    if (it == blocks_.end()) continue;
    if (const auto mark = source_.mark(other)) source_.wait(queue, mark);
    return it;
  }
  return blocks_.end();
}

CachingAllocator::Blocks::iterator CachingAllocator::grow(std::int64_t size, Pool pool, Queue queue) {
  void* p = source_.obtain(size);
  if (!p) return blocks_.end();
  source_.close(p, size, queue);
  stats_.reserved += size;
  const auto it = blocks_.emplace(static_cast<char*>(p), Block{size, true, true, pool, queue, 0}).first;
  free_.insert({pool, queue, size, it->first});
  return it;
}

void CachingAllocator::update(Frees& frees) {
  while (!frees.marks.empty() && source_.passed(frees.marks.front().first)) {
    frees.passed = frees.marks.front().second;
    frees.marks.pop_front();
  }
}

void CachingAllocator::add_mark(Queue queue, Frees& frees) {
  frees.marks.emplace_back(source_.mark(queue), frees.count);
  frees.marked = frees.count;
}

void CachingAllocator::deallocate(void* pointer) noexcept {
  if (!pointer) return;
  const Queue queue = source_.queue();
  const std::scoped_lock lock(guard_);
  const auto it = blocks_.find(static_cast<char*>(pointer));
  if (it == blocks_.end() || it->second.free) std::abort();  // not ours, or freed twice: memory is corrupt
  Block& block = it->second;
  if (device_ != Device::cpu && entered != 0 && block.pool != entered) {
    pools_[entered].push_back(pointer);
    return;
  }
  stats_.live -= block.bytes - source_.red_zone;
  source_.close(it->first, block.bytes, queue);
  block.free = true;
  block.queue = queue;
  block.ticket = ++queues_[queue].count;
  make_free(it);
}

/// Enters a free block into the list, as one with its free neighbours of the same pool and queue.
CachingAllocator::Blocks::iterator CachingAllocator::make_free(Blocks::iterator it) {
  const auto joins = [](const Block& a, const Block& b) {
    return b.free && !b.starts_segment && a.free && a.pool == b.pool && a.queue == b.queue;
  };
  const auto absorb = [&](Blocks::iterator a, Blocks::iterator b) {
    a->second.bytes += b->second.bytes;
    a->second.ticket = std::max(a->second.ticket, b->second.ticket);
    blocks_.erase(b);
  };
  const auto unlist = [&](Blocks::iterator at) { free_.erase({at->second.pool, at->second.queue, at->second.bytes, at->first}); };
  if (const auto next = std::next(it); next != blocks_.end() && joins(it->second, next->second)) {
    unlist(next);
    absorb(it, next);
  }
  if (it != blocks_.begin()) {
    if (const auto before = std::prev(it); joins(before->second, it->second)) {
      unlist(before);
      absorb(before, it);
      it = before;
    }
  }
  free_.insert({it->second.pool, it->second.queue, it->second.bytes, it->first});
  return it;
}

/// After this, everything that is free in pool 0 is anybody's.
void CachingAllocator::settle() {
  source_.settle();
  for (auto& [queue, frees] : queues_) frees = {frees.count, frees.count, frees.count, {}};
  queues_.try_emplace(nullptr);
  std::erase_if(free_, [](const Free& f) { return f.pool == 0; });
  for (auto& [address, block] : blocks_)
    if (block.free && block.pool == 0) block.queue = nullptr, block.ticket = 0;
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it)
    if (it->second.free && it->second.pool == 0) it = make_free(it);
}

void CachingAllocator::give_back_free_segments() {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    const auto next = std::next(it);
    const Block& block = it->second;
    const bool whole = block.starts_segment && (next == blocks_.end() || next->second.starts_segment);
    if (whole && block.free && block.pool == 0) {
      free_.erase({block.pool, block.queue, block.bytes, it->first});
      stats_.reserved -= block.bytes;
      source_.give_back(it->first, block.bytes);
      it = blocks_.erase(it);
    } else {
      it = next;
    }
  }
}

void CachingAllocator::release_cached() {
  const std::scoped_lock lock(guard_);
  settle();
  give_back_free_segments();
}

void CachingAllocator::forget(Queue queue) {
  const std::scoped_lock lock(guard_);
  queues_.erase(queue);
  queues_.try_emplace(nullptr);
  std::vector<Blocks::iterator> freed;
  for (auto it = blocks_.begin(); it != blocks_.end(); ++it)
    if (it->second.free && it->second.queue == queue) freed.push_back(it);
  for (const auto& it : freed) {
    free_.erase({it->second.pool, queue, it->second.bytes, it->first});
    it->second.queue = nullptr;
    it->second.ticket = 0;
    free_.insert({it->second.pool, nullptr, it->second.bytes, it->first});
  }
}

CachingAllocator::Pool CachingAllocator::make_pool() {
  const std::scoped_lock lock(guard_);
  pools_.try_emplace(++last_pool_);
  return last_pool_;
}

void CachingAllocator::end_pool(Pool pool) {
  std::vector<void*> held;
  {
    const std::scoped_lock lock(guard_);
    held = std::move(pools_[pool]);
    pools_.erase(pool);
    std::erase_if(free_, [&](const Free& f) { return f.pool == pool; });
    for (auto& [address, block] : blocks_) {
      if (block.pool != pool) continue;
      block.pool = 0;
      if (block.free) block.ticket = ++queues_[block.queue].count;
    }
    for (auto it = blocks_.begin(); it != blocks_.end(); ++it)
      if (it->second.free && !free_.contains({0, it->second.queue, it->second.bytes, it->first}) && it->second.pool == 0)
        it = make_free(it);
  }
  for (void* p : held) deallocate(p);
}

CachingAllocator::Pool CachingAllocator::enter_pool(Pool pool) { return std::exchange(entered, pool); }

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

}  // namespace cuboid
