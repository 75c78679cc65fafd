// SPDX-License-Identifier: Apache-2.0
// The plain build: nothing is looked for, no times are kept.
#include "tests/emulator/access.h"
#include "tests/emulator/race.h"

#if !CUBOID_EMULATOR_CHECK
namespace cuboid::emulator {
namespace race {
Time tick() { return 0; }
void start_launch() {}
void start_block(Block&) {}
void start_thread(Thread&) {}
std::string findings() { return {}; }
void block_met(Block&, const std::vector<Thread*>&) {}
void lanes_met(Warp&, std::uint32_t) {}
void cluster_met(const std::vector<Block*>&) {}
void all_met() {}
void release(Clock&) {}
void acquire(Thread&, const Clock&) {}
void learn(std::uint32_t, std::uint32_t, Time) {}
void arrived(const Thread&, const void*, std::size_t, Clock*) {}
void device_memory_at(const void*, std::size_t) {}
void shared_memory_at(const void*, std::size_t) {}
void fresh(const void*, std::size_t) {}
void host_writes(const void*, std::size_t, Where) {}
void host_reads(const void*, std::size_t, Where) {}
void host_copies(const void*, const void*, std::size_t) {}
}  // namespace race
void note_read(const void*, std::size_t, Where) {}
void note_write(const void*, std::size_t, Where) {}
void note_atomic(const void*, std::size_t, Where) {}
void note_copy(const void*, std::size_t, Where) {}
void note_async_read(const void*, std::size_t, Where) {}
void note_async_write(const void*, std::size_t, Where) {}
void thread_fence() {}
void proxy_fence() {}
}  // namespace cuboid::emulator
#endif
