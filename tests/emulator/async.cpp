// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/async.h"

#include <algorithm>
#include <cstring>

#include "tests/emulator/access.h"
#include "tests/emulator/machine.h"

namespace cuboid::emulator {

// ---- cp.async ----------------------------------------------------------------------------------

namespace {

void perform(PendingCopy& copy) {
  if (copy.done) return;
  copy.done = true;
  std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.from_bytes));
  std::memset(static_cast<char*>(copy.to) + copy.from_bytes, 0, static_cast<std::size_t>(copy.bytes - copy.from_bytes));
}

}  // namespace

void cp_async(void* to, const void* from, int bytes, int from_bytes, Where at) {
  const auto size = static_cast<std::size_t>(bytes);
  if (from_bytes < 0 || from_bytes > bytes) stop("cp.async", from_bytes, " of ", bytes, " bytes at ", at);
  if (reinterpret_cast<std::uintptr_t>(to) % size != 0 || (from_bytes && reinterpret_cast<std::uintptr_t>(from) % size != 0))
    stop("misaligned", "cp.async of ", bytes, " bytes to ", to, " from ", from, " at ", at);
  shared_address(to);
  if (from_bytes) note_read(from, static_cast<std::size_t>(from_bytes), at);
  note_copy(to, size, at);
  PendingCopy copy{to, from, bytes, from_bytes, false};
  const Timing timing = options().copies;
  if (timing == Timing::eager || (timing == Timing::random && random_below(8) == 0)) perform(copy);
  else std::memset(to, 0xff, size);
  current->copies.push_back(copy);
}

void cp_async_commit() { current->copy_groups.push_back(current->copies.size()); }

void cp_async_wait(int keep) {
  auto& groups = current->copy_groups;
  auto& copies = current->copies;
  if (static_cast<int>(groups.size()) <= keep) return;
  const std::size_t complete = groups.size() - static_cast<std::size_t>(keep), copied = groups[complete - 1];
  for (std::size_t i = 0; i < copied; ++i) {
    perform(copies[i]);
    race::arrived(*current, copies[i].to, static_cast<std::size_t>(copies[i].bytes), nullptr);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(copied));
  groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(complete));
  for (std::size_t& end : groups) end -= copied;
}

// ---- mbarriers: their state is kept here; the 8 bytes in shared memory are only a name ----------

namespace {

Mbarrier& find(std::uint64_t* p, const char* doing, Where at) {
  const auto found = current->block->mbarriers.find(shared_address(p));
  if (found == current->block->mbarriers.end()) stop("mbarrier", doing, " at ", at, " on an mbarrier that was not initialised");
  return found->second;
}

}  // namespace

void advance(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.phase ^= 1;
  barrier.pending = barrier.count;
  barrier.released = barrier.clock;
  race::tick();
  for (Thread* t : barrier.waiting) {
    race::acquire(*t, barrier.released);
    make_ready(t);
  }
  barrier.waiting.clear();
}

void mbarrier_init(std::uint64_t* p, std::uint32_t count, Where at) {
  const std::uint32_t address = shared_address(p);
  if (address % 8 != 0) stop("misaligned", "mbarrier at ", at);
  if (count == 0 || count > (1u << 20) - 1) stop("mbarrier", "count ", count, " at ", at);
  if (!current->block->mbarriers.contains(address)) note_write(p, 8, at);
  Mbarrier& barrier = current->block->mbarriers[address];
  if (!barrier.waiting.empty()) stop("mbarrier", "initialised at ", at, " while threads wait for it");
  barrier = {};
  barrier.count = barrier.pending = count;
  race::release(barrier.clock);
}

void mbarrier_invalidate(std::uint64_t* p, Where at) {
  const Mbarrier& barrier = find(p, "inval", at);
  if (barrier.bytes || !barrier.waiting.empty()) stop("mbarrier", "invalidated at ", at, " while it is in use");
  current->block->mbarriers.erase(shared_address(p));
}

void mbarrier_arrive(std::uint64_t* p, std::uint32_t count, std::uint32_t expect_bytes, Where at) {
  Mbarrier& barrier = find(p, "arrive", at);
  if (barrier.pending < count) stop("mbarrier", "more arrivals than its count of ", barrier.count, " at ", at);
  race::release(barrier.clock);
  barrier.bytes += expect_bytes;
  barrier.pending -= count;
  advance(barrier);
}

void mbarrier_expect(std::uint64_t* p, std::uint32_t bytes, Where at) { find(p, "expect_tx", at).bytes += bytes; }

bool mbarrier_test(std::uint64_t* p, std::uint32_t parity, Where at) {
  if (parity > 1) stop("mbarrier", "parity ", parity, " at ", at);
  const Mbarrier& barrier = find(p, "wait", at);
  if (barrier.phase == parity) return false;
  race::acquire(*current, barrier.released);
  return true;
}

void mbarrier_wait(std::uint64_t* p, std::uint32_t parity, Where at) {
  if (mbarrier_test(p, parity, at)) return;
  find(p, "wait", at).waiting.push_back(current);
  wait(State::mbarrier, parity ? "an mbarrier's wait for parity 1" : "an mbarrier's wait for parity 0", at);
}

void mbarrier_arrive_after_copies(std::uint64_t* p, Where at) {
  // The copies count as complete here, which is allowed to happen at once.
  cp_async_commit();
  cp_async_wait(0);
  mbarrier_arrive(p, 1, 0, at);
}

// ---- the engine --------------------------------------------------------------------------------

void engine_copy(void (*apply)(void*), const void* arguments, std::size_t argument_bytes, void* to, std::uint64_t* barrier,
                 std::uint32_t bytes, Where at) {
  EngineCopy copy{apply, {}, current, to, barrier ? shared_address(barrier) : ~0u, bytes, current->bulk_group};
  if (argument_bytes > sizeof copy.arguments) stop("async-copy", argument_bytes, " bytes of arguments");
  std::memcpy(copy.arguments, arguments, argument_bytes);
  if (barrier) find(barrier, "an asynchronous copy", at);
  machine.engine.push_back(copy);
  if (options().copies == Timing::eager) complete_engine_copy();
}

namespace {

void complete(std::size_t i) {
  EngineCopy copy = machine.engine[i];
  machine.engine.erase(machine.engine.begin() + static_cast<std::ptrdiff_t>(i));
  machine.quiet = true;
  copy.apply(copy.arguments);
  machine.quiet = false;
  if (copy.mbarrier == ~0u) return;
  Block& block = *copy.issuer->block;
  Mbarrier& barrier = block.mbarriers[copy.mbarrier];
  barrier.bytes -= copy.bytes;
  race::arrived(*copy.issuer, copy.to, copy.bytes, &barrier.clock);
  advance(barrier);
}

}  // namespace

bool complete_engine_copy() {
  if (machine.engine.empty()) return false;
  complete(options().copies == Timing::random ? random_below(machine.engine.size()) : 0);
  return true;
}

void bulk_commit() { ++current->bulk_group; }

void bulk_wait(int keep) {
  const auto done = static_cast<std::int64_t>(current->bulk_group) - keep;
  for (std::size_t i = 0; i < machine.engine.size();) {
    const EngineCopy& copy = machine.engine[i];
    if (copy.issuer == current && copy.mbarrier == ~0u && copy.group < done) complete(i);
    else ++i;
  }
}

}  // namespace cuboid::emulator
