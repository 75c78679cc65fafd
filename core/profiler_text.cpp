// SPDX-License-Identifier: Apache-2.0
// What was counted, for people and for ui.perfetto.dev.
#include <algorithm>
#include <iomanip>
#include <ostream>
#include <set>

#include "core/profiler.h"

namespace cuboid::profiler {
namespace {

std::string thread_name(int thread) {
  return thread == device_thread ? "device" : thread == main_thread ? "main" : "thread " + std::to_string(thread);
}

}  // namespace

void write_trace(std::ostream& os) {
  const auto row = [](int thread) { return thread + 2; };  // Perfetto wants them from 1
  os << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* comma = "";
  os << std::fixed << std::setprecision(3);
  std::set<int> threads;
  for (const Event& e : events()) {
    threads.insert(e.thread);
    os << comma << "\n{\"ph\":\"X\",\"pid\":1,\"tid\":" << row(e.thread) << ",\"name\":\"" << e.op << "\",\"cat\":\""
       << (*e.impl ? e.impl : "range") << "\",\"ts\":" << e.start_us << ",\"dur\":" << e.duration_us << ",\"args\":{\"path\":\""
       << e.path << "\",\"self_us\":" << e.self_us;
    if (*e.impl) os << ",\"flops\":" << e.flops << ",\"bytes\":" << e.bytes;
    os << "}}";
    comma = ",";
  }
  for (const int thread : threads) {
    os << comma << "\n{\"ph\":\"M\",\"pid\":1,\"tid\":" << row(thread) << R"(,"name":"thread_name","args":{"name":")"
       << thread_name(thread) << "\"}}";
    comma = ",";
  }
  os << "\n]}\n";
}

void write_table(std::ostream& os) {
  const std::vector<Total> all = totals();
  double sum = 0;
  for (const Total& t : all) sum += t.self_us;
  os << std::left << std::setw(24) << "op" << std::setw(14) << "impl" << std::right << std::setw(8) << "calls" << std::setw(12)
     << "ms" << std::setw(8) << "%" << std::setw(11) << "GFLOP/s" << std::setw(9) << "GB/s" << '\n';
  for (const Total& t : all)
    os << std::left << std::setw(24) << t.op << std::setw(14) << (t.impl.empty() ? "-" : t.impl) << std::right << std::setw(8)
       << t.calls << std::fixed << std::setprecision(2) << std::setw(12) << t.self_us / 1e3 << std::setprecision(1)
       << std::setw(8) << 100 * t.self_us / std::max(sum, 1e-9) << std::setw(11) << t.flops / std::max(t.self_us, 1e-9) / 1e3
       << std::setw(9) << t.bytes / std::max(t.self_us, 1e-9) / 1e3 << '\n';
}

}  // namespace cuboid::profiler
