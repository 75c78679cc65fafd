// SPDX-License-Identifier: Apache-2.0
// What the framework itself costs: tiny ops per second, against LibTorch where its side is built (torch.cpp); what a
// training step takes from the system once it is warm (nothing); the profiler, off and on.
//
//   bench_overhead                   all of it
//   bench_overhead tiny SECONDS      milliseconds for 10,000 tiny ops and their derivatives, the median of so many seconds
//   bench_overhead step SECONDS      milliseconds for a training step of a small net
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "bench/libtorch/statistics.h"
#include "core/autograd.h"
#include "core/profiler.h"
#include "core/profiler_memory.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "layers/loss.h"
#include "nets/densenet.h"
#include "optim/optimiser.h"

// Every call of malloc and its sisters in this process, glibc's own implementations behind them.
namespace {
std::atomic<std::int64_t> mallocs{0};
}
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t n) {
  mallocs.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  mallocs.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  mallocs.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, n);
}
}
#endif

using namespace cuboid;

namespace {

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The median of what `f` took, over so many seconds, after one call for nothing.
double median_ms(double seconds, const std::function<void()>& f) {
  f();
  std::vector<double> all;
  const double start = milliseconds();
  for (double last = start; all.size() < 3 || last - start < 1e3 * seconds;) {
    f();
    const double now = milliseconds();
    all.push_back(now - last);
    last = now;
  }
  return side::median(all);
}

/// y = y * w + b on eight numbers, 5,000 times: 10,000 ops forward, as many derivatives.
void tiny_ops() {
  static const Tensor w = full({8}, 1.0001), b = full({8}, 1e-4);
  Tensor x = full({8}, 1);
  x.requires_grad(true);
  Tensor y = x;
  for (int i = 0; i < 5000; ++i) y = y * w + b;
  backward(sum(y));
}

struct Training {
  DenseNet net{{.growth = 32, .init_features = 64, .blocks = {2, 2, 2}, .stem_kernel = 3, .stem_pool = false}};
  Tensor x = full({4, 1, 32, 32, 32}, 0.5), labels = from_values(std::vector<std::int64_t>{0, 1, 1, 0}, {4});
  Adam adam{net.named_parameters(), {.lr = 1e-4}};
  Training() { net.train(); }
  void step() {
    backward(cross_entropy(net(x), labels));
    adam.step();
    adam.zero_grad();
  }
};

struct System {
  std::int64_t mallocs, blocks, reserved, heap, mapped, faults;
};
System system_now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const struct mallinfo2 heap = mallinfo2();
  const MemoryStats stats = memory_stats();
  return {::mallocs.load(),
          stats.allocations,
          stats.reserved,
          static_cast<std::int64_t>(heap.arena),
          static_cast<std::int64_t>(heap.hblkhd),
          usage.ru_minflt};
}

void print_allocations() {
  Training training;
  for (int i = 0; i < 5; ++i) training.step();
  constexpr int steps = 20;
  const System before = system_now();
  for (int i = 0; i < steps; ++i) training.step();
  const System after = system_now();
  const auto per_step = [&](std::int64_t System::*what) { return static_cast<double>(after.*what - before.*what) / steps; };
  std::printf("a training step in steady state (DenseNet 2-2-2, 32^3, batch 4, Adam; mean of %d)\n", steps);
  std::printf("  blocks of the caching allocator  %10.1f\n  calls of malloc                  %10.1f\n", per_step(&System::blocks),
              per_step(&System::mallocs));
  std::printf("  from the system: bytes reserved  %10.1f\n                   bytes of heap   %10.1f\n",
              per_step(&System::reserved), per_step(&System::heap));
  std::printf("                   bytes mapped    %10.1f\n                   page faults     %10.1f\n", per_step(&System::mapped),
              per_step(&System::faults));
}

/// `f` with the profiler in two states, in turns A B B A; prints the second's share of the first's time.
void print_profiler(const char* what, const std::function<void()>& f) {
  const auto timed = [&](bool on) {
    if (on) {
      profiler::clear();
      profiler::watch_memory(true);
    }
    profiler::enable(on);
    const double ms = median_ms(0.3, f);
    profiler::enable(false);
    profiler::watch_memory(false);
    return ms;
  };
  std::vector<double> ratios;
  for (int round = 0; round < 7; ++round) {
    const double a = timed(false), b = timed(true), c = timed(true), d = timed(false);
    ratios.push_back((b + c) / (a + d));
  }
  const auto interval = side::bootstrap_median(ratios);
  std::printf("profiler on / off, %-16s %.3f [%.3f, %.3f]\n", what, interval.median, interval.low, interval.high);
}

/// What the program says: one number.
double ask(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  double value = -1;
  if (!pipe || std::fscanf(pipe, "%lf", &value) != 1) value = -1;
  if (pipe) pclose(pipe);
  return value;
}

void print_against_libtorch(const std::filesystem::path& here) {
  const std::string mine = here / "bench_overhead", theirs = here / "bench_torch_overhead";
  if (!std::filesystem::exists(theirs)) return;
  std::vector<double> a, b, ratios;
  for (int round = 0; round < 7; ++round) {
    double pair[2];
    for (int turn = 0; turn < 2; ++turn) {
      const bool ours = (round + turn) % 2 == 0;
      pair[ours ? 0 : 1] = ask((ours ? mine : theirs) + " tiny 1");
    }
    if (pair[0] <= 0 || pair[1] <= 0) return;
    a.push_back(pair[0]);
    b.push_back(pair[1]);
    ratios.push_back(pair[0] / pair[1]);
  }
  const auto interval = side::bootstrap_median(ratios);
  std::printf(
      "10,000 tiny ops, forward and backward: Cuboid %.2f ms (%.0f ops/s), LibTorch %.2f ms (%.0f ops/s), ratio %.3f [%.3f, "
      "%.3f]\n",
      side::median(a), 1e7 / side::median(a), side::median(b), 1e7 / side::median(b), interval.median, interval.low,
      interval.high);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const double seconds = argc > 2 ? std::atof(argv[2]) : 1;
  if (what == "tiny") return std::printf("%.4f\n", median_ms(seconds, tiny_ops)), 0;
  if (what == "step") {
    Training training;
    return std::printf("%.4f\n", median_ms(seconds, [&] { training.step(); })), 0;
  }
  print_against_libtorch(std::filesystem::read_symlink("/proc/self/exe").parent_path());
  print_allocations();
  print_profiler("tiny ops", tiny_ops);
  Training training;
  print_profiler("training step", [&] { training.step(); });
}
