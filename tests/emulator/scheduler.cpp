// SPDX-License-Identifier: Apache-2.0
// Which device thread runs next, and what is said when none can.
#include "tests/emulator/machine.h"

CUBOID_DEVICE_DATA uint3 threadIdx, blockIdx;
CUBOID_DEVICE_DATA dim3 blockDim, gridDim;

namespace cuboid::emulator {

constinit thread_local Thread* current = nullptr;
Machine& machine = *new Machine;  // never destroyed: fibers may stand in it

namespace {

Fiber host;  // the host thread, waiting for the launch to end

/// nullptr means the host.
void switch_to(Thread* next) {
  Thread* before = current;
  current = next;
  if (next) {
    // Also when it is the running thread: another block may have started in its fiber.
    threadIdx = next->index;
    blockIdx = next->block->index;
  }
  if (before == next) return;
  ++statistics().switches;
  Fiber& from = before ? before->fiber : host;
  from.switch_to(next ? next->fiber : host);
}

std::string place_of(const Thread& t) {
  std::string place = join_text(t.doing, " at ", t.where);
  if (t.state == State::collective && t.mask) {
    std::ostringstream mask;
    mask << " mask 0x" << std::hex << t.mask;
    place += mask.str();
  }
  return place;
}

void report_deadlock() {
  std::map<std::string, std::vector<const Thread*>> waiting;
  int exited = 0;
  for (const Block* block : machine.blocks) {
    exited += block->exited;
    for (const Thread* t : block->threads)
      if (t->state != State::done && t->state != State::idle) waiting[place_of(*t)].push_back(t);
  }
  std::ostringstream text;
  text << "no thread can run:";
  for (const auto& [place, threads] : waiting)
    text << "\n    " << threads.size() << " threads (first: " << name_of(*threads[0]) << ") in " << place;
  text << "\n    " << exited << " threads exited";
  set_error("deadlock", text.str());
}

/// The next thread to run; nullptr when the launch is over.
Thread* pick() {
  auto& ready = machine.ready;
  for (;;) {
    if (!machine.engine.empty() && options().copies != Timing::lazy && random_below(16) == 0) complete_engine_copy();
    if (machine.ready_head < ready.size()) {
      if (options().order == Order::fifo) {
        Thread* next = ready[machine.ready_head++];
        if (machine.ready_head == ready.size()) {
          ready.clear();
          machine.ready_head = 0;
        }
        return next;
      }
      if (options().order == Order::random) std::swap(ready[random_below(ready.size())], ready.back());
      Thread* next = ready.back();
      ready.pop_back();
      return next;
    }
    if (machine.blocks_done == machine.blocks_total) return nullptr;
    if (complete_engine_copy()) continue;
    report_deadlock();
    return nullptr;
  }
}

}  // namespace

void make_ready(Thread* thread) {
  thread->state = State::ready;
  machine.ready.push_back(thread);
}

void wait(State why, const char* doing, Where at) {
  current->state = why;
  current->doing = doing;
  current->where = at;
  switch_to(pick());
}

void leave() { switch_to(pick()); }

void step_aside() {
  make_ready(current);
  switch_to(pick());
}

void run_threads() {
  switch_to(pick());
  current = nullptr;
}

std::string name_of(const Thread& t) { return join_text("block ", t.block->linear, " thread ", t.linear); }

void set_error(const char* kind, const std::string& text) {
  if (machine.failed) return;
  machine.failed = true;
  machine.error_kind = kind;
  const uint3 b = blockIdx, t = threadIdx;
  machine.error_text =
      join_text("[", machine.launch.name, " block ", b.x, ",", b.y, ",", b.z, " thread ", t.x, ",", t.y, ",", t.z, "] ", text);
}

void stop_with(const char* kind, const std::string& text) {
  if (!current) throw Error(kind, text);
  set_error(kind, text);
  switch_to(nullptr);  // for good: the stack is reset before the next launch
  __builtin_unreachable();
}

std::ostream& operator<<(std::ostream& os, Where at) {
  const std::string_view file = at.file;
  return os << file.substr(file.rfind('/') + 1) << ":" << at.line;
}

}  // namespace cuboid::emulator
