// SPDX-License-Identifier: Apache-2.0
// Where the time goes: every kernel call, and named ranges around what is not a kernel. Costs one branch when off. On a CUDA
// device the times of kernels are the device's own, and a tool that watches the program sees a range per call (CUBOID_NVTX=1,
// or under Nsight Systems).
#pragma once
#include <atomic>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"

namespace cuboid::profiler {

namespace detail {
enum Wish : unsigned { counts = 1, ranges = 2, memory = 4 };
inline std::atomic<unsigned> wishes{0};  // off: one relaxed load and a branch that is never taken
}  // namespace detail

inline bool enabled() { return detail::wishes.load(std::memory_order_relaxed) & detail::counts; }
/// The thread that turns it on is the one whose time is to be explained; the clock of wall_us() starts.
void enable(bool on);
/// True when somebody wants to know of calls: this profiler, or a tool.
inline bool watched() { return detail::wishes.load(std::memory_order_relaxed) != 0; }

inline constexpr int main_thread = 0, device_thread = -1;  // what Event::thread may be, besides other threads' numbers

/// A kernel call, or a range (flops and bytes are 0, `impl` is empty). `bytes` are those of a call's arguments; `flops` is 0
/// where the op declares none.
struct Event {
  const char* op;
  const char* impl;
  double start_us, duration_us, flops, bytes;
  double self_us = duration_us;  // without the calls and ranges within
  int thread = main_thread;
  const char* path = "";  // of the ranges around it: "step/forward/denseblock1"
};

/// Microseconds since the program started.
double now_us();
void add(const Event& event);

/// What is open on this thread, innermost first.
struct Frame {
  const char* name;
  const char* path;    // of the ranges, this one included
  const char* kernel;  // the kernel within which this runs, or nullptr
  Frame* outer;
  double within_us = 0;  // what its parts took
};
/// The innermost, or nullptr: nothing is open, or the profiler is off.
const Frame* here();

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
  Frame frame_;
  std::shared_ptr<void> started_;  // an event of the device
};

/// A name for what is no kernel, from here to the end of the scope: Range wait("loader wait"). Ranges lie within each other and
/// around kernels; each counts its own time once. The text must outlive the program's profile: a literal.
class Range {
 public:
  explicit Range(const char* name) {
    if (enabled()) open(name);
  }
  /// "denseblock", 2 -> denseblock2
  Range(const char* name, std::int64_t number) {
    if (enabled()) open(numbered(name, number));
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
  ~Range() {
    if (open_) close();
  }

 private:
  static const char* numbered(const char* name, std::int64_t number);
  void open(const char* name);
  void close();

  bool open_ = false;
  Frame frame_;
  double start_us_ = 0;
};

/// The innermost range's name where the profiler is on, else nullptr; the sweep opens it again, marked as a derivative's.
const char* place();
/// "denseblock1" -> "denseblock1'"
const char* derivative_of(const char* place);

void clear();
/// The first million. Waits for those that are under way.
std::vector<Event> events();

/// Everything that was called `op` on one thread, also where there were too many events to keep.
struct Total {
  std::string op, impl;  // impl is empty for a range
  int thread = main_thread;
  std::int64_t calls = 0;
  double us = 0, self_us = 0, flops = 0, bytes = 0;
};
/// Largest self_us first.
std::vector<Total> totals();
/// The same by the path of the ranges: op is the path, self_us what was in none of the ranges below it, kernels included.
std::vector<Total> places();
/// Since enable(true) or clear(), until enable(false).
double wall_us();

/// Chrome trace JSON ("X" events), opens in ui.perfetto.dev.
void write_trace(std::ostream& os);
/// One line per op and implementation, most expensive first: calls, ms, share, GFLOP/s, GB/s.
void write_table(std::ostream& os);

}  // namespace cuboid::profiler
