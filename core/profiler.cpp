// SPDX-License-Identifier: Apache-2.0
#include "core/profiler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <tuple>

#include "core/cuda.h"
#include "core/error.h"

namespace cuboid::profiler {
namespace {

using detail::counts, detail::ranges, detail::wishes;

/// Nsight's tools say where their library lies.
bool tool_listens() {
  const char *asked = std::getenv("CUBOID_NVTX"), *injected = std::getenv("NVTX_INJECTION64_PATH");
  return asked ? std::string(asked) == "1" : injected && *injected;
}
[[maybe_unused]] const bool listening = tool_listens() && (wishes |= ranges);

constexpr std::size_t most_events = 1 << 20;

struct Sum {
  std::int64_t calls = 0;
  double us = 0, self_us = 0, flops = 0, bytes = 0;
};
/// Everything known; all of it under `guard`.
struct Book {
  std::vector<Event> events;
  std::map<std::tuple<const char*, const char*, int>, Sum> sums;  // by op, implementation, thread
  std::map<std::pair<const char*, int>, Sum> places;              // by path, thread
  double started_us = 0, ended_us = 0;
};
std::mutex guard;
Book& book() {
  static auto& all = *new Book;
  return all;
}
void enter(const Event& e) {
  Book& b = book();
  if (b.events.size() < most_events) b.events.push_back(e);
  Sum& sum = b.sums[{e.op, e.impl, e.thread}];
  ++sum.calls;
  sum.us += e.duration_us;
  sum.self_us += e.self_us;
  sum.flops += e.flops;
  sum.bytes += e.bytes;
}

/// Texts made at run time; they stay.
const char* kept(const std::string& text) {
  static auto& texts = *new std::set<std::string>;
  return texts.insert(text).first->c_str();
}

std::atomic<int> threads_seen{0}, main_number{1};
int own_number() {
  thread_local const int number = ++threads_seen;
  return number;
}
int this_thread() {
  const int number = own_number(), main = main_number.load(std::memory_order_relaxed);
  return number == main ? main_thread : number < main ? number : number - 1;
}

thread_local Frame* top = nullptr;

#if CUBOID_CUDA
/// Calls on the device; their times are asked for when somebody reads them.
struct Pending {
  Event event;
  cuda::Event start, end;
};
constexpr std::size_t most_pending = 4096;

/// A moment on both clocks.
struct Anchor {
  cuda::Event event;
  double us;
};

// Never destroyed: the device may be gone by then.
std::vector<Pending>& pending() {
  static auto& all = *new std::vector<Pending>;
  return all;
}
Anchor& anchor() {
  static auto& a = *new Anchor{cuda::Event(true), 0};
  return a;
}
/// The clocks meet where a call finds no other under way.
void meet() {
  anchor() = {cuda::Event(true), 0};
  anchor().event.record();
  anchor().event.synchronize();
  anchor().us = now_us();
}

void settle() {
  for (Pending& p : pending()) {
    p.end.synchronize();
    p.event.start_us = anchor().us + 1e3 * p.start.ms_since(anchor().event);
    p.event.duration_us = 1e3 * p.end.ms_since(p.start);
    p.event.self_us = p.event.duration_us;
    enter(p.event);
  }
  pending().clear();
}
#else
void settle() {}
#endif
}  // namespace

void enable(bool on) {
  const std::scoped_lock lock(guard);
  if (on) {
    wishes |= counts;
    main_number = own_number();
    book().started_us = now_us();
    book().ended_us = 0;
  } else {
    wishes &= ~static_cast<unsigned>(counts);
    if (book().ended_us == 0) book().ended_us = now_us();
  }
}

double now_us() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

// ---- calls ---------------------------------------------------------------------------------------

namespace {

/// The frame of what begins now; to be left in reverse order.
void push(Frame& f, const char* name, const char* path, const char* kernel) {
  f = {name, path, kernel, top};
  top = &f;
}
/// Returns what took its own time.
double pop(Frame& f, double duration_us) {
  top = f.outer;
  if (top) top->within_us += duration_us;
  return std::max(0., duration_us - f.within_us);
}

}  // namespace

const Frame* here() { return top; }

Span::Span(Device where, const char* op, const char* impl, double flops, double bytes) : event_{op, impl, 0, 0, flops, bytes} {
  const unsigned wanted = wishes.load(std::memory_order_relaxed);
  counts_ = wanted & counts;
#if CUBOID_CUDA
  range_ = where == Device::cuda && wanted & ranges;
  if (range_) cuda::open_range(op);
  counts_ = counts_ && !(where == Device::cuda && cuda::recording_graph());
  if (counts_ && where == Device::cuda) {
    {
      const std::scoped_lock lock(guard);
      if (pending().size() >= most_pending) settle();
      if (pending().empty()) meet();
    }
    const auto start = std::make_shared<cuda::Event>(true);
    start->record();
    started_ = start;
  }
#else
  static_cast<void>(where);
#endif
  if (!counts_) return;
  event_.path = top ? top->path : "";
  event_.thread = this_thread();
  push(frame_, op, event_.path, op);
  event_.start_us = now_us();
}

Span::~Span() {
#if CUBOID_CUDA
  if (range_) cuda::close_range();
#endif
  if (!counts_) return;
  event_.duration_us = now_us() - event_.start_us;
  event_.self_us = pop(frame_, event_.duration_us);
  if (!started_) {
    add(event_);
    return;
  }
#if CUBOID_CUDA
  try {
    cuda::Event end(true);
    end.record();
    const std::scoped_lock lock(guard);
    Sum& host = book().sums[{"launch", "", event_.thread}];  // what the host spent on it
    ++host.calls;
    host.us += event_.duration_us;
    host.self_us += event_.self_us;
    event_.thread = device_thread;
    pending().push_back({event_, *std::static_pointer_cast<cuda::Event>(started_), end});
  } catch (const DeviceError&) {  // the call itself has failed, and says so
  }
#endif
}

// ---- ranges --------------------------------------------------------------------------------------

const char* Range::numbered(const char* name, std::int64_t number) {
  const std::scoped_lock lock(guard);
  return kept(name + std::to_string(number));
}

void Range::open(const char* name) {
  static auto& paths = *new std::map<std::pair<const char*, const char*>, const char*>;
  const char* path = name;
  if (top && *top->path) {
    const std::scoped_lock lock(guard);
    const char*& known = paths[{top->path, name}];
    if (!known) known = kept(std::string(top->path) + "/" + name);
    path = known;
  }
  open_ = true;
  push(frame_, name, path, top ? top->kernel : nullptr);
  start_us_ = now_us();
}

void Range::close() {
  Event e{frame_.name, "", start_us_, now_us() - start_us_, 0, 0};
  e.self_us = pop(frame_, e.duration_us);
  e.thread = this_thread();
  e.path = frame_.path;
  const std::scoped_lock lock(guard);
  enter(e);
  Sum& sum = book().places[{e.path, e.thread}];
  ++sum.calls;
  sum.us += e.duration_us;
  sum.self_us += e.self_us;
}

const char* place() {
  for (const Frame* f = top; f; f = f->outer)
    if (!f->kernel) return f->name;
  return nullptr;
}

const char* derivative_of(const char* name) {
  static auto& names = *new std::map<const char*, const char*>;
  const std::scoped_lock lock(guard);
  const char*& known = names[name];
  if (!known) known = kept(std::string(name) + "'");
  return known;
}

// ---- the book ------------------------------------------------------------------------------------

void add(const Event& event) {
  const std::scoped_lock lock(guard);
  enter(event);
}
void clear() {
  const std::scoped_lock lock(guard);
  settle();
  book() = {};
  book().started_us = now_us();
}
std::vector<Event> events() {
  const std::scoped_lock lock(guard);
  settle();
  return book().events;
}
double wall_us() {
  const std::scoped_lock lock(guard);
  const Book& b = book();
  return (b.ended_us > 0 ? b.ended_us : now_us()) - b.started_us;
}

namespace {

/// The same text may lie in several places.
template <class Key, class Name>
std::vector<Total> merged(const std::map<Key, Sum>& sums, Name&& name) {
  std::map<std::tuple<std::string, std::string, int>, Total> found;
  for (const auto& [key, sum] : sums) {
    const auto [op, impl, thread] = name(key);
    Total& t = found[{op, impl, thread}];
    t = {op, impl, thread, t.calls + sum.calls, t.us + sum.us, t.self_us + sum.self_us, t.flops + sum.flops, t.bytes + sum.bytes};
  }
  std::vector<Total> all;
  for (auto& [key, total] : found) all.push_back(std::move(total));
  std::stable_sort(all.begin(), all.end(), [](const Total& a, const Total& b) { return a.self_us > b.self_us; });
  return all;
}

}  // namespace

std::vector<Total> totals() {
  const std::scoped_lock lock(guard);
  settle();
  return merged(book().sums, [](const auto& key) { return key; });
}
std::vector<Total> places() {
  const std::scoped_lock lock(guard);
  return merged(book().places, [](const auto& key) { return std::tuple(key.first, "", key.second); });
}

}  // namespace cuboid::profiler
