// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <chrono>
#include <set>
#include <thread>

#include "core/cuda.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

std::vector<std::int64_t> first(std::int64_t n) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < n; ++i) indices.push_back(i);
  return indices;
}

/// All there is to know about a batch.
std::string text_of(const Batch& b) {
  std::string s = join_text(b.epoch, '/', b.position, ' ', b.x.shape(), ':');
  for (const auto i : b.indices) s += join_text(' ', i);
  for (const auto v : b.labels.to_vector()) s += join_text(' ', v);
  const Tensor x = to(b.x, Device::cpu);
  return s + std::string(static_cast<const char*>(x.view().data), static_cast<std::size_t>(x.view().bytes()));
}
std::vector<std::string> epochs(Loader& loader, int count) {
  std::vector<std::string> all;
  for (int e = 0; e < count; ++e) {
    while (auto batch = loader.next()) all.push_back(text_of(*batch));
    all.push_back("end");
  }
  return all;
}

class LoaderTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    write_cells(folder_->path(), 13, {4, 6, 6});
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static Dataset open(std::int64_t cache = 1 << 30) { return open_dataset(folder_->path(), {.cache_bytes = cache}); }
  static inline std::unique_ptr<TempFolder> folder_;
};

TEST_F(LoaderTest, PlainOrderAndTheLastBatch) {
  const Dataset data = open();
  Loader loader(data, first(13), {.batch = 4});
  EXPECT_EQ(loader.batches(), 4);
  EXPECT_EQ(loader.samples(), 13);
  std::vector<std::int64_t> seen;
  while (auto b = loader.next()) {
    EXPECT_EQ(b->x.shape(), (Shape{static_cast<std::int64_t>(b->indices.size()), 1, 4, 6, 6}));
    for (std::size_t k = 0; k < b->indices.size(); ++k) {
      const auto i = b->indices[k];
      seen.push_back(i);
      EXPECT_EQ(b->labels.data<std::int64_t>()[k], data[i].label);
      const auto want = data.load(i).to_vector();
      EXPECT_TRUE(std::equal(want.begin(), want.end(), b->x.to_vector().begin() + static_cast<std::ptrdiff_t>(k * 144)));
    }
  }
  EXPECT_EQ(seen, first(13));
  Loader dropping(data, first(13), {.batch = 4, .drop_last = true});
  EXPECT_EQ(dropping.batches(), 3);
  EXPECT_EQ(dropping.samples(), 12);
}

TEST_F(LoaderTest, ShuffledEpochsAreOtherPermutations) {
  Loader loader(open(), {2, 3, 5, 7, 8, 9, 11}, {.batch = 3, .shuffle = true});
  std::set<std::vector<std::int64_t>> orders;
  for (int e = 0; e < 5; ++e) {
    std::vector<std::int64_t> order;
    while (auto b = loader.next()) order.insert(order.end(), b->indices.begin(), b->indices.end());
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, (std::vector<std::int64_t>{2, 3, 5, 7, 8, 9, 11}));
  }
  EXPECT_GT(orders.size(), 3u);
}

TEST_F(LoaderTest, WorkersAndPrefetchChangeNothing) {
  const LoaderOptions base{.batch = 3, .shuffle = true, .seed = 9, .workers = 0, .augment = {.flip_z = 0.5, .jitter_scale = 0.1}};
  Loader reference(open(), first(13), base);
  const auto expected = epochs(reference, 3);
  for (const int workers : {1, 2, 5})
    for (const int prefetch : {0, 1, 4, 50})
      for (const std::int64_t cache : {0, 1 << 30}) {
        LoaderOptions o = base;
        o.workers = workers;
        o.prefetch = prefetch;
        Loader loader(open(cache), first(13), o);
        EXPECT_EQ(epochs(loader, 3), expected) << workers << " workers, prefetch " << prefetch;
      }
}

TEST_F(LoaderTest, ResumesAtEveryPosition) {
  const LoaderOptions o{.batch = 4, .shuffle = true, .workers = 2, .augment = AugmentOptions::paper()};
  Loader whole(open(), first(13), o);
  std::vector<LoaderState> states;
  std::vector<std::string> rest;
  for (int i = 0; i < 12; ++i) {
    states.push_back(whole.state());
    const auto batch = whole.next();
    rest.push_back(batch ? text_of(*batch) : "end");
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    Loader loader(open(), first(13), o);
    loader.next();
    loader.seek(states[i]);
    EXPECT_EQ(loader.state().epoch, states[i].epoch);
    EXPECT_EQ(loader.state().position, states[i].position);
    for (std::size_t k = i; k < rest.size(); ++k) {
      const auto batch = loader.next();
      ASSERT_EQ(batch ? text_of(*batch) : "end", rest[k]) << "resumed at " << states[i].epoch << '/' << states[i].position;
    }
  }
  EXPECT_THROW(whole.seek({0, 5}), Error);
  EXPECT_THROW(whole.seek({-1, 0}), Error);
}

