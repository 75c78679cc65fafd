// SPDX-License-Identifier: Apache-2.0
// Barriers of a block, named barriers, and barriers of a cluster and a cooperative grid.
#include <algorithm>

#include "tests/emulator/machine.h"
#include "tests/emulator/sync.h"

namespace cuboid::emulator {

void release(Block& block, Barrier& barrier, bool whole_block) {
  ++statistics().block_barriers;
  if (whole_block) race::block_met(block, barrier.waiting);
  else race::tick();
  for (Thread* t : barrier.waiting) {
    if (!whole_block) race::acquire(*t, barrier.clock);
    make_ready(t);
  }
  barrier.waiting.clear();
  barrier.arrived = barrier.expected = 0;
  barrier.clock.clear();
}

namespace {

void check_whole(const Block& block, const Barrier& barrier, Where at) {
  if (!options().strict) return;
  if (barrier.arrived && barrier.where != at)
    stop("barrier-divergence", "__syncthreads at ", at, " while others wait in the one at ", barrier.where);
  if (block.exited) stop("barrier-divergence", "__syncthreads at ", at, " after ", block.exited, " threads of the block exited");
}

void check_named(const Barrier& barrier, int id, int threads, Where at) {
  if (id < 1 || id > 15) stop("named-barrier", "barrier ", id, " at ", at, ": 1 to 15 can be named");
  if (threads % 32 != 0 || threads <= 0) stop("named-barrier", threads, " threads at ", at, ": not a multiple of 32");
  if (barrier.arrived && barrier.expected != threads)
    stop("named-barrier", "barrier ", id, " is used with ", barrier.expected, " and with ", threads, " threads at ", at);
}

/// All of `threads` live ones meet in `waiting`; `met` tells the race model.
template <class Met>
void meet(std::vector<Thread*>& waiting, std::size_t threads, const char* doing, Where at, Met&& met) {
  waiting.push_back(current);
  if (waiting.size() < threads) return wait(State::barrier, doing, at);
  met();
  for (Thread* t : waiting) make_ready(t);
  waiting.clear();
  leave();
}

}  // namespace

void barrier_sync(int id, int threads, Where at) {
  Block& block = *current->block;
  const bool whole = threads == 0;
  Barrier& barrier = block.barriers[static_cast<std::size_t>(id)];
  if (whole) {
    check_whole(block, barrier, at);
  } else {
    check_named(barrier, id, threads, at);
    race::release(barrier.clock);
  }
  barrier.where = at;
  barrier.expected = threads;
  ++barrier.arrived;
  barrier.waiting.push_back(current);
  if (barrier.arrived < (whole ? block.alive : threads))
    return wait(State::barrier, whole ? "__syncthreads" : "a named barrier", at);
  release(block, barrier, whole);
  leave();
}

void barrier_arrive(int id, int threads, Where at) {
  Block& block = *current->block;
  Barrier& barrier = block.barriers[static_cast<std::size_t>(id)];
  check_named(barrier, id, threads, at);
  race::release(barrier.clock);
  barrier.where = at;
  barrier.expected = threads;
  if (++barrier.arrived == threads) release(block, barrier, false);
}

Votes barrier_vote(bool vote, Where at) {
  Block& block = *current->block;
  if (block.votes++ == 0) {
    block.vote_count = block.vote_or = 0;
    block.vote_and = 1;
  }
  block.vote_count += vote;
  block.vote_and &= vote;
  block.vote_or |= vote;
  barrier_sync(0, 0, at);
  const Votes votes{block.vote_count, block.vote_and, block.vote_or};
  barrier_sync(0, 0, at);  // all have read
  block.votes = 0;
  return votes;
}

void grid_sync(Where at) {
  if (!machine.launch.cooperative) stop("grid-sync", "grid_sync at ", at, " in a launch that is not cooperative");
  meet(machine.grid_waiting, machine.threads_left, "grid_sync", at, race::all_met);
}

void cluster_sync(Where at) {
  std::size_t alive = 0;
  const auto first = machine.launch.cluster > 1 ? machine.blocks.begin() : machine.blocks.begin() + current->block->slot;
  const std::vector<Block*> cluster(first, first + machine.launch.cluster);
  for (const Block* member : cluster) {
    const Block& block = *member;
    alive += static_cast<std::size_t>(block.alive);
    if (options().strict && block.exited) stop("barrier-divergence", "cluster_sync at ", at, " after threads exited");
  }
  meet(machine.cluster_waiting, alive, "cluster_sync", at, [&] { race::cluster_met(cluster); });
}

unsigned cluster_rank() { return machine.launch.cluster > 1 ? current->block->slot : 0; }

void* cluster_map(const void* p, unsigned rank, Where at) {
  if (rank >= static_cast<unsigned>(machine.launch.cluster))
    stop("cluster", "rank ", rank, " at ", at, " in a cluster of ", machine.launch.cluster);
  Block& block = machine.launch.cluster > 1 ? *machine.blocks[rank] : *current->block;
  return block.arena + shared_address(p);
}

}  // namespace cuboid::emulator
