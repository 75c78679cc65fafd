// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: a number is a function of (key, index) and of nothing else, so results do not depend
// on threads, devices or the order of calls, and a resumed run draws what the uninterrupted one would have drawn.
// Philox4x64-10 of Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// NumPy's `Philox` draws the same stream (tests/core/random.cpp). Plain inline functions, for host and device:
// words and uniform numbers are the same bits everywhere, normal numbers up to the rounding of each one's log, sin and cos (f64).
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/hd.h"

namespace cuboid {

/// Four 64-bit words; as a counter, word 0 is the least significant.
struct Words4 {
  std::uint64_t word[4] = {0, 0, 0, 0};
};

__extension__ typedef unsigned __int128 uint128;

/// The Philox4x64-10 block function: `counter` and the two key words to four random words.
CUBOID_HD inline Words4 philox(Words4 counter, std::uint64_t key0, std::uint64_t key1) {
  auto& c = counter.word;
  for (int round = 0; round < 10; ++round) {
    const uint128 a = static_cast<uint128>(0xD2E7470EE14C6C93u) * c[0];
    const uint128 b = static_cast<uint128>(0xCA5A826395121157u) * c[2];
    const std::uint64_t c1 = c[1], c3 = c[3];
    c[0] = static_cast<std::uint64_t>(b >> 64) ^ c1 ^ key0;
    c[1] = static_cast<std::uint64_t>(b);
    c[2] = static_cast<std::uint64_t>(a >> 64) ^ c3 ^ key1;
    c[3] = static_cast<std::uint64_t>(a);
    key0 += 0x9E3779B97F4A7C15u;
    key1 += 0xBB67AE8584CAA73Bu;
  }
  return counter;
}

/// Names one infinite row of random numbers. `stream` says what the numbers are for (initialisation, dropout of one
/// layer, augmentation, ...), `step` when.
struct RandomKey {
  std::uint64_t seed = 0, stream = 0, step = 0;
  const std::uint64_t* staged = nullptr;  // on a device: where kernels find the step, for those that a CUDA graph repeats

  /// Four words: block i of this row. `attempt` redraws (rejection sampling).
  CUBOID_HD Words4 block(std::uint64_t i, std::uint64_t attempt = 0) const {
    return philox({{i, staged ? *staged : step, attempt, 0}}, seed, stream);
  }
  /// A key of its own for part `id` (a sample, a layer) of whatever this key is for.
  CUBOID_HD RandomKey derive(std::uint64_t id) const {
    const Words4 w = philox({{id, step, 0, 1}}, seed, stream);
    return {w.word[0], w.word[1], w.word[2]};
  }
  friend bool operator==(const RandomKey&, const RandomKey&) = default;
};

/// [0, 1) with 53 random bits.
CUBOID_HD inline double to_unit(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }

// ---- element i of a row ---------------------------------------------------------------------------
CUBOID_HD inline std::uint64_t random_word(const RandomKey& key, std::uint64_t i) { return key.block(i / 4).word[i % 4]; }
CUBOID_HD inline double random_uniform(const RandomKey& key, std::uint64_t i) { return to_unit(random_word(key, i)); }

/// Two independent standard normal numbers of two words (Box and Muller 1958).
struct NormalPair {
  double first, second;
};
CUBOID_HD inline NormalPair to_normal(std::uint64_t a, std::uint64_t b) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(a)));  // the argument lies in (0, 1]
  const double angle = 6.283185307179586476925286766559 * to_unit(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}
CUBOID_HD inline double random_normal(const RandomKey& key, std::uint64_t i) {
  const Words4 w = key.block(i / 4);
  const std::uint64_t at = i % 4 / 2 * 2;
  const NormalPair pair = to_normal(w.word[at], w.word[at + 1]);
  return i % 2 ? pair.second : pair.first;
}

/// [0, bound) without bias, bound > 0 (Lemire 2019: multiply, reject the few words that would favour small values).
CUBOID_HD inline std::uint64_t random_below(const RandomKey& key, std::uint64_t i, std::uint64_t bound) {
  const std::uint64_t unfair = (0 - bound) % bound;
  for (std::uint64_t attempt = 0;; ++attempt) {
    const uint128 m = static_cast<uint128>(key.block(i / 4, attempt).word[i % 4]) * bound;
    if (static_cast<std::uint64_t>(m) >= unfair) return static_cast<std::uint64_t>(m >> 64);
  }
}

// ---- one after the other, on the host -------------------------------------------------------------
/// Draws a row word by word; the state is the key and how many words were taken, so it can be saved and restored.
class Random {
 public:
  explicit Random(RandomKey key, std::uint64_t taken = 0) : key_(key), taken_(taken) {}

  const RandomKey& key() const { return key_; }
  std::uint64_t taken() const { return taken_; }

  std::uint64_t word() {
    if (taken_ / 4 != held_) block_ = key_.block(held_ = taken_ / 4);
    return block_.word[taken_++ % 4];
  }
  double uniform() { return to_unit(word()); }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  bool chance(double probability) { return uniform() < probability; }
  double normal(double mean = 0, double deviation = 1) {
    const std::uint64_t a = word(), b = word();
    return mean + deviation * to_normal(a, b).first;
  }
  /// [0, bound) without bias.
  std::uint64_t below(std::uint64_t bound) {
    check(bound > 0, "random: below(0)");
    const std::uint64_t unfair = (0 - bound) % bound;
    for (;;) {
      const uint128 m = static_cast<uint128>(word()) * bound;
      if (static_cast<std::uint64_t>(m) >= unfair) return static_cast<std::uint64_t>(m >> 64);
    }
  }
  /// Fisher and Yates.
  template <class Container>
  void shuffle(Container& values) {
    using std::swap;
    for (std::size_t n = values.size(); n > 1; --n) swap(values[n - 1], values[below(n)]);
  }

 private:
  RandomKey key_;
  std::uint64_t taken_;
  std::uint64_t held_ = ~std::uint64_t{0};  // which block block_ is
  Words4 block_;
};

/// 0 .. count-1 in random order.
inline std::vector<std::int64_t> permutation(const RandomKey& key, std::int64_t count) {
  check(count >= 0, "permutation: of ", count, " elements");
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
  Random(key).shuffle(order);
  return order;
}

}  // namespace cuboid
