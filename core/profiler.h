// SPDX-License-Identifier: Apache-2.0
// Counters and a trace of every kernel that runs; costs one branch when off.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace cuboid::profiler {

bool enabled();
void enable(bool on);

/// One kernel call. `bytes` are those of its arguments; `flops` is 0 where the op declares none.
struct Event {
  const char* op;
  const char* impl;
  double start_us, duration_us, flops, bytes;
};

/// Microseconds since the program started.
double now_us();
void add(const Event& event);
void clear();
std::vector<Event> events();

/// Chrome trace JSON ("X" events), opens in ui.perfetto.dev.
void write_trace(std::ostream& os);
/// One line per op and implementation, most expensive first: calls, ms, share, GFLOP/s, GB/s.
void write_table(std::ostream& os);

}  // namespace cuboid::profiler
