// SPDX-License-Identifier: Apache-2.0
// The check build's memory of memory: per four bytes, who wrote last and who read last.
#pragma once
#if CUBOID_EMULATOR_CHECK
#include <cstddef>
#include <cstdint>

#include "tests/emulator/race.h"

namespace cuboid::emulator::race {

// Times share their word with what kind of write it was.
constexpr Time atomic_mark = 1u << 31, async_mark = 1u << 30, flight_mark = 1u << 29;
constexpr Time time_mask = flight_mark - 1;

/// Threads are (block << 10 | thread) << 4 with a bit per byte touched. A write time of 0: nothing was written.
struct Cell {
  std::uint32_t writer = 0;
  Time written = 0;
  std::uint32_t reader = 0;
  Time read = 0;
};

/// The cells of one mapping.
struct Shadow {
  const char* base = nullptr;
  std::size_t bytes = 0;
  Cell* cells = nullptr;
  bool has(const void* p) const { return static_cast<std::size_t>(static_cast<const char*>(p) - base) < bytes; }
  std::size_t index(const void* p) const { return static_cast<std::size_t>(static_cast<const char*>(p) - base) / 4; }
  void map(const void* start, std::size_t size);
  /// All cells of [p, p + n) become `value`.
  void set(const void* p, std::size_t n, Cell value);
};
extern Shadow &device_shadow, &shared_shadow;

enum class Access : std::uint8_t { read, write, atomic, copy, async_read, async_write };

/// Where an access is in the source: `at`, or the instruction for those that the compiler reports.
struct Site {
  const void* pc = nullptr;
  Where at;
};
/// By the current thread. Reports races, stops the launch at accesses out of bounds.
template <Access access>
void check_access(const void* p, std::size_t bytes, const Site& site);

/// The running operation began at, the last grid_sync was at.
Time launch_floor();
Time now();
/// Whether another operation of the device that accessed memory at `time`, before this one, is ordered with it.
bool operations_ordered(Time time);
/// The current thread makes an atomic access to `variable`.
void synchronise_through(const void* variable);
void add_finding(const char* what, const void* p, std::uint32_t other, const Site& site);
/// Ends the launch.
[[noreturn]] void bad_access(const char* kind, const void* p, std::size_t bytes, const Site& site, const std::string& text);

}  // namespace cuboid::emulator::race
#endif
