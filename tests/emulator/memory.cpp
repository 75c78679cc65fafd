// SPDX-License-Identifier: Apache-2.0
// Memory calls of the host, and what the device says of itself.
#include <cstring>

#include "tests/emulator/device_heap.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/queue.h"

namespace cuboid::gpu {

using namespace emulator;
using Lock = std::scoped_lock<std::recursive_mutex>;

namespace {

void check_device(const void* p, std::size_t bytes, const char* what, Where at) {
  if (!find_allocation(p, bytes)) stop("copy-bounds", what, " at ", at, ", ", bytes, " bytes: ", describe_device(p));
}

/// The bytes of host memory at `from`, now or when asked, as the device would take them.
std::shared_ptr<std::vector<char>> staged(const void* from, std::size_t bytes) {
  const auto* begin = static_cast<const char*>(from);
  return std::make_shared<std::vector<char>>(begin, begin + bytes);
}

}  // namespace

void* malloc_bytes(std::size_t bytes) {
  const Lock lock(device_lock());
  return allocate_device(bytes);
}

void free_bytes(void* p) {
  const Lock lock(device_lock());
  run_all_quietly();
  free_device(p);
}

void open_block(void* p, std::size_t bytes, stream_t stream) noexcept {
  const Lock lock(device_lock());
  push_quietly(stream, {.run = [=] { open_piece(p, bytes); }});
}

void close_block(void* p, std::size_t bytes, stream_t stream) noexcept {
  const Lock lock(device_lock());
  push_quietly(stream, {.run = [=] { close_pieces(p, bytes); }});
}

void* host_alloc(std::size_t bytes) {
  const Lock lock(device_lock());
  void* p = allocate_pinned(bytes);
  if (p) std::memset(p, 0xff, bytes);
  return p;
}

void host_free(void* p) {
  const Lock lock(device_lock());
  if (p && uses_host(p)) stop("host-free", "pinned memory is freed while a copy that uses it is queued");
  free_pinned(p);
}

void copy_async(void* to, const void* from, std::size_t bytes, Kind kind, stream_t stream, Where at) {
  if (bytes == 0) return;
  const Lock lock(device_lock());
  const bool from_device = kind != Kind::h2d, to_device = kind != Kind::d2h;
  if (is_device(from) != from_device || is_device(to) != to_device)
    stop("copy-kind", "copy at ", at, ": ", is_device(from) ? "device" : "host", " to ", is_device(to) ? "device" : "host",
         " memory, which is not its kind");
  const auto check_now = [=] {
    if (from_device) check_device(from, bytes, "copy from the device", at);
    if (to_device) check_device(to, bytes, "copy to the device", at);
  };
  const void* host = kind == Kind::d2d ? nullptr : kind == Kind::h2d ? from : to;
  const void* pinned = host ? pinned_start(host, bytes) : nullptr;
  const auto taken = kind == Kind::h2d && !pinned ? staged(from, bytes) : nullptr;
  push(stream, {.run =
                    [=] {
                      check_now();
                      const void* source = taken ? taken->data() : from;
                      if (from_device) race::host_reads(source, bytes, at);
                      std::memmove(to, source, bytes);
                      if (to_device) race::host_writes(to, bytes, at);
                      if (from_device && to_device) race::host_copies(to, from, bytes);
                    },
                .host = pinned});
  if (kind == Kind::d2h && !pinned) stream_synchronize(stream, at);
}

void fill_bytes_async(void* to, int value, std::size_t bytes, stream_t stream, Where at) {
  if (bytes == 0) return;
  const Lock lock(device_lock());
  push(stream, {.run = [=] {
         check_device(to, bytes, "fill", at);
         std::memset(to, value, bytes);
         race::host_writes(to, bytes, at);
       }});
}

void copy_h2d(void* to, const void* from, std::size_t bytes, Where at) {
  copy_async(to, from, bytes, Kind::h2d, nullptr, at);
  stream_synchronize(nullptr, at);
}
void copy_d2h(void* to, const void* from, std::size_t bytes, Where at) {
  copy_async(to, from, bytes, Kind::d2h, nullptr, at);
  stream_synchronize(nullptr, at);
}
void fill_bytes(void* to, int value, std::size_t bytes, Where at) {
  fill_bytes_async(to, value, bytes, nullptr, at);
  stream_synchronize(nullptr, at);
}

int device_count() { return 1; }
void set_device(int device) {
  if (device != 0) stop("device", "there is one emulated device, number 0; asked for ", device);
}

Properties properties(int device) {
  set_device(device);
  const Lock lock(device_lock());
  return {.name = "emulator",
          .multiprocessors = options().multiprocessors,
          .major = 9,
          .minor = 0,
          .total_bytes = device_bytes(),
          .free_bytes = device_bytes_free(),
          .shared_bytes_per_block = max_shared,
          .driver_version = 13000,
          .runtime_version = 13000};
}

}  // namespace cuboid::gpu
