// SPDX-License-Identifier: Apache-2.0
// Which accesses to memory happened before which others. Everything here does nothing in the plain build.
//
// Time is one counter; each synchronisation advances it. "Floors" say: whatever the others of my warp, block, launch did
// before that time is ordered with what I do now. Barriers raise floors of whole groups; mbarriers, named barriers and
// fences carry clocks, one time per thread of the block (Fidge 1988, Mattern 1989). Streams and events have clocks of their
// own: order.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/emulator/where.h"

namespace cuboid::emulator {
struct Thread;
struct Warp;
struct Block;
}  // namespace cuboid::emulator

namespace cuboid::emulator::race {

using Time = std::uint32_t;
using Clock = std::vector<Time>;

/// Known of another block: what its thread `thread` did before `until`, and what all its threads did before `floor`.
struct OtherBlock {
  std::uint32_t thread = 0;
  Time until = 0, floor = 0;
};
using OtherBlocks = std::map<std::uint32_t, OtherBlock>;

struct ThreadClock {
  std::uint32_t id = 0;  // block and thread, as cells keep it
  Time proxy_fence = 0;  // earlier writes of this thread are visible to the async proxy
  Clock known;           // empty unless mbarriers or named barriers are in use
  OtherBlocks others, acquired;
  bool fenced = false;
};
struct WarpClock {
  Time floor = 0;
  bool pairs_used = false;  // some synchronisation named only part of the warp
  Time pairs[32][32] = {};
};
struct BlockClock {
  Time floor = 0;
  bool used_by_others = false;  // another block of the cluster used its shared memory since the last cluster_sync
  OtherBlocks others;
};

/// Later than everything so far.
Time tick();

void start_launch();
void start_block(Block& block);
void start_thread(Thread& thread);
/// What was found since it was last asked, one line each; empty when nothing was.
std::string findings();

/// All threads waiting have met in a barrier of the whole block; lanes of `mask` have met; so have the blocks of a cluster,
/// all threads of the launch.
void block_met(Block& block, const std::vector<Thread*>& threads);
void lanes_met(Warp& warp, std::uint32_t mask);
void cluster_met(const std::vector<Block*>& blocks);
void all_met();
/// The current thread gives what it knows to `clock`; `thread` learns what is in `clock`.
void release(Clock& clock);
void acquire(Thread& thread, const Clock& clock);
/// Whatever threads [first, first + count) of the block did before `time` is ordered with what the current thread does next.
void learn(std::uint32_t first, std::uint32_t count, Time time);
/// An asynchronous copy of `issuer` into `to` is complete: the write counts as made now. `clock` (may be null) learns of it.
void arrived(const Thread& issuer, const void* to, std::size_t bytes, Clock* clock);

void device_memory_at(const void* base, std::size_t bytes);
void shared_memory_at(const void* base, std::size_t bytes);
/// Memory that starts a life of its own: nothing was written yet.
void fresh(const void* p, std::size_t bytes);
/// A copy or fill between kernels writes or reads device memory.
void host_writes(const void* p, std::size_t bytes, Where at);
void host_reads(const void* p, std::size_t bytes, Where at);
/// After host_writes: what was never written stays so.
void host_copies(const void* to, const void* from, std::size_t bytes);

}  // namespace cuboid::emulator::race