TEST_F(LoaderTest, RanksShareEachBatch) {
  const Dataset data = open();
  struct Case {
    std::int64_t batch;
    int ranks;
    std::int64_t left_out;  // of 13
  };
  for (const Case& c : {Case{4, 1, 0}, Case{4, 2, 1}, Case{5, 3, 0}, Case{5, 4, 3}, Case{2, 2, 1}, Case{13, 5, 0}}) {
    LoaderOptions o{.batch = c.batch, .shuffle = true, .workers = 0};
    Loader whole(data, first(13), o);
    o.ranks = c.ranks;
    std::vector<std::unique_ptr<Loader>> parts;
    for (o.rank = 0; o.rank < c.ranks; ++o.rank) parts.push_back(std::make_unique<Loader>(data, first(13), o));
    EXPECT_EQ(parts[0]->samples(), 13 - c.left_out);
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (std::int64_t k = 0; k < parts[0]->batches(); ++k) {
        const auto all = whole.next();
        const auto dealt = samples_by_rank(static_cast<std::int64_t>(all->indices.size()), c.ranks);
        std::vector<std::int64_t> together;
        for (int r = 0; r < c.ranks; ++r) {
          const auto part = parts[static_cast<std::size_t>(r)]->next();
          EXPECT_EQ(part->total, static_cast<std::int64_t>(all->indices.size()));
          EXPECT_EQ(static_cast<std::int64_t>(part->indices.size()), dealt[static_cast<std::size_t>(r)]);
          EXPECT_FALSE(part->indices.empty());
          together.insert(together.end(), part->indices.begin(), part->indices.end());
        }
        EXPECT_EQ(together, all->indices);
      }
      while (whole.next()) {
      }
      for (const auto& part : parts) EXPECT_FALSE(part->next().has_value());
    }
  }
}

TEST_F(LoaderTest, AnErrorArrivesAtItsBatchWithTheFilesName) {
  const TempFolder folder;
  write_cells(folder.path(), 10);
  spit(folder / "cell_7.npy", "not an array");
  for (const int workers : {0, 1, 3}) {
    Loader loader(open_dataset(folder.path()), first(10), {.batch = 2, .workers = workers, .prefetch = 6});
    for (int b = 0; b < 3; ++b) EXPECT_TRUE(loader.next());
    EXPECT_SAYS(data_error([&] { loader.next(); }), "cell_7.npy");
    EXPECT_SAYS(data_error([&] { loader.next(); }), "cell_7.npy");
    loader.seek({0, 4});
    EXPECT_TRUE(loader.next()) << "the batches after it are fine";
  }
}

TEST_F(LoaderTest, OutOfMemoryKeepsItsType) {
  const Dataset data = open();
  data.verify();
  set_memory_limit(memory_stats().live + 64);
  Loader loader(data, first(13), {.batch = 8});
  EXPECT_THROW(loader.next(), OutOfMemory);
  set_memory_limit(0);
}

TEST_F(LoaderTest, EarlyDestructionNeverHangs) {
  for (int i = 0; i < 300; ++i) {
    Loader loader(open(i % 2 ? 0 : 1 << 30), first(13),
                  {.batch = 1 + i % 5, .shuffle = true, .workers = 1 + i % 4, .prefetch = i % 7});
    for (int k = 0; k < i % 6; ++k) loader.next();
    if (i % 11 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (i % 13 == 0) loader.seek({i, 0});
    if (i % 17 == 0) loader = Loader(open(), first(3), {.workers = 2});
  }
}

TEST_F(LoaderTest, NonsenseIsRefused) {
  EXPECT_THROW(Loader(open(), {}, {}), DataError);
  EXPECT_THROW(Loader(open(), first(3), {.batch = 4, .drop_last = true}), DataError);
  EXPECT_THROW(Loader(open(), {99}, {}), Error);
  EXPECT_THROW(Loader(open(), first(3), {.batch = 0}), Error);
}

/// ctest -L cuda
class CudaLoader : public LoaderTest {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(CudaLoader, BatchesArriveOnTheDevice) {
  const LoaderOptions near{.batch = 4, .shuffle = true, .augment = {.flip_z = 0.5}};
  Loader plain(open(), first(13), near);
  const auto expected = epochs(plain, 3);
  for (const int workers : {0, 1, 3}) {
    LoaderOptions far = near;
    far.workers = workers;
    far.device = Device::cuda;
    Loader loader(open(), first(13), far);
    EXPECT_EQ(epochs(loader, 3), expected) << workers << " workers";
    loader.seek({1, 2});
    const auto batch = loader.next();
    EXPECT_EQ(batch->x.device(), Device::cuda);
    EXPECT_EQ(batch->labels.device(), Device::cuda);
    EXPECT_EQ(text_of(*batch), expected[5 + 2]);
  }
}

TEST_F(CudaLoader, ABatchIsNotOverwrittenWhileItIsUsed) {
  // Each batch is read by work that is only queued when its last handle goes.
  Loader loader(open(), first(13), {.batch = 4, .workers = 2, .prefetch = 4, .device = Device::cuda});
  Tensors sums;
  std::vector<Tensor> expected;
  for (int i = 0; i < 40; ++i) {
    const auto batch = loader.next();
    if (!batch) continue;
    const Tensor sum = zeros(batch->x.shape(), {.device = Device::cuda});
    for (int k = 0; k < 3; ++k) add_into(sum, batch->x);
    sums.push_back(sum);
    const Dataset data = open();
    const Tensor rows = empty(batch->x.shape());
    for (std::size_t k = 0; k < batch->indices.size(); ++k) {
      const Tensor one = data.load(batch->indices[k]);
      copy(one, Tensor(rows.storage(), static_cast<std::int64_t>(k) * one.size(), one.shape(), one.strides(), DType::f32));
    }
    expected.push_back(add(add(rows, rows), rows));
  }
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_TRUE(equal(sums[i], expected[i])) << i;
}

}  // namespace
