// SPDX-License-Identifier: Apache-2.0
// The clocks of threads, warps and blocks, and the list of what was found.
#include "tests/emulator/race.h"

#if CUBOID_EMULATOR_CHECK
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "tests/emulator/access.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/order.h"
#include "tests/emulator/shadow.h"

extern "C" const char __executable_start;

namespace cuboid::emulator::race {
namespace {

Time clock_now = 1, floor_now = 1;
std::string found;
std::set<std::pair<std::string, const void*>>& seen = *new std::set<std::pair<std::string, const void*>>;
/// What atomics after a fence publish, by the address of the atomic variable.
std::map<const void*, OtherBlocks>& published = *new std::map<const void*, OtherBlocks>;

void merge(OtherBlocks& into, const OtherBlocks& from) {
  for (const auto& [block, x] : from) {
    OtherBlock& y = into[block];
    if (x.until > y.until) y.until = x.until, y.thread = x.thread;
    y.floor = std::max(y.floor, x.floor);
  }
}

/// Times are 29 bits wide: before they run out, all that happened so far is put at time 1.
void start_over() {
  for (Shadow* shadow : {&device_shadow, &shared_shadow})
    for (std::size_t i = 0; i < shadow->bytes / 4; ++i) {
      Cell& cell = shadow->cells[i];
      if (cell.written || cell.read) cell = {0, cell.written ? 1u : 0u, 0, 0};
    }
  clock_now = 2;
}

/// "conv.cu:28", asked of addr2line; only when something was found.
std::string line_of(const void* pc) {
  char program[512];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) return "?";
  program[length] = '\0';
  std::ostringstream command;
  command << "addr2line -s -e '" << program << "' 0x" << std::hex << (static_cast<const char*>(pc) - &__executable_start) - 1
          << " 2>/dev/null";
  std::string line;
  if (FILE* pipe = popen(command.str().c_str(), "r")) {
    char text[256];
    if (std::fgets(text, sizeof text, pipe)) line = text;
    pclose(pipe);
  }
  return line.substr(0, line.find_first_of("\n ("));
}
std::string place_of(const Site& site) { return site.pc ? line_of(site.pc) : join_text(site.at); }

std::string memory_at(const void* p) {
  if (!shared_shadow.has(p)) return "global memory";
  const auto offset = static_cast<std::uint32_t>(static_cast<const char*>(p) - machine.arenas);
  const Block& block = *machine.blocks[offset / arena_bytes];
  const SharedArray* array = array_at(block, offset % arena_bytes);
  return array ? join_text("shared memory '", array->name, "' + ", offset % arena_bytes - array->offset) : "shared memory";
}

}  // namespace

Time now() { return clock_now; }
Time tick() { return ++clock_now; }
Time launch_floor() { return floor_now; }

void device_memory_at(const void* base, std::size_t bytes) { device_shadow.map(base, bytes); }
void shared_memory_at(const void* base, std::size_t bytes) { shared_shadow.map(base, bytes); }

void start_launch() {
  if (clock_now > time_mask / 2 && order::forget()) start_over();
  floor_now = tick();
  published.clear();
}
void start_block(Block& block) {
  block.clock = {};
  for (Warp& warp : block.warps) {
    warp.clock.floor = 0;
    if (warp.clock.pairs_used) warp.clock = {};
  }
}
void start_thread(Thread& thread) {
  thread.clock = {};
  thread.clock.id = thread.block->linear << 10 | thread.linear;
}

// ---- who meets whom ----------------------------------------------------------------------------

void block_met(Block& block, const std::vector<Thread*>& threads) {
  block.clock.floor = tick();
  for (Thread* t : threads) {
    merge(block.clock.others, t->clock.others);
    t->clock.others.clear();
    t->clock.fenced = false;
  }
}
void lanes_met(Warp& warp, std::uint32_t mask) {
  const Time time = tick();
  if (mask == warp.alive) {
    warp.clock.floor = time;
    return;
  }
  warp.clock.pairs_used = true;
  for (int a = 0; a < 32; ++a)
    for (int b = 0; b < 32; ++b)
      if (mask >> a & mask >> b & 1) warp.clock.pairs[a][b] = time;
}
void cluster_met(const std::vector<Block*>& blocks) {
  const Time time = tick();
  for (Block* block : blocks) {
    block->clock.floor = time;
    block->clock.used_by_others = false;
    for (const Block* other : blocks) block->clock.others[other->linear].floor = time;
  }
}
void all_met() { floor_now = tick(); }

