// SPDX-License-Identifier: Apache-2.0
#include "core/profiler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iomanip>
#include <map>
#include <mutex>
#include <ostream>

namespace cuboid::profiler {
namespace {
std::atomic<bool> on{false};
std::mutex guard;
std::vector<Event>& log() {
  static std::vector<Event> all;
  return all;
}
}  // namespace

bool enabled() { return on.load(std::memory_order_relaxed); }
void enable(bool value) { on = value; }

double now_us() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}
void add(const Event& event) {
  const std::scoped_lock lock(guard);
  log().push_back(event);
}
void clear() {
  const std::scoped_lock lock(guard);
  log().clear();
}
std::vector<Event> events() {
  const std::scoped_lock lock(guard);
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
