// SPDX-License-Identifier: Apache-2.0
// Both kinds of fiber: what a switch must preserve.
#include "tests/emulator/fiber.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace cuboid::emulator {
namespace {

constexpr int fibers = 3, turns = 50;
constexpr std::size_t stack_bytes = 64 << 10;

/// Three fibers that take turns; a fiber's entry has no argument, so what it uses is static.
template <class F>
struct Ring {
  static inline F host, ring[fibers];
  static inline int started, left;
  static inline std::string order;
  static inline double sums[fibers];
  static inline bool aligned, caught;

  static void next(int self) { ring[self].switch_to(ring[(self + 1) % fibers]); }

  /// Enough integers and doubles alive across a switch that they lie in registers and on the stack.
  static void entry() {
    const int self = started++;
    alignas(32) volatile char line[32] = {};
    aligned = aligned && reinterpret_cast<std::uintptr_t>(line) % 32 == 0;
    std::uint64_t a = 1, b = 2, c = 3, d = 5, e = 7, f = 11;
    double x = self, y = 0.5;
    for (int turn = 0; turn < turns; ++turn) {
      order += static_cast<char>('0' + self);
      a += b, b += c, c += d, d += e, e += f, f += static_cast<std::uint64_t>(self);
      x += y, y *= 1.01;
      try {
        if (turn % 7 == self) throw std::runtime_error("within a fiber");
      } catch (const std::runtime_error&) {
        caught = true;
      }
      next(self);
    }
    sums[self] = x + static_cast<double>(a + b + c + d + e + f);
    if (--left == 0) ring[self].switch_to(host);
    for (;;) next(self);
  }

  static double expected(int self) {
    std::uint64_t a = 1, b = 2, c = 3, d = 5, e = 7, f = 11;
    double x = self, y = 0.5;
    for (int turn = 0; turn < turns; ++turn) {
      a += b, b += c, c += d, d += e, e += f, f += static_cast<std::uint64_t>(self);
      x += y, y *= 1.01;
    }
    return x + static_cast<double>(a + b + c + d + e + f);
  }
};

template <class F>
struct Fibers : ::testing::Test {};
using Kinds = ::testing::Types<PortableFiber, Fiber>;
TYPED_TEST_SUITE(Fibers, Kinds);

TYPED_TEST(Fibers, KeepTheirVariablesAndTheirTurns) {
  using World = Ring<TypeParam>;
  std::vector<std::vector<char>> stacks(fibers, std::vector<char>(stack_bytes));
  World::started = 0;
  World::left = fibers;
  World::aligned = true;
  World::caught = false;
  World::order.clear();
  for (int i = 0; i < fibers; ++i) World::ring[i].prepare(stacks[static_cast<std::size_t>(i)].data(), stack_bytes, World::entry);
  World::host.switch_to(World::ring[0]);
  std::string turns_of_all;
  for (int turn = 0; turn < turns; ++turn) turns_of_all += "012";
  EXPECT_EQ(World::order, turns_of_all);
  EXPECT_TRUE(World::aligned);
  EXPECT_TRUE(World::caught);
  for (int i = 0; i < fibers; ++i) EXPECT_EQ(World::sums[i], World::expected(i)) << i;
}

}  // namespace
}  // namespace cuboid::emulator
