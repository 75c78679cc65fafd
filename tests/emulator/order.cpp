// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/order.h"

#include <algorithm>
#include <vector>

namespace cuboid::emulator::order {

void merge(Counts& into, const Counts& from) {
  for (const auto& [stream, count] : from) into[stream] = std::max(into[stream], count);
}

#if CUBOID_EMULATOR_CHECK
namespace {

struct Operation {
  const Stream* stream;
  std::uint64_t number;
  race::Time begin, end;
};
Counts& host_done = *new Counts;
std::vector<Operation>& history = *new std::vector<Operation>;  // what some later operation may not be ordered with
std::vector<Operation>& unordered = *new std::vector<Operation>;
Operation running{};
bool several = false;

bool knows(const Counts& done, const Operation& o) {
  const auto found = done.find(o.stream);
  return found != done.end() && found->second >= o.number;
}

}  // namespace

void more_streams() { several = true; }
const Counts& host() { return host_done; }
void host_learns(const Counts& done) { merge(host_done, done); }

void starts(const Stream* stream, Counts& done, const Counts& queued) {
  merge(done, queued);
  unordered.clear();
  std::copy_if(history.begin(), history.end(), std::back_inserter(unordered),
               [&](const Operation& o) { return !knows(done, o); });
  running = {stream, ++done[stream], race::tick(), 0};
}
void ends() {
  running.end = race::tick();
  if (several) history.push_back(running);
  unordered.clear();
}
void idle() {
  std::erase_if(history, [](const Operation& o) { return knows(host_done, o); });
}

bool concurrent() { return !unordered.empty(); }
bool ordered(race::Time time) {
  return std::none_of(unordered.begin(), unordered.end(), [=](const Operation& o) { return time >= o.begin && time < o.end; });
}
bool forget() {
  if (concurrent()) return false;
  history.clear();
  return true;
}
#endif

}  // namespace cuboid::emulator::order
