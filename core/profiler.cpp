// SPDX-License-Identifier: Apache-2.0
#include "core/profiler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iomanip>
#include <map>
#include <mutex>
#include <ostream>

#include "core/cuda.h"
#include "core/error.h"

namespace cuboid::profiler {
namespace {

enum Wish : unsigned { counts = 1, ranges = 2 };

/// Nsight's tools say where their library lies.
bool tool_listens() {
  const char *asked = std::getenv("CUBOID_NVTX"), *injected = std::getenv("NVTX_INJECTION64_PATH");
  return asked ? std::string(asked) == "1" : injected && *injected;
}
std::atomic<unsigned> wishes{tool_listens() ? ranges : 0u};

std::mutex guard;
std::vector<Event>& log() {
  static std::vector<Event> all;
  return all;
}

#if CUBOID_CUDA
/// Calls on the device; their times are asked for when somebody reads them.
struct Pending {
  Event event;
  cuda::Event start, end;
};
constexpr std::size_t most_pending = 4096;

/// A moment on both clocks.
struct Anchor {
  cuda::Event event;
  double us;
};

// Never destroyed: the device may be gone by then.
std::vector<Pending>& pending() {
  static auto& all = *new std::vector<Pending>;
  return all;
}
Anchor& anchor() {
  static auto& a = *new Anchor{cuda::Event(true), 0};
  return a;
}
/// The clocks meet where a call finds no other under way.
void meet() {
  anchor() = {cuda::Event(true), 0};
  anchor().event.record();
  anchor().event.synchronize();
  anchor().us = now_us();
}

void settle() {
  for (Pending& p : pending()) {
    p.end.synchronize();
    p.event.start_us = anchor().us + 1e3 * p.start.ms_since(anchor().event);
    p.event.duration_us = 1e3 * p.end.ms_since(p.start);
    log().push_back(p.event);
  }
  pending().clear();
}
#else
void settle() {}
#endif
}  // namespace

bool enabled() { return wishes.load(std::memory_order_relaxed) & counts; }
void enable(bool on) {
  if (on) wishes |= counts;
  else wishes &= ~static_cast<unsigned>(counts);
}
bool watched() { return wishes.load(std::memory_order_relaxed) != 0; }

double now_us() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

#if CUBOID_CUDA
Span::Span(Device device, const char* op, const char* impl, double flops, double bytes) : event_{op, impl, 0, 0, flops, bytes} {
  const unsigned wanted = wishes.load(std::memory_order_relaxed);
  range_ = device == Device::cuda && wanted & ranges;
  if (range_) cuda::open_range(op);
  counts_ = wanted & counts && !(device == Device::cuda && cuda::recording_graph());
  if (!counts_) return;
  if (device == Device::cuda) {
    {
      const std::scoped_lock lock(guard);
      if (pending().size() >= most_pending) settle();
      if (pending().empty()) meet();
    }
    const auto start = std::make_shared<cuda::Event>(true);
    start->record();
    started_ = start;
  }
  event_.start_us = now_us();
}

Span::~Span() {
  if (range_) cuda::close_range();
  if (!counts_) return;
  event_.duration_us = now_us() - event_.start_us;
  if (!started_) {
    add(event_);
    return;
  }
  try {
    cuda::Event end(true);
    end.record();
    const std::scoped_lock lock(guard);
    pending().push_back({event_, *std::static_pointer_cast<cuda::Event>(started_), end});
  } catch (const DeviceError&) {  // the call itself has failed, and says so
  }
}
#else
Span::Span(Device, const char* op, const char* impl, double flops, double bytes) : event_{op, impl, 0, 0, flops, bytes} {
  counts_ = enabled();
  if (counts_) event_.start_us = now_us();
}
Span::~Span() {
  if (!counts_) return;
  event_.duration_us = now_us() - event_.start_us;
  add(event_);
}
#endif

void add(const Event& event) {
  const std::scoped_lock lock(guard);
  log().push_back(event);
}
void clear() {
  const std::scoped_lock lock(guard);
  settle();
  log().clear();
}
std::vector<Event> events() {
  const std::scoped_lock lock(guard);
  settle();
  return log();
}

void write_trace(std::ostream& os) {
  os << "{\"traceEvents\":[";
  const char* comma = "";
  os << std::fixed << std::setprecision(3);
  for (const Event& e : events()) {
    os << comma << "\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":\"" << e.op << "\",\"cat\":\"" << e.impl
       << "\",\"ts\":" << e.start_us << ",\"dur\":" << e.duration_us << ",\"args\":{\"flops\":" << e.flops
       << ",\"bytes\":" << e.bytes << "}}";
    comma = ",";
  }
  os << "\n]}\n";
}

void write_table(std::ostream& os) {
  struct Row {
    double us = 0, flops = 0, bytes = 0;
    std::int64_t calls = 0;
  };
  std::map<std::pair<std::string, std::string>, Row> rows;
  double total = 0;
  for (const Event& e : events()) {
    Row& r = rows[{e.op, e.impl}];
    r.us += e.duration_us;
    r.flops += e.flops;
    r.bytes += e.bytes;
    ++r.calls;
    total += e.duration_us;
  }
  std::vector<std::pair<std::pair<std::string, std::string>, Row>> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.us > b.second.us; });
  os << std::left << std::setw(24) << "op" << std::setw(14) << "impl" << std::right << std::setw(8) << "calls" << std::setw(12)
     << "ms" << std::setw(8) << "%" << std::setw(11) << "GFLOP/s" << std::setw(9) << "GB/s" << '\n';
  for (const auto& [key, r] : sorted)
    os << std::left << std::setw(24) << key.first << std::setw(14) << key.second << std::right << std::setw(8) << r.calls
       << std::fixed << std::setprecision(2) << std::setw(12) << r.us / 1e3 << std::setprecision(1) << std::setw(8)
       << 100 * r.us / std::max(total, 1e-9) << std::setw(11) << r.flops / std::max(r.us, 1e-9) / 1e3 << std::setw(9)
       << r.bytes / std::max(r.us, 1e-9) / 1e3 << '\n';
}

}  // namespace cuboid::profiler
