// SPDX-License-Identifier: Apache-2.0
#include "core/cuda.h"

#include <mutex>

#include "core/allocator.h"
#include "core/gpu.h"
#if !CUBOID_EMULATED && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define CUBOID_NVTX 1
#endif

namespace cuboid::cuda {
namespace {

gpu::stream_t raw(Stream stream) { return static_cast<gpu::stream_t>(stream); }
gpu::event_t raw(const std::shared_ptr<void>& event) { return static_cast<gpu::event_t>(event.get()); }
std::size_t size(std::int64_t bytes) { return static_cast<std::size_t>(bytes); }

thread_local Stream current = nullptr;

void refuse_while_recording(const char* why) { check<CannotRecord>(!recording_graph(), "cannot be recorded: ", why); }

std::shared_ptr<void> new_event(bool timed) {
  return {gpu::event_create(timed), [](void* e) { gpu::event_destroy(static_cast<gpu::event_t>(e)); }};
}

}  // namespace

bool available() {
  static const bool answer = gpu::device_count() > 0;
  return answer;
}

DeviceInfo device_info() {
  check<DeviceError>(available(), "no CUDA device answers");
  const gpu::Properties p = gpu::properties();
  return {.name = p.name,
          .multiprocessors = p.multiprocessors,
          .major = p.major,
          .minor = p.minor,
          .total_bytes = static_cast<std::int64_t>(p.total_bytes),
          .free_bytes = static_cast<std::int64_t>(p.free_bytes),
          .shared_bytes = static_cast<std::int64_t>(p.shared_bytes_per_block),
          .driver_version = p.driver_version,
          .runtime_version = p.runtime_version};
}

// ---- streams -----------------------------------------------------------------------------------

Stream stream() { return current; }
void synchronize() {
  refuse_while_recording("the host waits for the device");
  gpu::stream_synchronize(raw(current));
}
void synchronize_all() {
  refuse_while_recording("the host waits for the device");
  gpu::synchronize();
}

OwnStream::OwnStream() : stream_(gpu::stream_create()) {}
OwnStream::~OwnStream() {
  gpu::stream_synchronize(raw(stream_));
  allocator_of(Device::cuda).forget(stream_);
  gpu::stream_destroy(raw(stream_));
}

StreamScope::StreamScope(Stream stream) : before_(std::exchange(current, stream)) {}
StreamScope::~StreamScope() { current = before_; }

Event::Event(bool timed) : event_(new_event(timed)) {}
void Event::record(Stream stream) { gpu::event_record(raw(event_), raw(stream)); }
void Event::wait(Stream stream) const { gpu::stream_wait(raw(stream), raw(event_)); }
void Event::synchronize() const {
  refuse_while_recording("the host waits for the device");
  gpu::event_synchronize(raw(event_));
}
bool Event::done() const { return gpu::event_query(raw(event_)); }
double Event::ms_since(const Event& start) const {
  return static_cast<double>(gpu::event_elapsed(raw(start.event_), raw(event_)));
}

// ---- ranges ------------------------------------------------------------------------------------

#if CUBOID_NVTX
void open_range(const char* name) { nvtxRangePushA(name); }
void close_range() { nvtxRangePop(); }
#else
void open_range(const char*) {}
void close_range() {}
#endif

// ---- memory ------------------------------------------------------------------------------------

namespace {

class DeviceMemory : public MemorySource {
 public:
  DeviceMemory() {
    segment_bytes = 64 << 20;
    alignment = 256;
#if CUBOID_EMULATED
    segment_bytes = 4 << 20;
    red_zone = alignment;
#endif
  }
#if CUBOID_EMULATED  // kernels may touch what is open, and nothing else
  void open(void* p, std::int64_t bytes, Queue queue) override { gpu::open_block(p, size(bytes), raw(queue)); }
  void close(void* p, std::int64_t bytes, Queue queue) override { gpu::close_block(p, size(bytes), raw(queue)); }
#endif
  void* obtain(std::int64_t bytes) override {
    const gpu::Unrecorded outside;
    return gpu::malloc_bytes(size(bytes));
  }
  void give_back(void* pointer, std::int64_t) override { gpu::free_bytes(pointer); }
  Queue queue() override { return current; }
  Mark mark(Queue queue) override {
    Mark event = new_event(false);
    gpu::event_record(raw(event), raw(queue));
    return event;
  }
  bool passed(const Mark& mark) override { return gpu::event_query(raw(mark)); }
  void wait(Queue queue, const Mark& mark) override { gpu::stream_wait(raw(queue), raw(mark)); }
  void settle() override { gpu::synchronize(); }
};

class PinnedMemory : public MemorySource {
 public:
  PinnedMemory() { segment_bytes = 8 << 20; }
  void* obtain(std::int64_t bytes) override { return gpu::host_alloc(size(bytes)); }
  void give_back(void* pointer, std::int64_t) override { gpu::host_free(pointer); }
};

}  // namespace

MemorySource& device_memory() {
  static auto* memory = new DeviceMemory;
  return *memory;
}
MemorySource& pinned_memory() {
  static auto* memory = new PinnedMemory;
  return *memory;
}

void to_device(void* to, const void* from, std::int64_t bytes) {
  refuse_while_recording("memory of the host is copied to the device");
  gpu::copy_async(to, from, size(bytes), gpu::Kind::h2d, raw(current));
}
void to_host(void* to, const void* from, std::int64_t bytes) {
  refuse_while_recording("a value is read back to the host");
  gpu::copy_async(to, from, size(bytes), gpu::Kind::d2h, raw(current));
  synchronize();
}

}  // namespace cuboid::cuda
