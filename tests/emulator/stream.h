// SPDX-License-Identifier: Apache-2.0
// The host's side of the emulated device: memory, streams, events, graphs, under the names of core/gpu.h.
//
// Nothing queued runs before the host waits for it (or, as CUBOID_EMU_STREAMS says, at once or at random moments), and
// streams advance in random order where no event orders them: a missing synchronisation shows in the results.
#pragma once
#include <string>

#include "tests/emulator/launch.h"

namespace cuboid::emulator {
struct Event;
struct Graph;
}  // namespace cuboid::emulator

namespace cuboid::gpu {

using emulator::Where;
using event_t = emulator::Event*;
using graph_t = emulator::Graph*;
using graph_exec_t = emulator::Graph*;
enum class Kind { h2d, d2h, d2d };

stream_t stream_create();
void stream_destroy(stream_t stream);
void stream_synchronize(stream_t stream, Where at = Where::current());
/// True when everything queued so far is done.
bool stream_query(stream_t stream);
/// What is queued on `stream` from now on runs after the last record of `event`.
void stream_wait(stream_t stream, event_t event);

event_t event_create(bool timed = false);
void event_destroy(event_t event);
void event_record(event_t event, stream_t stream);
void event_synchronize(event_t event, Where at = Where::current());
bool event_query(event_t event);
/// Milliseconds between two timed events that are done.
float event_elapsed(event_t from, event_t to);

/// nullptr when the device has no more.
void* malloc_bytes(std::size_t bytes);
/// Waits for the device first.
void free_bytes(void* p);
/// A block that the caching allocator hands out, or takes back, in the order of `stream`: only what is open may be touched.
/// Emulated build only; an error is kept for the next call that may throw.
void open_block(void* p, std::size_t bytes, stream_t stream) noexcept;
void close_block(void* p, std::size_t bytes, stream_t stream) noexcept;
/// Page-locked memory of the host.
void* host_alloc(std::size_t bytes);
void host_free(void* p);

/// From or to pinned memory: when its turn comes. From other host memory: the bytes are taken now; to it: done on return.
void copy_async(void* to, const void* from, std::size_t bytes, Kind kind, stream_t stream, Where at = Where::current());
void fill_bytes_async(void* to, int value, std::size_t bytes, stream_t stream, Where at = Where::current());
/// On the default stream, done on return.
void copy_h2d(void* to, const void* from, std::size_t bytes, Where at = Where::current());
void copy_d2h(void* to, const void* from, std::size_t bytes, Where at = Where::current());
void fill_bytes(void* to, int value, std::size_t bytes, Where at = Where::current());

/// Everything on all streams.
void synchronize(Where at = Where::current());
inline void sync(Where at = Where::current()) { synchronize(at); }
/// Throws what went wrong without anybody hearing of it.
void last_error(Where at = Where::current());

int device_count();
void set_device(int device);
struct Properties {
  std::string name;
  int multiprocessors = 0, major = 0, minor = 0;
  std::size_t total_bytes = 0, free_bytes = 0, shared_bytes_per_block = 0;
  int driver_version = 0, runtime_version = 0;  // 1000 * major + 10 * minor
};
Properties properties(int device = 0);

/// What is queued on `stream` from here to end_capture is recorded instead of run.
void begin_capture(stream_t stream);
graph_t end_capture(stream_t stream);
graph_exec_t instantiate(graph_t graph);
void launch_graph(graph_exec_t graph, stream_t stream, Where at = Where::current());
void graph_destroy(graph_t graph);
void graph_exec_destroy(graph_exec_t graph);

}  // namespace cuboid::gpu
