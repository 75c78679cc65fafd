// SPDX-License-Identifier: Apache-2.0
// Work waiting on streams, and the order it is taken in.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/emulator/order.h"
#include "tests/emulator/stream.h"

namespace cuboid::emulator {

struct EventState {
  std::uint64_t recorded = 0, reached = 0;  // numbers of the last record queued and done
  double milliseconds = 0;                  // when it was reached
  order::Counts done;                       // by then
  Graph* capture = nullptr;                 // recorded while this graph was captured
};
struct Event {
  std::shared_ptr<EventState> state = std::make_shared<EventState>();
  bool timed = false;
};

struct Operation {
  std::function<void()> run;
  std::shared_ptr<EventState> event;  // a record of it, or, without `run`, a wait for it
  std::uint64_t number = 0;           // of the record
  const void* host = nullptr;         // pinned memory it will use
  order::Counts queued;               // what was done when it was queued
};
struct Graph {
  std::vector<Operation> operations;
};
struct Stream {
  std::deque<Operation> queue;
  order::Counts done;
  Graph* capture = nullptr;
};

/// Held by every call from the host: streams may be fed from several threads, the device is one.
std::recursive_mutex& device_lock();
/// The default stream for nullptr.
Stream& stream_of(Stream* stream);
Stream* new_stream();
void delete_stream(Stream* stream);
/// Queues; or records, while the stream is captured.
void push(Stream* stream, Operation operation);
/// The same; an error is kept.
void push_quietly(Stream* stream, Operation operation) noexcept;
/// Runs work until `done`, `wanted` (may be null) being what the host waits for. Throws what the work throws, after which
/// nothing is queued any more.
void run_until(const Stream* wanted, const std::function<bool()>& done);
/// Everything; an error is kept for the next call that may throw.
void run_all_quietly() noexcept;
/// Throws an error that was kept.
void throw_kept();
bool all_idle();
/// Work queued from now on comes after what is done.
void host_has_waited(const order::Counts& done);
void host_has_waited_for_all();
/// True when queued work will use this host memory.
bool uses_host(const void* p);
/// Streams under capture by `graph` go back to normal.
void stop_capture(const Graph* graph);
/// Fails when `stream` is being captured: `what` would wait for work that is only recorded.
void refuse_in_capture(Stream* stream, const char* what, Where at);

}  // namespace cuboid::emulator
