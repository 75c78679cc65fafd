// SPDX-License-Identifier: Apache-2.0
// Accesses of device threads against the shadow: bounds, uninitialised reads, races.
#include "tests/emulator/shadow.h"

#if CUBOID_EMULATOR_CHECK
#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "tests/emulator/access.h"
#include "tests/emulator/device_heap.h"
#include "tests/emulator/machine.h"

// The program's image, by the GNU linker; the section of builtins.h.
extern "C" const char __executable_start, __data_start, __start_cuboid_device, __stop_cuboid_device;

namespace cuboid::emulator::race {

Shadow &device_shadow = *new Shadow, &shared_shadow = *new Shadow;

void Shadow::map(const void* start, std::size_t size) {
  if (cells) munmap(cells, bytes / 4 * sizeof(Cell));
  base = static_cast<const char*>(start);
  bytes = size;
  void* p = mmap(nullptr, bytes / 4 * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  cells = static_cast<Cell*>(p);
}

void Shadow::set(const void* p, std::size_t n, Cell value) {
  if (n) std::fill(cells + index(p), cells + index(static_cast<const char*>(p) + n - 1) + 1, value);
}

namespace {

/// Whether what thread `id` of the launch did at `time` is ordered with what the current thread does now.
bool happened_before(std::uint32_t id, Time time) {
  if (time < launch_floor()) return operations_ordered(time);
  const Thread& self = *current;
  const std::uint32_t block = id >> 10, linear = id & 1023;
  if (block != self.clock.id >> 10) {
    for (const OtherBlocks* known :
         {static_cast<const OtherBlocks*>(&self.clock.others), static_cast<const OtherBlocks*>(&self.block->clock.others)}) {
      if (known->empty()) continue;
      const auto found = known->find(block);
      if (found == known->end()) continue;
      if (time < found->second.floor || (found->second.thread == linear && time < found->second.until)) return true;
    }
    return false;
  }
  if (linear == self.linear || time < self.block->clock.floor) return true;
  if (linear / 32 == self.linear / 32) {
    const WarpClock& warp = self.warp->clock;
    if (time < warp.floor || (warp.pairs_used && time < warp.pairs[self.lane][linear % 32])) return true;
  }
  return !self.clock.known.empty() && time < self.clock.known[linear];
}

template <Access access>
void check_cell(Cell& cell, std::uint32_t mask, const void* p, const Site& site) {
  constexpr bool reads = access == Access::read || access == Access::async_read;
  constexpr bool atomic = access == Access::atomic;
  const std::uint32_t me = current->clock.id;
  const Time written = cell.written & time_mask;
  const std::uint32_t writer = cell.writer >> 4;
  const bool others_write = writer != me && (cell.writer & mask) && written;
  if ((cell.written & flight_mark) && (cell.writer & mask)) {
    add_finding("access to the destination of an asynchronous copy that was not waited for", p, writer, site);
    cell.written &= ~flight_mark;
  }
  if constexpr (access == Access::async_read) {
    const bool here = written >= launch_floor() && writer >> 10 == me >> 10;
    if (here && !(cell.written & async_mark) && written >= current->block->threads[writer & 1023]->clock.proxy_fence)
      add_finding("no fence.proxy.async between this write and an async-proxy read", p, writer, site);
  }
  if constexpr (reads || atomic) {
    if (!written) {
      add_finding("read of uninitialised", p, me, site);
      cell.written = 1;
    }
  }
  if constexpr (reads) {
    if (others_write && !happened_before(writer, written)) add_finding("read after write", p, writer, site);
    // One reader is kept: the last, or, of two that are not ordered, either.
    if (cell.reader >> 4 == me || !cell.read || happened_before(cell.reader >> 4, cell.read) || (random_bits() & 1)) {
      cell.reader = me << 4 | mask;
      cell.read = now();
    }
  } else {
    if (others_write && !(atomic && (cell.written & atomic_mark)) && !happened_before(writer, written))
      add_finding(atomic ? "atomic after plain write" : "write after write", p, writer, site);
    if (cell.reader >> 4 != me && (cell.reader & mask) && cell.read && !happened_before(cell.reader >> 4, cell.read))
      add_finding("write after read", p, cell.reader >> 4, site);
    cell.writer = me << 4 | mask;
    cell.written = now() | (atomic ? atomic_mark : 0) | (access == Access::async_write ? async_mark | flight_mark : 0) |
                   (access == Access::copy ? flight_mark : 0);
  }
}

template <Access access>
void check_cells(Shadow& shadow, const char* p, std::size_t bytes, const Site& site) {
  const auto first = static_cast<std::size_t>(p - shadow.base);
  for (std::size_t at = first; at < first + bytes;) {
    const std::size_t cell = at / 4, end = std::min(cell * 4 + 4, first + bytes);
    check_cell<access>(shadow.cells[cell], ((1u << (end - at)) - 1) << at % 4, shadow.base + at, site);
    at = end;
  }
}

/// Shared memory of this block, or of another one of its cluster.
void check_shared_bounds(const char* p, std::size_t bytes, const Site& site) {
  const auto from_start = static_cast<std::size_t>(p - machine.arenas);
  const std::size_t slot = from_start / arena_bytes, offset = from_start % arena_bytes;
  Block& block = *machine.blocks[slot];
  if (&block != current->block) {
    if (slot >= static_cast<std::size_t>(machine.launch.cluster))
      bad_access("smem-bounds", p, bytes, site, "shared memory of another block");
    if (block.alive == 0) bad_access("cluster", p, bytes, site, "shared memory of a block that has exited");
    block.clock.used_by_others = true;
  }
  const std::uint8_t array = block.array_at[offset];
  if (offset + bytes > arena_bytes || array == 0 || array != block.array_at[offset + bytes - 1])
    bad_access("smem-bounds", p, bytes, site, "outside every array in shared memory");
  if (!block.mbarriers.empty() && block.mbarriers.contains(static_cast<std::uint32_t>(offset / 8 * 8)))
    bad_access("mbarrier", p, bytes, site, "an ordinary access to an mbarrier");
}

/// Constants, code, and what builtins.h declares; the rest of the program's memory is the host's.
bool readable(const char* p) { return p >= &__executable_start && p < &__data_start; }
bool of_device(const char* p) { return p >= &__start_cuboid_device && p < &__stop_cuboid_device; }

/// Lets another thread run every `preempt` accesses or so.
void maybe_step_aside() {
  static std::uint32_t left = 1;
  if (--left) return;
  left = 1 + static_cast<std::uint32_t>(random_below(2 * options().preempt));
  current->doing = "preempted";
  step_aside();
}

}  // namespace

template <Access access>
void check_access(const void* pointer, std::size_t bytes, const Site& site) {
  if (!current || machine.quiet) return;
  const auto* p = static_cast<const char*>(pointer);
  constexpr bool reads = access == Access::read || access == Access::async_read;
  if (shared_shadow.has(p)) {
    check_shared_bounds(p, bytes, site);
    check_cells<access>(shared_shadow, p, bytes, site);
  } else if (device_shadow.has(p)) {
    if (!find_allocation(p, bytes)) bad_access("global-bounds", p, bytes, site, describe_device(p));
    check_cells<access>(device_shadow, p, bytes, site);
  } else if (static_cast<std::size_t>(p - machine.stacks) < machine.stacks_bytes) {
    return;  // the thread's own
  } else if (!(reads && readable(p)) && !of_device(p)) {
    bad_access(reads ? "host-read" : "host-write", p, bytes, site, "memory of the host");
  }
  ++statistics().accesses;
  if (options().preempt && access != Access::atomic) maybe_step_aside();
}
template void check_access<Access::read>(const void*, std::size_t, const Site&);
template void check_access<Access::write>(const void*, std::size_t, const Site&);

}  // namespace cuboid::emulator::race

namespace cuboid::emulator {

void note_read(const void* p, std::size_t n, Where at) { race::check_access<race::Access::read>(p, n, {nullptr, at}); }
void note_write(const void* p, std::size_t n, Where at) { race::check_access<race::Access::write>(p, n, {nullptr, at}); }
void note_copy(const void* p, std::size_t n, Where at) { race::check_access<race::Access::copy>(p, n, {nullptr, at}); }
void note_async_read(const void* p, std::size_t n, Where at) {
  race::check_access<race::Access::async_read>(p, n, {nullptr, at});
}
void note_async_write(const void* p, std::size_t n, Where at) {
  race::check_access<race::Access::async_write>(p, n, {nullptr, at});
}
void note_atomic(const void* p, std::size_t n, Where at) {
  race::check_access<race::Access::atomic>(p, n, {nullptr, at});
  race::synchronise_through(p);
}

}  // namespace cuboid::emulator
#endif
