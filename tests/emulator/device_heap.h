// SPDX-License-Identifier: Apache-2.0
// Device memory: one mapping that host code cannot touch, allocations with gaps between them, full of NaN when new.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tests/emulator/where.h"

namespace cuboid::emulator {

/// A piece of device memory that may be touched: an allocation, or a block that the caching allocator cut from one.
struct Allocation {
  char* begin = nullptr;
  std::size_t bytes = 0;
  bool live = false;
};

/// nullptr when there is no room.
void* allocate_device(std::size_t bytes);
void free_device(void* p);
std::size_t device_bytes();
std::size_t device_bytes_free();
/// A block of an allocation starts a life of its own, with nothing in it; ends it.
void open_piece(void* p, std::size_t bytes);
void close_pieces(void* p, std::size_t bytes);

/// Pointers into device memory, live or not.
bool is_device(const void* p);
/// The live piece that holds [p, p + bytes); nullptr when there is none.
const Allocation* find_allocation(const void* p, std::size_t bytes);
/// What is known of the piece nearest to p, for reports.
std::string describe_device(const void* p);

/// Device memory can be touched while one of these exists.
class DeviceOpen {
 public:
  DeviceOpen();
  DeviceOpen(const DeviceOpen&) = delete;
  DeviceOpen& operator=(const DeviceOpen&) = delete;
  ~DeviceOpen();
};

/// Page-locked host memory: asynchronous copies read and write it when they run, not when they are queued.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* p);
/// The start of the pinned memory that holds [p, p + bytes); nullptr when it is not pinned.
const void* pinned_start(const void* p, std::size_t bytes);

}  // namespace cuboid::emulator
