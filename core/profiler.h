// SPDX-License-Identifier: Apache-2.0
// Counters and a trace of every kernel that runs; costs one branch when off. On a CUDA device the times are the device's own,
// and a tool that watches the program sees a range per call (CUBOID_NVTX=1, or under Nsight Systems).
#pragma once
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"

namespace cuboid::profiler {

bool enabled();
void enable(bool on);
/// True when somebody wants to know of calls: this profiler, or a tool.
bool watched();

/// One kernel call. `bytes` are those of its arguments; `flops` is 0 where the op declares none.
struct Event {
  const char* op;
  const char* impl;
  double start_us, duration_us, flops, bytes;
};

/// Microseconds since the program started.
double now_us();
void add(const Event& event);

/// A kernel call, from here to the end of the scope: on a CUDA device the time between two events of the current stream. Those
/// that are recorded into a graph are not counted; the graph's replays are.
class Span {
 public:
  Span(Device device, const char* op, const char* impl, double flops, double bytes);
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  ~Span();

 private:
  bool counts_ = false, range_ = false;
  Event event_;
  std::shared_ptr<void> started_;  // an event of the device
};

void clear();
/// Waits for those that are under way.
std::vector<Event> events();

/// Chrome trace JSON ("X" events), opens in ui.perfetto.dev.
void write_trace(std::ostream& os);
/// One line per op and implementation, most expensive first: calls, ms, share, GFLOP/s, GB/s.
void write_table(std::ostream& os);

}  // namespace cuboid::profiler
