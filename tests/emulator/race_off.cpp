// SPDX-License-Identifier: Apache-2.0
// The plain build: nothing is looked for. Thread ids and times are not kept.
#include "tests/emulator/access.h"
#include "tests/emulator/race.h"

#if !CUBOID_EMULATOR_CHECK
namespace cuboid::emulator {
namespace race {
Time now() { return 0; }
Time tick() { return 0; }
void start_launch() {}
void start_block(Block&) {}
void start_thread(Thread&, std::uint64_t, std::uint32_t) {}
bool in_this_launch(Time) { return false; }
std::string findings() { return {}; }
void block_met(Block&, const std::vector<Thread*>&) {}
void lanes_met(Warp&, std::uint32_t) {}
void all_met() {}
void release(Clock&) {}
void acquire(Thread&, const Clock&) {}
void completes(Clock&, int, std::uint32_t) {}
void learn(std::uint32_t, std::uint32_t, Time) {}
void copy_arrived(const void*, std::size_t) {}
void shared_memory_moved() {}
void device_memory_at(const void*, std::size_t) {}
void fresh(const void*, std::size_t) {}
void written_by_host(const void*, std::size_t) {}
void copied_from(const void*, std::size_t, Where) {}
}  // namespace race
void note_read(const void*, std::size_t, Where) {}
void note_write(const void*, std::size_t, Where) {}
void note_atomic(const void*, std::size_t, Where) {}
void note_async_read(const void*, std::size_t, Where) {}
void note_async_write(const void*, std::size_t, Where) {}
void thread_fence() {}
void proxy_fence() {}
}  // namespace cuboid::emulator
#endif
