// SPDX-License-Identifier: Apache-2.0
// Streams, events and graphs.
#include "tests/emulator/stream.h"

#include <chrono>

#include "tests/emulator/queue.h"

namespace cuboid::gpu {

using namespace emulator;
using Lock = std::scoped_lock<std::recursive_mutex>;

namespace {
double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
}  // namespace

stream_t stream_create() {
  const Lock lock(device_lock());
  return new_stream();
}

void stream_destroy(stream_t stream) {
  const Lock lock(device_lock());
  if (!stream) stop("stream", "the default stream cannot be destroyed");
  run_all_quietly();
  delete_stream(stream);
}

void stream_synchronize(stream_t stream, Where at) {
  const Lock lock(device_lock());
  throw_kept();
  refuse_in_capture(stream, "stream_synchronize", at);
  const Stream& s = stream_of(stream);
  run_until(&s, [&] { return s.queue.empty(); });
  host_has_waited(s.done);
}

bool stream_query(stream_t stream) {
  const Lock lock(device_lock());
  throw_kept();
  const Stream& s = stream_of(stream);
  bool asked = false;  // something happens between two questions
  run_until(&s, [&] { return s.queue.empty() || std::exchange(asked, true); });
  if (s.queue.empty()) host_has_waited(s.done);
  return s.queue.empty();
}

void stream_wait(stream_t stream, event_t event) {
  const Lock lock(device_lock());
  const auto& state = event->state;
  Stream& s = stream_of(stream);
  if (state->capture) {  // the stream joins the capture, in the order of the calls
    s.capture = state->capture;
    return;
  }
  if (s.capture) stop("capture", "a captured stream waits for an event that was recorded outside");
  if (state->recorded) push(stream, {.event = state, .number = state->recorded});
}

event_t event_create(bool timed) { return new Event{.timed = timed}; }
void event_destroy(event_t event) { delete event; }

void event_record(event_t event, stream_t stream) {
  const Lock lock(device_lock());
  const auto state = event->state;
  state->capture = stream_of(stream).capture;
  if (state->capture) return;
  const std::uint64_t number = ++state->recorded;
  push(stream, {.run =
                    [=] {
                      state->reached = number;
                      state->milliseconds = milliseconds();
                    },
                .event = state,
                .number = number});
}

void event_synchronize(event_t event, Where at) {
  const Lock lock(device_lock());
  throw_kept();
  const auto state = event->state;
  if (state->capture) stop("capture", "event_synchronize at ", at, ": the event was recorded in a capture");
  run_until(nullptr, [&] { return state->reached >= state->recorded; });
  host_has_waited(state->done);
}

bool event_query(event_t event) {
  const Lock lock(device_lock());
  throw_kept();
  const auto state = event->state;
  bool asked = false;
  run_until(nullptr, [&] { return state->reached >= state->recorded || std::exchange(asked, true); });
  if (state->reached < state->recorded) return false;
  host_has_waited(state->done);
  return true;
}

float event_elapsed(event_t from, event_t to) {
  const Lock lock(device_lock());
  for (const Event* e : {from, to}) {
    if (!e->timed) stop("event", "event_elapsed wants events created with timing");
    if (!e->state->recorded || e->state->reached < e->state->recorded)
      stop("event", "event_elapsed of an event that is not done");
  }
  return static_cast<float>(to->state->milliseconds - from->state->milliseconds);
}

void synchronize(Where) {
  const Lock lock(device_lock());
  throw_kept();
  run_until(nullptr, all_idle);
  host_has_waited_for_all();
}

void last_error(Where) {
  const Lock lock(device_lock());
  throw_kept();
}

void begin_capture(stream_t stream) {
  const Lock lock(device_lock());
  if (!stream) stop("capture", "the default stream cannot be captured");
  if (stream->capture) stop("capture", "begin_capture in a capture");
  stream->capture = new Graph;
}

graph_t end_capture(stream_t stream) {
  const Lock lock(device_lock());
  Graph* graph = stream ? stream->capture : nullptr;
  if (!graph) stop("capture", "end_capture without begin_capture");
  stop_capture(graph);
  return graph;
}

graph_exec_t instantiate(graph_t graph) { return new Graph(*graph); }
void graph_destroy(graph_t graph) { delete graph; }

void launch_graph(graph_exec_t graph, stream_t stream, Where at) {
  const Lock lock(device_lock());
  refuse_in_capture(stream, "launch_graph", at);
  for (const Operation& operation : graph->operations) push(stream, operation);
}

void graph_exec_destroy(graph_exec_t graph) {
  const Lock lock(device_lock());
  delete graph;
}

}  // namespace cuboid::gpu

namespace cuboid::emulator {

void enqueue(Stream* stream, const Launch& launch, Kernel kernel) {
  const std::scoped_lock lock(device_lock());
  check_launch(launch);
  push(stream, {.run = [=] { run(launch, kernel); }});
}

}  // namespace cuboid::emulator
