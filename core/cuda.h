// SPDX-License-Identifier: Apache-2.0
// The host's side of the CUDA device: memory, copies, streams and events. No CUDA header in here, so that any file may include
// it; a build without CUDA answers `available() == false` and has nothing else.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/error.h"
#include "core/view.h"

namespace cuboid {
class MemorySource;  // core/allocator.h
}

namespace cuboid::cuda {

#if CUBOID_CUDA
/// True when a device answers; asked once.
bool available();

struct DeviceInfo {
  std::string name;
  int multiprocessors = 0, major = 0, minor = 0;  // compute capability
  std::int64_t total_bytes = 0, free_bytes = 0;   // of device memory
  std::int64_t shared_bytes = 0;                  // that a block can ask for
  int driver_version = 0, runtime_version = 0;    // 1000 * major + 10 * minor
};
/// Of the device in use. DeviceError when none answers.
DeviceInfo device_info();

// ---- streams -----------------------------------------------------------------------------------

/// A CUDA stream (cudaStream_t). Work is queued in order on the calling thread's current stream, which is nullptr, the default
/// stream of the device, outside of any StreamScope.
using Stream = void*;
Stream stream();
/// Waits for the current stream. Failures of kernels queued before surface here or at the next copy, as DeviceError. What waits
/// for the device, and copies from or to the host, throw CannotRecord while this thread records a graph.
void synchronize();
/// Waits for all streams.
void synchronize_all();

/// A stream that no other waits for. Its work is finished before it goes.
class OwnStream {
 public:
  OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream();
  operator Stream() const { return stream_; }

 private:
  Stream stream_;
};

/// While it lives, this thread queues its work on `stream`.
class StreamScope {
 public:
  explicit StreamScope(Stream stream);
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;
  ~StreamScope();

 private:
  Stream before_;
};

/// A point in a stream's work. Handles are shared.
class Event {
 public:
  /// With `timed`, ms_since may be asked.
  explicit Event(bool timed = false);
  /// Behind everything on the current stream, or on another one.
  void record() { record(stream()); }
  void record(Stream stream);
  /// What is queued on the current stream from now on waits for the last record; the host does not.
  void wait() const { wait(stream()); }
  void wait(Stream stream) const;
  /// The host waits.
  void synchronize() const;
  bool done() const;
  /// Both recorded and done.
  double ms_since(const Event& start) const;

 private:
  std::shared_ptr<void> event_;
};

// ---- graphs ------------------------------------------------------------------------------------

/// What cannot be recorded: the host waits for the device, or hands it memory that will be gone.
struct CannotRecord : DeviceError {
  using DeviceError::DeviceError;
};
/// True while this thread records a graph.
bool recording_graph();

/// Work that is recorded once and repeated at the cost of a single launch: the same kernels on the same memory. What was
/// allocated while it was recorded stays the graph's own until the graph ends, also where its tensors are gone; what it writes
/// is written without a Tensor::mutate().
class Graph {
 public:
  /// Gives cached, unused memory back first: the graph wants its own.
  Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  /// Waits for the device.
  ~Graph();
  /// Calls `body` with a stream of the graph's own as the current one and records what it queues, without running it. What
  /// `body` throws passes through, and nothing is recorded then; CannotRecord says why a body is not fit for it.
  void record(const std::function<void()>& body);
  bool recorded() const;
  /// Queues it all on the current stream.
  void replay();
  /// Calls `body` on the same stream and in the same memory, without recording: for the first step, in which libraries are
  /// loaded and rows are chosen, and so that the recording finds its memory at hand.
  void rehearse(const std::function<void()>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> p_;
};

/// A named range for tools that watch the program (Nsight Systems).
void open_range(const char* name);
void close_range();

// ---- memory ------------------------------------------------------------------------------------

/// For the two allocators.
MemorySource& device_memory();
MemorySource& pinned_memory();

/// Dense bytes. To the device: queued, and the source may be changed at once unless it is page-locked, which must stay as it
/// is until the copy is done. To the host: done on return.
void to_device(void* to, const void* from, std::int64_t bytes);
void to_host(void* to, const void* from, std::int64_t bytes);

/// The core's three kernels; any strides. `copy` converts between any two dtypes; `add_into` wants equal ones.
void fill(const Out& x, double value);
void copy(const View& from, const Out& to);
void add_into(const Out& target, const View& x);
#else
constexpr bool available() { return false; }
#endif

}  // namespace cuboid::cuda
