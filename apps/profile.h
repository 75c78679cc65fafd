// SPDX-License-Identifier: Apache-2.0
// What core's profiler saw, as a table, as files for programs, and as pictures.
#pragma once
#include <string>
#include <vector>

#include "apps/plot.h"
#include "core/json.h"
#include "core/profiler.h"
#include "core/profiler_memory.h"
#include "core/roofs.h"

namespace cuboid::app {

struct Profile {
  std::string command, end;  // "finished", "interrupted" or the error
  double wall_us = 0;
  int threads = 1;
  std::vector<profiler::Total> totals, places;
  std::vector<std::pair<Device, Roofs>> roofs;  // of the devices that computed; empty when they were not measured
  std::vector<std::pair<Device, profiler::MemoryReport>> memory;

  /// Stops the profiler's clock and takes what it has. `measure`: the roofs, half a second each.
  static Profile take(const std::string& command, const std::string& end, bool measure);

  /// Shares of the main thread's wall time, and of the device's time in it.
  double kernels() const;  // in kernels on the main thread
  double ranges() const;   // in named ranges, but in no kernel
  double device() const;   // in kernels of a CUDA device, while the host goes on

  /// The part of a range's time that kernels in it, and in the ranges below it, took.
  double in_kernels(const profiler::Total& place) const;

  Json to_json() const;
  Json memory_json() const;
  /// One line per op: thread, op, implementation, calls, ms, ...
  std::string csv() const;
  /// For a terminal: the `rows` most expensive ops, then the ranges, then the memory.
  std::string text(std::size_t rows) const;
  plot::Figure roofline(Device device) const;
  plot::Figure timeline(Device device) const;
  /// One page with all of it; `pictures` are those of the figures.
  std::string page() const;

 private:
  const Roofs* roofs_of(const profiler::Total& op) const;
};

/// How near an op came to the roof above it: the time that the faster of its two limits would take, through its own time.
struct Nearness {
  double of_flops = 0, of_bytes = 0, of_roof = 0;
  const char* bound = "";  // "compute", "memory", or nothing
};
Nearness nearness(const profiler::Total& op, const Roofs* roofs);

}  // namespace cuboid::app
