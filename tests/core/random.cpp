// SPDX-License-Identifier: Apache-2.0
#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "tests/files.h"

using namespace cuboid;

namespace {

/// NumPy's SeedSequence (O'Neill's seed_seq_fe), as far as one 64-bit seed needs it: the two Philox key words.
std::pair<std::uint64_t, std::uint64_t> numpy_key(std::uint64_t seed) {
  std::uint32_t pool[4] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32), 0, 0};
  std::uint32_t constant = 0x43b0d7e5;
  const auto hash = [&](std::uint32_t v) {
    v ^= constant;
    constant *= 0x931e8875;
    v *= constant;
    return v ^ v >> 16;
  };
  for (auto& word : pool) word = hash(word);
  for (int from = 0; from < 4; ++from)
    for (int to = 0; to < 4; ++to)
      if (from != to) {
        const std::uint32_t mixed = 0xca01f9ddu * pool[to] - 0x4973f715u * hash(pool[from]);
        pool[to] = mixed ^ mixed >> 16;
      }
  constant = 0x8b51f9dd;
  std::uint32_t out[4];
  for (int i = 0; i < 4; ++i) {
    std::uint32_t v = pool[i] ^ constant;
    constant *= 0x58f38ded;
    v *= constant;
    out[i] = v ^ v >> 16;
  }
  const auto join = [](std::uint32_t low, std::uint32_t high) { return std::uint64_t{high} << 32 | low; };
  return {join(out[0], out[1]), join(out[2], out[3])};
}

/// Word i of NumPy's Philox, which counts up before it draws.
std::uint64_t numpy_word(std::pair<std::uint64_t, std::uint64_t> key, std::uint64_t i) {
  return philox({{i / 4 + 1, 0, 0, 0}}, key.first, key.second).word[i % 4];
}

TEST(Random, KnownAnswers) {
  // Random123's published vectors for philox4x64-10.
  const auto words = [](Words4 w) { return std::vector<std::uint64_t>(w.word, w.word + 4); };
  EXPECT_EQ(words(philox({{0, 0, 0, 0}}, 0, 0)),
            (std::vector<std::uint64_t>{0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}));
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(words(philox({{ones, ones, ones, ones}}, ones, ones)),
            (std::vector<std::uint64_t>{0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}));
  // The first words of NumPy's published test stream for two seeds.
  EXPECT_EQ(numpy_word(numpy_key(0xdeadbeaf), 0), 0xedc95200e2bd66a5);
  EXPECT_EQ(numpy_word(numpy_key(0xdeadbeaf), 3), 0xee47f17991a9e7ea);
  EXPECT_EQ(numpy_word(numpy_key(0), 0), 0x399e5b222b82fa9u);
}

TEST(Random, NumpyStream) {
  for (const char* name : {"numeric/rng/philox-testset-1.csv", "numeric/rng/philox-testset-2.csv"}) {
    SAMPLE_DATA_OR_SKIP(path, name);
    std::ifstream in(path);
    std::string word;
    in >> word >> word;
    const auto key = numpy_key(std::stoull(word, nullptr, 16));
    std::uint64_t count = 0;
    for (std::string index; in >> index >> word; ++count)
      ASSERT_EQ(numpy_word(key, count), std::stoull(word, nullptr, 16)) << name << " word " << count;
    EXPECT_EQ(count, 1000u);
  }
}

TEST(Random, ElementDependsOnKeyAndIndexOnly) {
  const RandomKey key{.seed = 1, .stream = 2, .step = 3};
  std::vector<double> forward, backward;
  for (std::uint64_t i = 0; i < 101; ++i) forward.push_back(random_normal(key, i));
  for (std::uint64_t i = 101; i-- > 0;) backward.push_back(random_normal(key, i));
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  Random row(key);
  for (std::uint64_t i = 0; i < 101; ++i) EXPECT_EQ(row.word(), random_word(key, i));
  Random resumed(key, 57);
  EXPECT_EQ(resumed.word(), random_word(key, 57));
}

