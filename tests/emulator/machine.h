// SPDX-License-Identifier: Apache-2.0
// The state of the running launch, shared by the parts of the runtime; kernels and launchers never see it.
#pragma once
#include <array>
#include <bit>
#include <map>
#include <string>
#include <vector>

#include "tests/emulator/builtins.h"
#include "tests/emulator/fiber.h"
#include "tests/emulator/launch.h"
#include "tests/emulator/options.h"
#include "tests/emulator/race.h"
#include "tests/emulator/where.h"

namespace cuboid::emulator {

constexpr int max_threads = 1024;
constexpr std::size_t arena_bytes = 512 << 10;       // address space for the shared memory of one resident block
constexpr std::size_t max_static_shared = 48 << 10;  // CUDA's limits for compute capability 9.0
constexpr std::size_t max_shared = 227 << 10;

struct Warp;
struct Block;

/// Why a thread does not run.
enum class State : std::uint8_t { idle, ready, barrier, collective, mbarrier, done };

/// One cp.async.
struct PendingCopy {
  void* to;
  const void* from;
  int bytes, from_bytes;  // the rest is filled with zeros
  bool done;
};
/// The accumulators of a wgmma in flight: the thread's own registers are poisoned until it waits.
struct Accumulator {
  float* registers;
  std::vector<float> values;
  std::uint32_t group, time;
};

struct Thread {
  Fiber fiber;
  char* stack = nullptr;
  uint3 index{};
  std::uint32_t linear = 0, lane = 0;
  Block* block = nullptr;
  Warp* warp = nullptr;
  State state = State::idle;
  Where where;
  const char* doing = "";  // for reports
  std::uint32_t mask = 0;
  std::vector<PendingCopy> copies;
  std::vector<std::size_t> copy_groups;  // ends of the committed groups
  std::vector<Accumulator> accumulators;
  bool wgmma_fenced = false;
  std::uint32_t wgmma_group = 0, bulk_group = 0;  // numbers of the open ones
  race::ThreadClock clock;
};

/// Lanes that meet: each leaves a pointer to its arguments, the last one computes for all.
struct Rendezvous {
  std::uint32_t mask = 0, arrived = 0;  // mask 0: free
  int kind = 0;
  Where where;
  void* arguments[32];
};
struct Warp {
  Thread* lanes[32];
  std::uint32_t alive = 0;
  Rendezvous meetings[4];
  race::WarpClock clock;
};
/// The same for 128 threads.
struct Warpgroup {
  int arrived = 0, kind = 0;
  std::uint32_t time = 0;
  Where where;
  void* arguments[128];
  std::vector<Thread*> waiting;
};
struct Barrier {
  int arrived = 0, expected = 0;
  Where where;
  std::vector<Thread*> waiting;
  race::Clock clock;
};
struct Mbarrier {
  std::uint32_t count = 0, pending = 0, phase = 0;
  std::int64_t bytes = 0;  // expected and not yet arrived
  std::vector<Thread*> waiting;
  race::Clock clock, released;
};
/// An array in shared memory.
struct SharedArray {
  const void* key;
  std::uint32_t offset, bytes;
  const char* name;
};

struct Block {
  uint3 index{};
  std::uint32_t linear = 0, slot = 0;  // in the grid; among the resident blocks
  int threads_at_start = 0, alive = 0, exited = 0;
  std::vector<Thread*> threads;
  std::array<Warp, max_threads / 32> warps;
  std::array<Barrier, 16> barriers;
  std::map<std::uint32_t, Mbarrier> mbarriers;  // by shared address
  std::map<std::uint32_t, Warpgroup> warpgroups;
  int votes = 0, vote_count = 0, vote_and = 0, vote_or = 0;

  char* arena = nullptr;
  std::uint32_t arena_used = 0, dynamic_bytes = 0;
  bool divided = false;  // dynamic shared memory was handed out by SmemAlloc
  std::vector<SharedArray> arrays;
  std::vector<std::uint8_t> array_at;  // per byte of the arena: number of the array there, 0 for none
  int last_array = 0;
  race::BlockClock clock;
};

/// A copy by the asynchronous engine (TMA); it completes some time after it was issued.
struct EngineCopy {
  void (*apply)(void*);
  alignas(64) unsigned char arguments[512];
  Thread* issuer;
  void* to;                       // in shared memory; nullptr for stores
  std::uint32_t mbarrier, bytes;  // ~0u: no mbarrier, but a bulk group of the issuing thread
  std::uint32_t group;
};

struct Machine {
  Launch launch;
  std::vector<Block*> blocks;  // resident; they outlive launches
  std::vector<Thread*> threads;
  std::uint64_t blocks_started = 0, blocks_done = 0, blocks_total = 0, threads_left = 0;
  std::vector<Thread*> ready;
  std::size_t ready_head = 0;  // fifo order takes from here
  std::vector<Thread*> grid_waiting, cluster_waiting;
  std::vector<EngineCopy> engine;
  char *arenas = nullptr, *stacks = nullptr;
  std::size_t arenas_bytes = 0, stacks_bytes = 0;
  std::uint64_t random = 1;
  bool failed = false;
  std::string error_kind, error_text;
  bool quiet = false;  // inside a functional model: accesses are not the kernel's
};
extern Machine& machine;

/// The running device thread; nullptr in host code.
extern constinit thread_local Thread* current;

inline std::uint64_t random_bits() {  // xorshift64, Marsaglia 2003
  std::uint64_t& x = machine.random;
  x ^= x << 13;
  x ^= x >> 7;
  return x ^= x << 17;
}
inline std::size_t random_below(std::size_t n) { return static_cast<std::size_t>((random_bits() >> 32) * n >> 32); }

// ---- scheduler.cpp -----------------------------------------------------------------------------
void make_ready(Thread* thread);
/// Leaves the current thread until somebody makes it ready.
void wait(State why, const char* doing, Where at);
/// Goes to the next thread; the current one is ready, waits or is done.
void leave();
/// Lets the others go first.
void step_aside();
/// From the host: runs threads until all blocks are done or the launch fails.
void run_threads();
/// Notes the first error of the launch, with kernel, block and thread in front.
void set_error(const char* kind, const std::string& text);
/// "block 2 thread 35"
std::string name_of(const Thread& thread);

// ---- launch.cpp --------------------------------------------------------------------------------
/// Called when a thread returns from its kernel.
void thread_exits();

// ---- barrier.cpp, async.cpp --------------------------------------------------------------------
void release(Block& block, Barrier& barrier, bool whole_block);
/// Completes one copy in flight; false when there is none.
bool complete_engine_copy();
/// Ends the phase of an mbarrier when nothing is missing any more.
void advance(Mbarrier& barrier);

// ---- shared_memory.cpp -------------------------------------------------------------------------
void open_shared_memory(Block& block, std::size_t dynamic_bytes);
/// The array of `block` that holds the byte at `offset`; nullptr outside all of them.
const SharedArray* array_at(const Block& block, std::uint32_t offset);

}  // namespace cuboid::emulator
