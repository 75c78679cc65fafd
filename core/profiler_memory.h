// SPDX-License-Identifier: Apache-2.0
// Who holds the memory at its peak: every block of a device's allocator, with the op that first wrote to it and the ranges in
// which it was asked for. On between watch_memory(true) and watch_memory(false).
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/profiler.h"

namespace cuboid::profiler {

inline bool watches_memory() { return detail::wishes.load(std::memory_order_relaxed) & detail::memory; }
void watch_memory(bool on);

/// What the allocator says.
void allocated(const void* block, std::int64_t bytes, Device device);
void freed(const void* block, Device device);
/// An op's result lies there; the first to say so is the block's owner.
void wrote(const char* op, const void* data, Device device);

struct MemoryOwner {
  std::string op, path;  // op is empty where no op's result lies; the ranges around, "step/forward/denseblock1"
  std::int64_t bytes = 0, blocks = 0;
};
struct MemoryReport {
  std::int64_t peak = 0, allocations = 0;
  double peak_us = 0;
  std::vector<MemoryOwner> owners;                        // of what lived at the peak, largest first
  std::vector<std::pair<double, std::int64_t>> timeline;  // microseconds, most bytes alive since the point before
};
/// Bytes as they were asked for. What lived before watch_memory(true) is not known.
MemoryReport memory_report(Device device);

}  // namespace cuboid::profiler
