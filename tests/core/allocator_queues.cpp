// SPDX-License-Identifier: Apache-2.0
// The allocator where work is queued, against a device of numbers: each queue counts what was queued and what is done.
#include <map>
#include <set>

#include "core/allocator.h"
#include "tests/test.h"

using namespace cuboid;
using test::error_of;

namespace {

constexpr std::int64_t segment = 2 << 20;

struct FakeDevice : MemorySource {
  struct Point {
    Queue queue;
    int at;
  };
  struct Line {
    int queued = 0, done = 0, waits = 0;
    std::vector<std::pair<int, Point>> blocked;  // from here on, until that point is reached
  };
  std::map<Queue, Line> lines;
  Queue now = nullptr;
  std::int64_t held = 0, most = 64 * segment;
  int marks = 0, settled = 0;

  std::set<void*> segments;

  explicit FakeDevice(std::int64_t limit) : most(limit) { segment_bytes = segment; }
  ~FakeDevice() override {  // what a test still used
    for (void* p : segments) std::free(p);
  }
  void* obtain(std::int64_t bytes) override {
    if (held + bytes > most) return nullptr;
    held += bytes;
    return *segments.insert(std::aligned_alloc(64, static_cast<std::size_t>(bytes))).first;
  }
  void give_back(void* p, std::int64_t bytes) override {
    held -= bytes;
    segments.erase(p);
    std::free(p);
  }
  Queue queue() override { return now; }
  Mark mark(Queue q) override {
    ++marks;
    return std::make_shared<Point>(Point{q, lines[q].queued});
  }
  bool passed(const Mark& m) override {
    const auto& p = *static_cast<Point*>(m.get());
    return lines[p.queue].done >= p.at;
  }
  void wait(Queue q, const Mark& m) override {
    ++lines[q].waits;
    lines[q].blocked.emplace_back(lines[q].queued, *static_cast<Point*>(m.get()));
  }
  void settle() override {
    ++settled;
    for (auto& [q, line] : lines) line.done = line.queued;
  }
  void work() { ++lines[now].queued; }
  void proceed(Queue q, int to) {
    for (const auto& [from, point] : lines[q].blocked)
      if (lines[point.queue].done < point.at) to = std::min(to, from);
    lines[q].done = std::max(lines[q].done, to);
  }
};

struct Queues : testing::Test {
  static MemorySource::Queue number(std::uintptr_t n) { return reinterpret_cast<void*>(n); }
  void on(std::uintptr_t n) { device.now = number(n); }
  std::map<MemorySource::Queue, FakeDevice::Line>& lines() { return device.lines; }
  FakeDevice device{4 * segment};
  CachingAllocator memory{Device::cuda, device};
};

TEST_F(Queues, AFreedBlockIsReusedOnItsQueueAtOnce) {
  on(1);
  void* a = memory.allocate(1000);
  device.work();
  memory.deallocate(a);
  EXPECT_EQ(memory.allocate(1000), a);
  EXPECT_EQ(device.marks, 0);
  memory.deallocate(a);
}

TEST_F(Queues, OnAnotherQueueOnlyWhenAMarkHasBeenPassed) {
  on(1);
  void* a = memory.allocate(segment);
  device.work();
  memory.deallocate(a);
  on(2);
  void* b = memory.allocate(segment);
  EXPECT_NE(b, a) << "still in use";
  EXPECT_EQ(device.marks, 1);
  void* c = memory.allocate(segment);
  EXPECT_NE(c, a);
  EXPECT_EQ(device.marks, 1) << "there is a mark already";
  lines()[number(1)].done = 1;
  EXPECT_EQ(memory.allocate(segment), a);
  EXPECT_EQ(lines()[number(2)].waits, 0);
  for (void* p : {a, b, c}) memory.deallocate(p);
}

TEST_F(Queues, WhereThereIsNoMoreTheQueueWaits) {
  std::vector<void*> all;
  on(1);
  for (int i = 0; i < 4; ++i) all.push_back(memory.allocate(segment));
  device.work();
  memory.deallocate(all[2]);
  on(2);
  void* b = memory.allocate(segment);
  EXPECT_EQ(b, all[2]);
  EXPECT_EQ(lines()[number(2)].waits, 1) << "the device waits, not the host";
  EXPECT_EQ(device.settled, 0);
  for (void* p : all) memory.deallocate(p);
}

TEST_F(Queues, PiecesOfSeveralQueuesMergeBeforeMemoryIsOut) {
  on(1);
  void *a = memory.allocate(segment / 2), *b = memory.allocate(segment / 2);
  std::vector<void*> rest;
  for (int i = 0; i < 3; ++i) rest.push_back(memory.allocate(segment));
  memory.deallocate(a);
  on(2);
  memory.deallocate(b);
  on(3);
  EXPECT_EQ(memory.allocate(segment), a) << "two halves, freed on queues 1 and 2";
  EXPECT_EQ(device.settled, 1);
  EXPECT_EQ(error_of([&] { memory.allocate(segment); }),
            "out of memory on cuda: 2.0 MiB asked for, 8.0 MiB in use (peak 8.0 MiB), 8.0 MiB held; the system gives no more");
  memory.deallocate(a);
  for (void* p : rest) memory.deallocate(p);
  void* whole = memory.allocate(2 * segment);  // the cached segments go back for it
  memory.deallocate(whole);
}

TEST_F(Queues, AQueueThatEndsLeavesItsBlocksToAll) {
  on(1);
  void* a = memory.allocate(segment);
  memory.deallocate(a);
  memory.forget(number(1));
  on(2);
  EXPECT_EQ(memory.allocate(segment), a);
  memory.deallocate(a);
}

struct InPool {
  explicit InPool(CachingAllocator::Pool pool) : before(CachingAllocator::enter_pool(pool)) {}
  ~InPool() { CachingAllocator::enter_pool(before); }
  CachingAllocator::Pool before;
};

TEST_F(Queues, APoolKeepsItsMemoryApart) {
  on(1);
  const auto pool = memory.make_pool();
  void *before = memory.allocate(segment / 2), *a = nullptr, *b = nullptr;
  {
    const InPool in(pool);
    a = memory.allocate(segment);
    memory.deallocate(a);
    b = memory.allocate(segment);
    EXPECT_EQ(a, b) << "within the pool memory is reused";
    memory.deallocate(before);  // the graph may read it: held
  }
  memory.deallocate(b);
  EXPECT_NE(memory.allocate(segment), b) << "outside it is not";
  EXPECT_NE(memory.allocate(segment / 2), before);
  EXPECT_GT(memory.stats().live, 0);
  memory.release_cached();
  EXPECT_EQ(device.held, 3 * segment) << "the pool's memory stays";
  memory.end_pool(pool);
  EXPECT_EQ(memory.allocate(segment), b);
  EXPECT_EQ(memory.allocate(segment / 2), before);
}

TEST_F(Queues, APoolDoesNotWaitForOthers) {
  on(1);
  void* a = memory.allocate(segment);
  device.work();
  memory.deallocate(a);
  const auto pool = memory.make_pool();
  {
    const InPool in(pool);
    on(2);
    EXPECT_NE(memory.allocate(segment), a);
    EXPECT_EQ(device.marks, 0) << "a capture may record nothing on other streams";
  }
}

TEST_F(Queues, ManyQueuesAtRandomNeverShareABlock) {
  FakeDevice little(6 * segment);
  CachingAllocator m(Device::cuda, little);
  test::Random random(5);
  struct Use {
    char* p;
    std::int64_t bytes;
  };
  std::vector<Use> live;
  struct Past {
    MemorySource::Queue queue;
    int at;
    char *begin, *end;
  };
  std::vector<Past> freed;  // may still be in use
  for (int i = 0; i < 20'000; ++i) {
    little.now = number(static_cast<std::uintptr_t>(random.integer(1, 3)));
    if (random.uniform() < 0.1)
      for (auto& [q, line] : little.lines) little.proceed(q, static_cast<int>(random.integer(line.done, line.queued)));
    if (live.size() < 40 && random.uniform() < 0.52) {
      const std::int64_t bytes = random.integer(1, segment / 8);
      const int waits = little.lines[little.now].waits, settled = little.settled;
      auto* p = static_cast<char*>(m.allocate(bytes));
      const bool waited = little.lines[little.now].waits > waits || little.settled > settled;
      for (const Use& u : live) ASSERT_TRUE(p + bytes <= u.p || u.p + u.bytes <= p) << "somebody else's";
      for (const Past& f : freed) {
        const bool apart = p + bytes <= f.begin || f.end <= p;
        const bool over = f.queue == little.now || little.lines[f.queue].done >= f.at;
        ASSERT_TRUE(apart || over || waited) << "still in use on another queue";
      }
      // what comes next on this queue comes after their end
      std::erase_if(freed, [&](const Past& f) { return p < f.end && f.begin < p + bytes; });
      live.push_back({p, bytes});
      little.work();
    } else if (!live.empty()) {
      const auto k = static_cast<std::size_t>(random.integer(0, static_cast<std::int64_t>(live.size()) - 1));
      freed.push_back({little.now, little.lines[little.now].queued, live[k].p, live[k].p + live[k].bytes});
      m.deallocate(live[k].p);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(k));
      std::erase_if(freed, [&](const Past& f) { return little.lines[f.queue].done >= f.at; });
    }
  }
  for (const Use& u : live) m.deallocate(u.p);
  EXPECT_EQ(m.stats().live, 0);
  m.release_cached();
  EXPECT_EQ(little.held, 0);
}

}  // namespace
