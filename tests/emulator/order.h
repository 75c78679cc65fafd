// SPDX-License-Identifier: Apache-2.0
// Which of the operations on streams (kernels, copies, fills) happen before which others: by the order of a stream, by events,
// by what the host waited for. One count per stream, as in race.h. Nothing in the plain build.
#pragma once
#include <cstdint>
#include <map>

#include "tests/emulator/race.h"

namespace cuboid::emulator {
struct Stream;
}

namespace cuboid::emulator::order {

/// How many operations of each stream are known to be done.
using Counts = std::map<const Stream*, std::uint64_t>;
void merge(Counts& into, const Counts& from);

#if CUBOID_EMULATOR_CHECK
/// From now on there are streams beside the default one, which by itself orders everything.
void more_streams();
/// What the host has waited for; an operation it queues now comes after that.
const Counts& host();
void host_learns(const Counts& done);
/// The first operation of `stream` starts, or is over. `done` is the stream's count, `queued` what host() was.
void starts(const Stream* stream, Counts& done, const Counts& queued);
void ends();
/// No operation is queued on any stream.
void idle();

/// Some operation before the running one is not ordered with it.
bool concurrent();
/// What was done at `time`, before the running operation, is ordered with it.
bool ordered(race::Time time);
/// Drops all times; false while some are needed.
bool forget();
#else
inline void more_streams() {}
inline const Counts& host() {
  static const Counts nothing;
  return nothing;
}
inline void host_learns(const Counts&) {}
inline void starts(const Stream*, Counts&, const Counts&) {}
inline void ends() {}
inline void idle() {}
#endif

}  // namespace cuboid::emulator::order
