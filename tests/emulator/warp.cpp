// SPDX-License-Identifier: Apache-2.0
// What the lanes of a warp, or the threads of a warpgroup, do together.
#include <bit>
#include <functional>

#include "tests/emulator/machine.h"
#include "tests/emulator/sync.h"

namespace cuboid::emulator {
namespace {

std::string hex(std::uint32_t mask) {
  std::ostringstream os;
  os << "0x" << std::hex << mask;
  return os.str();
}

/// The meeting of exactly these lanes, a new one if none waits.
Rendezvous& meeting_of(Warp& warp, std::uint32_t mask, int kind, Where at) {
  Rendezvous* free = nullptr;
  for (Rendezvous& r : warp.meetings) {
    if (r.mask == mask) return r;
    if (r.mask == 0 && !free) free = &r;
  }
  if (!free) stop("warp-mask", "more than four different masks wait at once, the last at ", at);
  free->mask = mask;
  free->arrived = 0;
  free->kind = kind;
  free->where = at;
  return *free;
}

template <class F>
void each_lane(std::uint32_t mask, F&& f) {
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}

}  // namespace

std::uint32_t lane_id() { return current->lane; }

void warp_meet(std::uint32_t mask, int kind, void* argument, WarpFunction function, Where at) {
  Thread& self = *current;
  Warp& warp = *self.warp;
  if (!(mask >> self.lane & 1)) stop("warp-mask", "lane ", self.lane, " is not in the mask ", hex(mask), " it gives at ", at);
  if (mask & ~warp.alive) {
    if (options().strict)
      stop("warp-mask", "mask ", hex(mask), " at ", at, " names lanes that exited or never were (alive: ", hex(warp.alive), ")");
    mask &= warp.alive;
  }
  Rendezvous& meeting = meeting_of(warp, mask, kind, at);
  if (meeting.kind != kind || (options().strict && meeting.where != at))
    stop("warp-divergence", "lanes of mask ", hex(mask), " are in different warp operations: ", meeting.where, " and ", at);
  meeting.arguments[self.lane] = argument;
  meeting.arrived |= 1u << self.lane;
  if (meeting.arrived != mask) {
    self.mask = mask;
    return wait(State::collective, "a warp operation", at);
  }
  ++statistics().warp_operations;
  race::lanes_met(warp, mask);
  if (function) {
    machine.quiet = true;
    function(meeting.arguments, mask);
    machine.quiet = false;
  }
  meeting.mask = 0;
  each_lane(mask & ~(1u << self.lane), [&](int lane) { make_ready(warp.lanes[lane]); });
  if (options().order == Order::random) step_aside();
}

void warpgroup_meet(int kind, void* argument, WarpgroupFunction function, Where at) {
  Thread& self = *current;
  Warpgroup& group = self.block->warpgroups[self.linear / 128];
  if (self.linear / 128 * 128 + 128 > self.block->threads.size())
    stop("warpgroup-divergence", "a warpgroup operation at ", at, " in a warpgroup of fewer than 128 threads");
  if (group.arrived == 0) {
    group.kind = kind;
    group.where = at;
  }
  if (group.kind != kind || group.where != at)
    stop("warpgroup-divergence", "threads of a warpgroup are in different operations: ", group.where, " and ", at);
  group.arguments[self.linear % 128] = argument;
  if (++group.arrived < 128) {
    self.mask = 0;
    group.waiting.push_back(&self);
    return wait(State::collective, "a warpgroup operation", at);
  }
  if (function) {
    machine.quiet = true;
    function(group.arguments);
    machine.quiet = false;
  }
  group.arrived = 0;
  group.time = race::tick();
  for (Thread* t : group.waiting) make_ready(t);
  group.waiting.clear();
  step_aside();
}

// ---- shuffles, votes, reductions ---------------------------------------------------------------

namespace {

struct Value {
  std::uint64_t in, out;
  int source;
  bool inactive;
};

/// Every lane learns one value made of all.
template <class F>
void combine(void* arguments[32], std::uint32_t mask, F&& f) {
  auto** values = reinterpret_cast<Value**>(arguments);
  bool first = true;
  std::uint64_t result = 0;
  each_lane(mask, [&](int lane) {
    result = first ? values[lane]->in : f(result, values[lane]->in);
    first = false;
  });
  each_lane(mask, [&](int lane) { values[lane]->out = result; });
}

template <Reduce what>
void reduce_lanes(void* arguments[32], std::uint32_t mask) {
  combine(arguments, mask, [](std::uint64_t a, std::uint64_t b) -> std::uint64_t {
    const auto x = static_cast<std::uint32_t>(a), y = static_cast<std::uint32_t>(b);
    const auto sx = static_cast<std::int32_t>(x), sy = static_cast<std::int32_t>(y);
    switch (what) {
      case Reduce::add:
        return x + y;
      case Reduce::min_signed:
        return sx < sy ? x : y;
      case Reduce::max_signed:
        return sx > sy ? x : y;
      case Reduce::min_unsigned:
        return x < y ? x : y;
      case Reduce::max_unsigned:
        return x > y ? x : y;
      case Reduce::bit_and:
        return x & y;
      case Reduce::bit_or:
        return x | y;
      case Reduce::bit_xor:
        return x ^ y;
    }
    return 0;
  });
}

}  // namespace

std::uint64_t shuffle_bits(std::uint32_t mask, std::uint64_t bits, int bytes, int source, Where at) {
  Value value{bits, 0, source, false};
  warp_meet(
      mask, shuffle | bytes << 8, &value,
      [](void* arguments[32], std::uint32_t lanes) {
        auto** values = reinterpret_cast<Value**>(arguments);
        each_lane(lanes, [&](int lane) {
          Value& v = *values[lane];
          v.inactive = !(lanes >> v.source & 1);
          if (!v.inactive) v.out = values[v.source]->in;
        });
      },
      at);
  if (value.inactive) stop("shfl-inactive", "lane ", lane_id(), " reads lane ", source, ", not in mask ", hex(mask), ", at ", at);
  return value.out;
}

std::uint32_t ballot(std::uint32_t mask, bool p, Where at) {
  Value value{std::uint64_t{p} << lane_id(), 0, 0, false};
  warp_meet(
      mask, vote, &value, [](void* arguments[32], std::uint32_t lanes) { combine(arguments, lanes, std::bit_or<>()); }, at);
  return static_cast<std::uint32_t>(value.out);
}

bool elect_one(Where at) {
  warp_meet(~0u, election, nullptr, nullptr, at);
  return lane_id() == options().seed * 7 % 32;
}

std::uint32_t match_any(std::uint32_t mask, std::uint64_t bits, Where at) {
  Value value{bits, 0, 0, false};
  warp_meet(
      mask, match, &value,
      [](void* arguments[32], std::uint32_t lanes) {
        auto** values = reinterpret_cast<Value**>(arguments);
        each_lane(lanes, [&](int a) {
          values[a]->out = 0;
          each_lane(lanes, [&](int b) { values[a]->out |= std::uint64_t{values[a]->in == values[b]->in} << b; });
        });
      },
      at);
  return static_cast<std::uint32_t>(value.out);
}

std::uint32_t reduce(Reduce what, std::uint32_t mask, std::uint32_t in, Where at) {
  constexpr WarpFunction functions[] = {reduce_lanes<Reduce::add>,          reduce_lanes<Reduce::min_signed>,
                                        reduce_lanes<Reduce::max_signed>,   reduce_lanes<Reduce::min_unsigned>,
                                        reduce_lanes<Reduce::max_unsigned>, reduce_lanes<Reduce::bit_and>,
                                        reduce_lanes<Reduce::bit_or>,       reduce_lanes<Reduce::bit_xor>};
  Value value{in, 0, 0, false};
  warp_meet(mask, reduction | static_cast<int>(what) << 8, &value, functions[static_cast<int>(what)], at);
  return static_cast<std::uint32_t>(value.out);
}

}  // namespace cuboid::emulator
