// SPDX-License-Identifier: Apache-2.0
// Which accesses to memory happened before which others. Everything here does nothing in the plain build.
//
// Time is one counter; each synchronisation advances it. "Floors" say: whatever the others of my warp, block, launch did
// before that time is ordered with what I do now. Barriers raise floors of whole groups; mbarriers, named barriers and
// fences carry clocks, one time per thread of the block (Fidge 1988, Mattern 1989).
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
  Time remote_use = 0;  // last time another block of the cluster used this one's shared memory
  OtherBlocks others;
};

Time now();
/// Later than everything so far.
Time tick();

void start_launch();
void start_block(Block& block);
void start_thread(Thread& thread, std::uint64_t block, std::uint32_t linear);
bool in_this_launch(Time time);
/// What was found in this launch, one line each; empty when nothing was.
std::string findings();

/// All threads waiting have met in a barrier of the whole block; lanes of `mask` have met; all threads of the launch have.
void block_met(Block& block, const std::vector<Thread*>& threads);
void lanes_met(Warp& warp, std::uint32_t mask);
void all_met();
/// The current thread gives what it knows to `clock`; `thread` learns what is in `clock`.
void release(Clock& clock);
void acquire(Thread& thread, const Clock& clock);
/// `clock` learns what thread `linear` of a block of `threads` did up to now: a copy it issued has completed.
void completes(Clock& clock, int threads, std::uint32_t linear);
/// Whatever threads [first, first + count) did before `time` is ordered with what the current thread does next.
void learn(std::uint32_t first, std::uint32_t count, Time time);
/// The thread's own cp.async into `to` is complete: the write counts as made now.
void copy_arrived(const void* to, std::size_t bytes);

void shared_memory_moved();
void device_memory_at(const void* base, std::size_t bytes);
/// Memory that starts a life of its own: nothing written yet, or written by the host.
void fresh(const void* p, std::size_t bytes);
void written_by_host(const void* p, std::size_t bytes);
/// A copy reads device memory.
void copied_from(const void* p, std::size_t bytes, Where at);

}  // namespace cuboid::emulator::race
