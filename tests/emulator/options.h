// SPDX-License-Identifier: Apache-2.0
// How the emulator behaves: read once from the environment, changed by tests.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cuboid::emulator {

enum class Order : std::uint8_t { fifo, lifo, random };
enum class Timing : std::uint8_t { eager, lazy, random };

struct Options {
  std::uint64_t seed = 1;           // CUBOID_EMU_SEED: everything random below follows from it
  Order order = Order::random;      // CUBOID_EMU_ORDER = fifo, lifo, random: which thread runs next
  Timing copies = Timing::random;   // CUBOID_EMU_COPIES = eager (at issue), lazy (when waited for), random: cp.async, TMA
  Timing streams = Timing::random;  // CUBOID_EMU_STREAMS = eager (at once), lazy (when waited for), random: queued work
  int resident = 1;                 // CUBOID_EMU_RESIDENT: blocks that run interleaved
  std::uint32_t preempt = 0;        // CUBOID_EMU_PREEMPT: check build, let another thread run every N accesses (0: never)
  bool strict = true;               // CUBOID_EMU_STRICT=0 lets threads exit before the barriers of others
  int multiprocessors = 4;          // CUBOID_EMU_SMS: what properties() reports
  std::size_t memory = std::size_t{4} << 30;  // CUBOID_EMU_MEMORY: bytes of device memory; address space until it is used
};
Options& options();

/// Puts the options back when it goes out of scope.
class WithOptions {
 public:
  WithOptions() : before_(options()) {}
  explicit WithOptions(const Options& now) : WithOptions() { options() = now; }
  WithOptions(const WithOptions&) = delete;
  WithOptions& operator=(const WithOptions&) = delete;
  ~WithOptions() { options() = before_; }

 private:
  Options before_;
};

struct Statistics {
  std::uint64_t launches = 0, blocks = 0, threads = 0, switches = 0, block_barriers = 0, warp_operations = 0, accesses = 0;
};
Statistics& statistics();

/// True in the check build: races, bounds, uninitialised reads are looked for.
bool checking();

}  // namespace cuboid::emulator
