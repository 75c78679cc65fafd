// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/queue.h"

#include <algorithm>
#include <exception>

#include "tests/emulator/device_heap.h"
#include "tests/emulator/options.h"

namespace cuboid::emulator {
namespace {

struct Device {
  std::recursive_mutex lock;
  Stream default_stream;
  std::vector<Stream*> streams{&default_stream};
  std::exception_ptr kept;
  std::uint64_t choices = 0;
};
Device& device() {
  static Device& d = *new Device;  // never destroyed: tensors with static lifetime use it late
  return d;
}

std::uint64_t choice(std::uint64_t n) {  // SplitMix64 of a counter: it depends on the seed and on how often it was asked
  std::uint64_t z = options().seed * 0x9e3779b97f4a7c15u + ++device().choices * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (z ^ (z >> 31)) % n;
}

bool can_run(const Stream& s) {
  if (s.queue.empty()) return false;
  const Operation& first = s.queue.front();
  return first.run || first.event->reached >= first.number;
}

void run_first(Stream& s) {
  const Operation first = std::move(s.queue.front());
  s.queue.pop_front();
  if (!first.run) return order::merge(s.done, first.event->done);
  order::starts(&s, s.done, first.queued);
  first.run();
  order::ends();
  if (first.event) first.event->done = s.done;
}

void drop_all() {
  for (Stream* s : device().streams) {
    for (const Operation& o : s->queue)
      if (o.run && o.event) o.event->reached = std::max(o.event->reached, o.number);
    s->queue.clear();
  }
}

/// Which of the runnable streams goes first: what is waited for, anything but that, or any.
enum class Favour : std::uint8_t { wanted, others, none };

Stream* next_stream(const Stream* wanted, Favour favour) {
  std::vector<Stream*> runnable;
  Stream* best = nullptr;
  for (Stream* s : device().streams)
    if (can_run(*s)) (s == wanted ? best : runnable.emplace_back()) = s;
  if (best && (favour == Favour::wanted || runnable.empty())) return best;
  if (best && favour == Favour::none) runnable.push_back(best);
  return runnable.empty() ? nullptr : runnable[choice(runnable.size())];
}

}  // namespace

std::recursive_mutex& device_lock() { return device().lock; }
Stream& stream_of(Stream* stream) { return stream ? *stream : device().default_stream; }

Stream* new_stream() {
  order::more_streams();
  device().streams.push_back(new Stream);
  return device().streams.back();
}
void delete_stream(Stream* stream) {
  std::erase(device().streams, stream);
  delete stream;
}

namespace {
void keep_error() {
  if (!device().kept) device().kept = std::current_exception();
}

void append(Stream* stream, Operation operation) {
  Stream& s = stream_of(stream);
  if (s.capture) {
    s.capture->operations.push_back(std::move(operation));
    return;
  }
  operation.queued = order::host();
  s.queue.push_back(std::move(operation));
  const Timing timing = options().streams;
  if (timing == Timing::eager) return run_until(nullptr, all_idle);
  if (timing == Timing::random && choice(4) == 0) {  // the device is quick this time
    std::uint64_t left = choice(4) + 1;
    run_until(nullptr, [&] { return left-- == 0 || all_idle(); });
  }
}
}  // namespace

void push(Stream* stream, Operation operation) {
  throw_kept();
  append(stream, std::move(operation));
}
void push_quietly(Stream* stream, Operation operation) noexcept {
  try {
    append(stream, std::move(operation));
  } catch (...) {
    keep_error();
  }
}

void run_until(const Stream* wanted, const std::function<bool()>& done) {
  if (done()) return;
  const auto favour = wanted ? static_cast<Favour>(choice(3)) : Favour::none;
  const DeviceOpen open;
  try {
    do {
      Stream* s = next_stream(wanted, favour);
      if (!s) stop("stream-deadlock", "every stream waits for an event that no stream will record");
      run_first(*s);
    } while (!done());
  } catch (...) {
    drop_all();
    throw;
  }
}

void run_all_quietly() noexcept {
  try {
    run_until(nullptr, all_idle);
    host_has_waited_for_all();
  } catch (...) {
    keep_error();
  }
}

void throw_kept() {
  if (const std::exception_ptr kept = std::exchange(device().kept, nullptr)) std::rethrow_exception(kept);
}

bool all_idle() {
  return std::all_of(device().streams.begin(), device().streams.end(), [](const Stream* s) { return s->queue.empty(); });
}

void host_has_waited(const order::Counts& done) {
  order::host_learns(done);
  if (all_idle()) order::idle();
}
void host_has_waited_for_all() {
  for (const Stream* s : device().streams) order::host_learns(s->done);
  order::idle();
}

bool uses_host(const void* p) {
  for (const Stream* s : device().streams)
    for (const Operation& o : s->queue)
      if (o.host == p) return true;
  return false;
}

void stop_capture(const Graph* graph) {
  for (Stream* s : device().streams)
    if (s->capture == graph) s->capture = nullptr;
}

void refuse_in_capture(Stream* stream, const char* what, Where at) {
  if (stream_of(stream).capture) stop("capture", what, " at ", at, " while the stream is captured");
}

}  // namespace cuboid::emulator
