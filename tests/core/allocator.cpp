// SPDX-License-Identifier: Apache-2.0
#include "core/allocator.h"

#include <cstring>
#include <map>
#include <thread>

#include "core/parallel.h"
#include "core/random.h"
#include "tests/test.h"

using namespace cuboid;
using test::error_of;

namespace {

// A system with little memory: segments of a page each, at most `allowed` bytes in all.
constexpr std::int64_t segment = 2 << 20;
constexpr std::int64_t margin = 64;  // what a block may add to its bytes: under the address sanitizer, a red zone
std::int64_t held = 0, allowed = 0;
struct LittleMemory : MemorySource {
  LittleMemory() { segment_bytes = segment; }
  void* obtain(std::int64_t bytes) override {
    if (held + bytes > allowed) return nullptr;
    held += bytes;
    return std::aligned_alloc(64, static_cast<std::size_t>(bytes));
  }
  void give_back(void* p, std::int64_t bytes) override {
    held -= bytes;
    std::free(p);
  }
};
struct Small {
  explicit Small(std::int64_t bytes) { allowed = bytes; }
  ~Small() {
    memory.release_cached();
    EXPECT_EQ(held, 0) << "memory kept for ever";
  }
  LittleMemory source;
  CachingAllocator memory{Device::cpu, source};
};

TEST(Allocator, CountsLiveAndPeak) {
  Small s(segment);
  auto& m = s.memory;
  void* a = m.allocate(100);
  void* b = m.allocate(64);
  EXPECT_EQ(m.stats().live, 128 + 64) << "in steps of 64";
  EXPECT_EQ(m.stats().reserved, segment);
  m.deallocate(a);
  EXPECT_EQ(m.stats().live, 64);
  EXPECT_EQ(m.stats().peak, 192);
  m.reset_peak();
  EXPECT_EQ(m.stats().peak, 64);
  m.deallocate(b);
  EXPECT_EQ(m.stats().live, 0);
  EXPECT_EQ(m.stats().allocations, 2);
  m.deallocate(nullptr);
}

TEST(Allocator, AlignedAndDisjoint) {
  Small s(8 * segment);
  auto& m = s.memory;
  std::map<char*, std::int64_t> blocks;  // address -> bytes, filled with a mark of its own
  Random random({.seed = 21});
  const auto mark = [](const char* p) { return static_cast<int>(reinterpret_cast<std::uintptr_t>(p) >> 6 & 0x7f); };
  for (int i = 0; i < 20'000; ++i) {
    if (blocks.empty() || (random.chance(0.52) && blocks.size() < 300)) {
      const auto bytes = static_cast<std::int64_t>(random.below(random.chance(0.1) ? 200'000 : 2000));
      auto* p = static_cast<char*>(m.allocate(bytes));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
      std::memset(p, mark(p), static_cast<std::size_t>(bytes));
      ASSERT_TRUE(blocks.emplace(p, bytes).second);
    } else {
      auto it = std::next(blocks.begin(), static_cast<std::ptrdiff_t>(random.below(blocks.size())));
      for (std::int64_t k = 0; k < it->second; ++k) ASSERT_EQ(it->first[k], mark(it->first)) << "somebody else wrote here";
      m.deallocate(it->first);
      blocks.erase(it);
    }
  }
  for (auto& [p, bytes] : blocks) m.deallocate(p);
  EXPECT_EQ(m.stats().live, 0);
}

TEST(Allocator, NeighboursMerge) {
  Small s(segment);
  auto& m = s.memory;
  void *a = m.allocate(segment / 4 - margin), *b = m.allocate(segment / 4 - margin), *c = m.allocate(segment / 2 - margin);
  m.deallocate(a);
  m.deallocate(c);
  m.deallocate(b);  // joins what lies before and behind
  void* whole = m.allocate(segment - margin);
  EXPECT_EQ(whole, a);
  m.deallocate(whole);
}

TEST(Allocator, FreedMemoryIsReused) {
  Small s(segment);
  auto& m = s.memory;
  void* a = m.allocate(1000);
  m.deallocate(a);
  EXPECT_EQ(m.allocate(1000), a);
  m.deallocate(a);
}

TEST(Allocator, SegmentsStayApart) {
  Small s(2 * segment);
  auto& m = s.memory;
  void *a = m.allocate(segment - margin), *b = m.allocate(segment - margin);
  m.deallocate(a);
  m.deallocate(b);
  m.release_cached();
  EXPECT_EQ(m.stats().reserved, 0);
  EXPECT_EQ(held, 0);
}

TEST(Allocator, CachedSegmentsAreGivenBackBeforeGivingUp) {
  Small s(2 * segment);
  auto& m = s.memory;
  m.deallocate(m.allocate(segment - margin));
  void* large = m.allocate(2 * segment - margin);  // fits only when the cached segment goes back
  m.deallocate(large);
}

TEST(Allocator, OutOfMemoryIsAnError) {
  Small s(2 * segment);
  auto& m = s.memory;
  void* a = m.allocate(segment - margin);
  EXPECT_EQ(error_of([&] { m.allocate(3 << 20); }),
            "out of memory on cpu: 3.0 MiB asked for, 2.0 MiB in use (peak 2.0 MiB), 2.0 MiB held; the system gives no more");
  EXPECT_EQ(m.stats().live, segment - margin);
  void* b = m.allocate(segment - margin);  // the process goes on
  m.deallocate(a);
  m.deallocate(b);
  EXPECT_THROW(m.allocate(-1), Error);
}

TEST(Allocator, LimitHoldsAndCanBeLifted) {
  Small s(8 * segment);
  auto& m = s.memory;
  m.set_limit(segment);
  void* a = m.allocate(segment - 64);
  EXPECT_EQ(error_of([&] { m.allocate(65); }),
            "out of memory on cpu: 0.0 MiB asked for, 2.0 MiB in use (peak 2.0 MiB), limit 2.0 MiB");
  m.deallocate(m.allocate(64));
  m.set_limit(0);
  m.deallocate(m.allocate(segment));
  m.deallocate(a);
}

TEST(Allocator, HundredFailuresAreSurvived) {
  // A step that runs out of memory midway: everything it took comes back, and the same process goes on.
  const std::int64_t before = memory_stats().live;
  for (int i = 0; i < 100; ++i) {
    set_memory_limit(before + (std::int64_t{1} << 20));
    EXPECT_THROW(
        {
          Tensors activations;
          for (;;) activations.push_back(zeros({100 + 1000 * i}));
        },
        OutOfMemory);
    set_memory_limit(0);
    ASSERT_EQ(memory_stats().live, before);
  }
  EXPECT_EQ(zeros({1 << 20}).to_vector().size(), std::size_t{1} << 20);
}

TEST(Allocator, ManyThreads) {
  const std::int64_t before = memory_stats().live;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      Random random({.seed = 22, .stream = t});
      for (int i = 0; i < 2000; ++i) {
        const Scratch<std::uint32_t> a(static_cast<std::int64_t>(1 + random.below(5000)));
        a[0] = t;
        const Scratch<std::uint32_t> b(static_cast<std::int64_t>(1 + random.below(50)));
        b[0] = ~t;
        ASSERT_EQ(a[0], t);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(memory_stats().live, before);
}

using AllocatorDeathTest = ::testing::Test;
TEST(AllocatorDeathTest, FreeingTwiceStopsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        void* p = allocate(100);
        deallocate(p);
        deallocate(p);
      },
      "");
}

}  // namespace