TEST(Random, KeysGiveUnrelatedRows) {
  std::map<std::uint64_t, int> seen;
  const RandomKey base{.seed = 7, .stream = 7, .step = 7};
  std::vector<RandomKey> keys = {base, {8, 7, 7}, {7, 8, 7}, {7, 7, 8}, base.derive(0), base.derive(1), base.derive(0).derive(0)};
  for (const auto& key : keys)
    for (std::uint64_t i = 0; i < 1000; ++i) ++seen[random_word(key, i)];
  EXPECT_EQ(seen.size(), 7000u) << "a word came twice";
}

TEST(Random, UniformMomentsAndRange) {
  const RandomKey key{.seed = 11};
  constexpr int n = 200'000;
  double sum = 0, squares = 0, low = 1, high = 0, lag = 0, before = 0.5;
  for (int i = 0; i < n; ++i) {
    const double u = random_uniform(key, static_cast<std::uint64_t>(i));
    sum += u;
    squares += u * u;
    lag += (u - 0.5) * (before - 0.5);
    before = u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_GE(low, 0);
  EXPECT_LT(high, 1);
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1. / 12 / n));
  EXPECT_NEAR(squares / n, 1. / 3, 5 * std::sqrt(4. / 45 / n));
  EXPECT_NEAR(lag / n, 0, 5. / 12 / std::sqrt(n));
  EXPECT_LT(to_unit(~std::uint64_t{0}), 1.0);
}

TEST(Random, NormalFollowsItsDistribution) {
  // Kolmogorov and Smirnov: the largest distance to the normal distribution function stays below the 0.1 % bound.
  constexpr int n = 100'000;
  std::vector<double> x(n);
  for (int i = 0; i < n; ++i)
    x[static_cast<std::size_t>(i)] = random_normal({.seed = 5, .stream = 1}, static_cast<std::uint64_t>(i));
  std::sort(x.begin(), x.end());
  double worst = 0;
  for (int i = 0; i < n; ++i) {
    const double cdf = 0.5 * std::erfc(-x[static_cast<std::size_t>(i)] / std::sqrt(2.0));
    worst = std::max({worst, std::abs(cdf - i / static_cast<double>(n)), std::abs((i + 1) / static_cast<double>(n) - cdf)});
  }
  EXPECT_LT(worst, 1.95 / std::sqrt(n));
  const auto extreme = to_normal(~std::uint64_t{0}, 0);
  EXPECT_TRUE(std::isfinite(extreme.first) && std::isfinite(extreme.second));
}

TEST(Random, BelowHasNoBias) {
  // A bound of 3 * 2^62: without rejection, the first quarter would come twice as often as each of the others.
  const std::uint64_t quarter = std::uint64_t{1} << 62, bound = 3 * quarter;
  int counts[3] = {};
  Random row({.seed = 3});
  for (std::uint64_t i = 0; i < 30'000; ++i) {
    const std::uint64_t a = random_below({.seed = 2}, i, bound), b = row.below(bound);
    ASSERT_LT(a, bound);
    ++counts[a / quarter];
    ++counts[b / quarter];
  }
  for (const int c : counts) EXPECT_NEAR(c, 20'000, 5 * std::sqrt(60'000. * 2 / 9));
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(row.below(1), 0u);
  EXPECT_THROW(row.below(0), Error);
}

TEST(Random, PermutationIsUniform) {
  auto order = permutation({.seed = 9}, 1000);
  EXPECT_NE(order[0], order[1]);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], static_cast<std::int64_t>(i));
  std::map<std::vector<std::int64_t>, int> counts;
  for (std::uint64_t s = 0; s < 24'000; ++s) ++counts[permutation({.seed = 1, .step = s}, 4)];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [p, c] : counts) EXPECT_NEAR(c, 1000, 5 * std::sqrt(1000.));
  EXPECT_TRUE(permutation({}, 0).empty());
}

}  // namespace