void release(Clock& clock) {
  const Block& block = *current->block;
  clock.resize(block.threads.size());
  for (std::uint32_t t = 0; t < clock.size(); ++t) {
    Time known = block.clock.floor;
    if (!current->clock.known.empty()) known = std::max(known, current->clock.known[t]);
    if (t / 32 == current->linear / 32) known = std::max(known, current->warp->clock.floor);
    if (t == current->linear) known = clock_now + 1;
    clock[t] = std::max(clock[t], known);
  }
  tick();
}
void acquire(Thread& thread, const Clock& clock) {
  if (clock.empty()) return;
  Clock& known = thread.clock.known;
  known.resize(std::max(known.size(), clock.size()));
  for (std::size_t t = 0; t < clock.size(); ++t) known[t] = std::max(known[t], clock[t]);
}
void learn(std::uint32_t first, std::uint32_t count, Time time) {
  Clock& known = current->clock.known;
  known.resize(current->block->threads.size());
  for (std::uint32_t t = first; t < first + count; ++t) known[t] = std::max(known[t], time);
}
void arrived(const Thread& issuer, const void* to, std::size_t bytes, Clock* clock) {
  Shadow& shadow = shared_shadow.has(to) ? shared_shadow : device_shadow;
  for (std::size_t i = shadow.index(to); i <= shadow.index(static_cast<const char*>(to) + bytes - 1); ++i) {
    Cell& cell = shadow.cells[i];
    cell.writer = issuer.clock.id << 4 | (cell.writer & 15u);
    cell.written = clock_now | (cell.written & async_mark);
  }
  if (clock) {
    clock->resize(issuer.block->threads.size());
    (*clock)[issuer.linear] = std::max((*clock)[issuer.linear], clock_now + 1);
  }
  tick();
}

/// A fence before an atomic gives all that is known to whoever fences after an atomic on the same variable.
void synchronise_through(const void* variable) {
  if (!current) return;
  if (current->clock.fenced) {
    OtherBlocks& known = published[variable];
    merge(known, current->clock.others);
    merge(known, current->block->clock.others);
    OtherBlock& mine = known[current->clock.id >> 10];
    mine.thread = current->linear;
    mine.until = tick();
    mine.floor = current->block->clock.floor;
  }
  if (const auto it = published.find(variable); it != published.end()) current->clock.acquired = it->second;
}

// ---- findings ----------------------------------------------------------------------------------

void add_finding(const char* what, const void* p, std::uint32_t other, const Site& site) {
  const void* place = site.pc ? site.pc : site.at.file + site.at.line;
  if (!seen.emplace(what, place).second || seen.size() > 20) return;
  found +=
      join_text("\n    ", what, " on ", memory_at(p), " by ", current ? name_of(*current) : "a copy", " at ", place_of(site));
  if (other != (current ? current->clock.id : 0))
    found += join_text(", the other is block ", other >> 10, " thread ", other & 1023);
}

std::string findings() {
  seen.clear();
  return std::exchange(found, {});
}

void bad_access(const char* kind, const void* p, std::size_t bytes, const Site& site, const std::string& text) {
  stop(kind, bytes, " bytes at ", p, " at ", place_of(site), ": ", text);
}

bool operations_ordered(Time time) { return order::ordered(time); }

// ---- between kernels ---------------------------------------------------------------------------

namespace {
/// The memory was accessed by an operation that is not ordered with the running one.
void check_host_access(const void* p, std::size_t bytes, bool writes, const char* what, Where at) {
  if (!order::concurrent()) return;
  for (std::size_t i = device_shadow.index(p); i <= device_shadow.index(static_cast<const char*>(p) + bytes - 1); ++i) {
    const Cell& cell = device_shadow.cells[i];
    const Time written = cell.written & time_mask;
    if ((written && !order::ordered(written)) || (writes && cell.read && !order::ordered(cell.read))) {
      const std::string text =
          join_text(what, " at ", at, ": ", bytes, " bytes that work on another stream uses, with no event between");
      throw Error("race", text);
    }
  }
}
}  // namespace

void fresh(const void* p, std::size_t bytes) {
  Shadow& shadow = shared_shadow.has(p) ? shared_shadow : device_shadow;
  if (&shadow == &device_shadow) check_host_access(p, bytes, true, "memory handed out again", {});
  shadow.set(p, bytes, {});
}
void host_writes(const void* p, std::size_t bytes, Where at) {
  check_host_access(p, bytes, true, "a copy or fill", at);
  device_shadow.set(p, bytes, {15u, now(), 0, 0});
}
void host_reads(const void* p, std::size_t bytes, Where at) { check_host_access(p, bytes, false, "a copy", at); }
void host_copies(const void* to, const void* from, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(to) % 4 != reinterpret_cast<std::uintptr_t>(from) % 4) return;
  const std::size_t count = device_shadow.index(static_cast<const char*>(to) + bytes - 1) - device_shadow.index(to) + 1;
  for (std::size_t i = 0; i < count; ++i)
    if (!device_shadow.cells[device_shadow.index(from) + i].written) device_shadow.cells[device_shadow.index(to) + i] = {};
}

}  // namespace cuboid::emulator::race

namespace cuboid::emulator {

void thread_fence() {
  if (!current) return;
  current->clock.fenced = true;
  race::OtherBlocks& acquired = current->clock.acquired;
  for (const auto& [block, known] : acquired) current->clock.others[block] = known;
  acquired.clear();
}
void proxy_fence() {
  if (current) current->clock.proxy_fence = race::tick();
}

}  // namespace cuboid::emulator
#endif
