// SPDX-License-Identifier: Apache-2.0
// A launch from its first block to its last thread.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tests/emulator/device_heap.h"
#include "tests/emulator/machine.h"

namespace cuboid::emulator {
namespace {

constexpr std::size_t stack_bytes = 256 << 10;  // address space; its lowest page is a guard
const Kernel* kernel;

/// Local arrays that a kernel forgets to initialise are full of NaN. (With -ftrivial-auto-var-init=pattern of g++ 12, correct
/// kernels gave wrong sums; the cause was not found.)
[[gnu::noinline]] void poison_stack() {
  char bytes[8 << 10];
  std::memset(bytes, 0xff, sizeof bytes);
  asm volatile("" : : "r"(bytes) : "memory");
}

[[noreturn]] void thread_body() {
  for (;;) {  // the fiber serves one device thread after another
    if (checking()) poison_stack();
    kernel->call(kernel->data.get());
    thread_exits();  // the fiber may have become a thread of the next block
    leave();
  }
}

char* map_memory(std::size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(p);
}

void prepare_fibers() {
  for (Thread* t : machine.threads) {
    t->fiber.prepare(t->stack, stack_bytes, thread_body);
    t->state = State::idle;
  }
}

/// Stacks for `threads` device threads and shared memory for `blocks` blocks.
void reserve(std::size_t blocks, std::size_t threads) {
  if (machine.arenas_bytes < blocks * arena_bytes) {
    if (machine.arenas) munmap(machine.arenas, machine.arenas_bytes);
    machine.arenas_bytes = blocks * arena_bytes;
    machine.arenas = map_memory(machine.arenas_bytes);
    race::shared_memory_at(machine.arenas, machine.arenas_bytes);
  }
  if (machine.threads.size() < threads) {
    if (machine.stacks) munmap(machine.stacks, machine.stacks_bytes);
    machine.stacks_bytes = threads * stack_bytes;
    machine.stacks = map_memory(machine.stacks_bytes);
    while (machine.threads.size() < threads) machine.threads.push_back(new Thread);
    for (std::size_t i = 0; i < threads; ++i) {
      machine.threads[i]->stack = machine.stacks + i * stack_bytes;
      mprotect(machine.threads[i]->stack, 4096, PROT_NONE);
    }
    prepare_fibers();
  }
  while (machine.blocks.size() < blocks) {
    machine.blocks.push_back(new Block);
    machine.blocks.back()->array_at.resize(arena_bytes);
  }
  for (std::size_t i = 0; i < machine.blocks.size(); ++i) {
    Block& block = *machine.blocks[i];
    block.slot = static_cast<std::uint32_t>(i);
    block.arena = machine.arenas + i * arena_bytes;
    block.threads.clear();
    block.alive = block.exited = 0;
  }
}

void start_thread(Block& block, std::uint32_t linear) {
  const dim3& size = machine.launch.block;
  Thread& t = *block.threads[linear];
  t.linear = linear;
  t.lane = linear % 32;
  t.index = {linear % size.x, linear / size.x % size.y, linear / size.x / size.y};
  t.block = &block;
  t.warp = &block.warps[linear / 32];
  t.warp->lanes[t.lane] = &t;
  t.warp->alive |= 1u << t.lane;
  t.copies.clear();
  t.copy_groups.clear();
  t.accumulators.clear();
  t.wgmma_fenced = false;
  t.wgmma_group = t.bulk_group = 0;
  race::start_thread(t);
  make_ready(&t);
}

void start_block(Block& block) {
  const dim3& grid = machine.launch.grid;
  const std::uint64_t linear = machine.blocks_started++;
  block.linear = static_cast<std::uint32_t>(linear);
  block.index = {static_cast<unsigned>(linear % grid.x), static_cast<unsigned>(linear / grid.x % grid.y),
                 static_cast<unsigned>(linear / grid.x / grid.y)};
  block.alive = block.threads_at_start = static_cast<int>(block.threads.size());
  block.exited = block.votes = 0;
  block.mbarriers.clear();
  block.warpgroups.clear();
  for (Barrier& b : block.barriers) b = {};
  race::start_block(block);
  open_shared_memory(block, machine.launch.shared_bytes);
  for (std::uint32_t first = 0; first < block.threads.size(); first += 32) {
    Warp& warp = block.warps[first / 32];
    warp.alive = 0;
    for (Rendezvous& r : warp.meetings) r.mask = 0;
  }
  for (std::uint32_t i = 0; i < block.threads.size(); ++i) start_thread(block, i);
  ++statistics().blocks;
  statistics().threads += block.threads.size();
}

void block_ends(Block& block) {
  if (block.clock.used_by_others)
    stop("cluster", "the block exits although another block used its shared memory after the last cluster_sync");
  for (const auto& [address, barrier] : block.mbarriers)
    if (barrier.bytes) stop("mbarrier", "the block ends while ", barrier.bytes, " bytes are expected at an mbarrier");
  for (const EngineCopy& copy : machine.engine)
    if (copy.issuer->block == &block) stop("async-copy", "the block ends with an asynchronous copy in flight");
  ++machine.blocks_done;
  const auto cluster = static_cast<std::uint64_t>(machine.launch.cluster);
  if (machine.blocks_started == machine.blocks_total) return;
  if (cluster == 1) start_block(block);
  else if (machine.blocks_done % cluster == 0)
    for (std::uint64_t i = 0; i < cluster; ++i) start_block(*machine.blocks[i]);
}

void check_configuration(const Launch& l) {
  const auto threads = std::uint64_t{l.block.x} * l.block.y * l.block.z;
  const auto blocks = std::uint64_t{l.grid.x} * l.grid.y * l.grid.z;
  const auto bad = [&](const auto&... parts) { stop("launch", "[", l.name, " launched at ", l.where, "] ", parts...); };
  if (current) bad("a kernel cannot launch another");
  if (threads == 0 || threads > max_threads || l.block.z > 64)
    bad("block of ", l.block.x, " x ", l.block.y, " x ", l.block.z, " threads");
  if (blocks == 0 || l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535)
    bad("grid of ", l.grid.x, " x ", l.grid.y, " x ", l.grid.z, " blocks");
  if (l.shared_bytes > max_shared)
    stop("smem-limit", "[", l.name, " launched at ", l.where, "] ", l.shared_bytes,
         " bytes of dynamic shared memory, the limit is ", max_shared);
  if (l.cluster < 1 || l.cluster > 8 || l.grid.x % static_cast<unsigned>(l.cluster) != 0)
    bad("clusters of ", l.cluster, " blocks do not divide the grid's ", l.grid.x);
  if (l.cooperative && l.cluster > 1) bad("a cooperative launch with clusters is not emulated");
  if (l.cooperative && blocks > 1024) bad("a cooperative grid of ", blocks, " blocks; all of them must be resident");
}

}  // namespace

void check_launch(const Launch& launch) { check_configuration(launch); }

void thread_exits() {
  Thread& self = *current;
  Block& block = *self.block;
  for (const PendingCopy& copy : self.copies)
    if (!copy.done) stop("cp.async", "the thread exits with cp.async copies it never waited for");
  if (!self.accumulators.empty()) stop("wgmma", "the thread exits with a wgmma it never waited for");
  self.state = State::done;
  --block.alive;
  ++block.exited;
  self.warp->alive &= ~(1u << self.lane);
  --machine.threads_left;
  Barrier& whole = block.barriers[0];
  if (block.alive && whole.arrived) {
    if (options().strict)
      stop("barrier-divergence", "the thread exits while ", whole.arrived, " threads wait in __syncthreads at ", whole.where);
    if (whole.arrived == block.alive) release(block, whole, true);
  }
  for (const Rendezvous& meeting : self.warp->meetings)
    if (meeting.mask >> self.lane & 1)
      stop("warp-divergence", "lane ", self.lane, " exits while others wait for it in a warp operation at ", meeting.where);
  if (block.alive == 0) block_ends(block);
}

void run(const Launch& launch, const Kernel& what) {
  const auto threads = std::size_t{launch.block.x} * launch.block.y * launch.block.z;
  const auto blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::uint64_t resident = launch.cooperative ? blocks : static_cast<std::uint64_t>(options().resident);
  if (launch.cluster > 1) resident = static_cast<std::uint64_t>(launch.cluster);
  resident = std::min(resident, blocks);

  Machine& m = machine;
  m.launch = launch;
  kernel = &what;
  m.blocks_total = blocks;
  m.blocks_started = m.blocks_done = 0;
  m.threads_left = blocks * threads;
  m.failed = false;
  m.ready.clear();
  m.ready_head = 0;
  m.grid_waiting.clear();
  m.cluster_waiting.clear();
  m.engine.clear();
  m.random = (options().seed + statistics().launches) * 0x9e3779b97f4a7c15u | 1;
  random_bits();
  blockDim = launch.block;
  gridDim = launch.grid;
  ++statistics().launches;
  reserve(resident, resident * threads);
  race::start_launch();
  for (std::uint64_t i = 0; i < resident; ++i)
    for (std::size_t t = 0; t < threads; ++t) m.blocks[i]->threads.push_back(m.threads[i * threads + t]);
  for (std::uint64_t i = 0; i < resident; ++i) start_block(*m.blocks[i]);
  run_threads();
  if (m.failed) {
    prepare_fibers();  // theirs stopped anywhere
    throw Error(m.error_kind, m.error_text + race::findings());
  }
  if (const std::string found = race::findings(); !found.empty()) throw Error("race", launch.name + found);
}

}  // namespace cuboid::emulator
