// SPDX-License-Identifier: Apache-2.0
#include "data/patch_loader.h"

#include <map>
#include <set>

#include "data/patch_cut.h"
#include "tests/data/labelled_folder.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

std::vector<std::int64_t> first(std::int64_t n) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < n; ++i) indices.push_back(i);
  return indices;
}

std::string bytes_of(const Tensor& t) {
  if (!t.defined()) return "-";
  return std::string(static_cast<const char*>(t.view().data), static_cast<std::size_t>(t.view().bytes()));
}
std::string text_of(const PatchBatch& b) {
  std::string s = join_text(b.epoch, '/', b.position, ' ', b.total, ' ', b.x.shape(), ':');
  for (const auto i : b.cases) s += join_text(' ', i);
  return s + bytes_of(b.x) + bytes_of(b.target) + bytes_of(b.labels);
}
std::vector<std::string> epochs(PatchLoader& loader, int count) {
  std::vector<std::string> all;
  for (int e = 0; e < count; ++e) {
    while (auto batch = loader.next()) all.push_back(text_of(*batch));
    all.push_back("end");
  }
  return all;
}

class PatchLoaderTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    write_pairs(folder_->path(), 5);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static LabelledDataset open(Head head = Head::instances, std::int64_t cache = 1 << 30) {
    return open_labelled_dataset(folder_->path(), {.head = head, .spacing_um = Spacing{1, 1, 1}, .cache_bytes = cache});
  }
  static PatchLoaderOptions base() {
    return {.batch = 3, .patch = {6, 8, 8}, .patches_per_case = 4, .foreground = 0.5, .seed = 9, .workers = 0};
  }
  static PatchLoaderOptions augmented() {
    PatchLoaderOptions o = base();
    o.augment = {.elastic = 0.5, .zoom = 0.5, .jitter_scale = 0.1};
    o.margin = {0, 2, 3};
    return o;
  }
  static inline std::unique_ptr<TempFolder> folder_;
};

/// Where in the volume a patch lies, found by comparing; all places.
std::vector<Place> places_of(const Tensor& patch, const Tensor& image) {
  std::vector<Place> found;
  const Shape p = patch.shape(), s = image.shape();
  const float *a = patch.data<float>(), *b = image.data<float>();
  for (std::int64_t z = 0; z + p[1] <= s[1]; ++z)
    for (std::int64_t y = 0; y + p[2] <= s[2]; ++y)
      for (std::int64_t x = 0; x + p[3] <= s[3]; ++x) {
        bool same = true;
        for (std::int64_t i = 0; i < p.count() && same; ++i) {
          const std::int64_t dz = i / (p[2] * p[3]), dy = i / p[3] % p[2], dx = i % p[3];
          same = a[i] == b[((z + dz) * s[2] + y + dy) * s[3] + x + dx];
        }
        if (same) found.push_back({z, y, x});
      }
  return found;
}

Tensor item(const Tensor& batch, std::int64_t k) {
  Shape shape;
  for (int a = 1; a < batch.rank(); ++a) shape.push_back(batch.dim(a));
  return Tensor(batch.storage(), k * shape.count(), shape, dense_strides(shape), batch.dtype());
}

TEST_F(PatchLoaderTest, PatchesAreCutFromTheirCase) {
  for (const Head head : {Head::instances, Head::classes, Head::signed_distance}) {
    const LabelledDataset data = open(head);
    PatchLoader loader(data, first(5), base());
    EXPECT_EQ(loader.samples(), 20);
    EXPECT_EQ(loader.batches(), 7);
    std::map<std::int64_t, int> patches;
    while (auto b = loader.next()) {
      EXPECT_EQ(b->target.defined(), head != Head::classes);
      EXPECT_EQ(b->labels.defined(), head == Head::classes);
      for (std::size_t k = 0; k < b->cases.size(); ++k) {
        const auto v = data.load(b->cases[k]);
        ++patches[b->cases[k]];
        const auto n = static_cast<std::int64_t>(k);
        const auto found = places_of(item(b->x, n), v.image);
        ASSERT_EQ(found.size(), 1u);
        const Tensor truth = head == Head::classes ? v.labels : v.target;
        const Tensor expected = empty({6, 8, 8}, {.dtype = truth.dtype()});
        cut(truth, found[0], expected);
        EXPECT_EQ(item(head == Head::classes ? b->labels : b->target, n).to_vector(), expected.to_vector());
      }
    }
    for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(patches[i], 4);
  }
}

TEST_F(PatchLoaderTest, WorkersPrefetchAndCacheChangeNothing) {
  PatchLoader reference(open(), first(5), augmented());
  const auto expected = epochs(reference, 2);
  for (const int workers : {1, 2, 5})
    for (const int prefetch : {0, 1, 50})
      for (const std::int64_t cache : {0, 1 << 30}) {
        PatchLoaderOptions o = augmented();
        o.workers = workers;
        o.prefetch = prefetch;
        PatchLoader loader(open(Head::instances, cache), first(5), o);
        EXPECT_EQ(epochs(loader, 2), expected) << workers << " workers, prefetch " << prefetch << ", cache " << cache;
      }
}

TEST_F(PatchLoaderTest, ResumesAtEveryPosition) {
  PatchLoaderOptions o = augmented();
  o.workers = 2;
  PatchLoader whole(open(), first(5), o);
  std::vector<LoaderState> states;
  std::vector<std::string> rest;
  for (int i = 0; i < 20; ++i) {
    states.push_back(whole.state());
    const auto batch = whole.next();
    rest.push_back(batch ? text_of(*batch) : "end");
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    PatchLoader loader(open(), first(5), o);
    loader.next();
    loader.seek(states[i]);
    for (std::size_t k = i; k < std::min(i + 4, rest.size()); ++k) {
      const auto batch = loader.next();
      ASSERT_EQ(batch ? text_of(*batch) : "end", rest[k]) << "resumed at " << states[i].epoch << '/' << states[i].position;
    }
  }
}

TEST_F(PatchLoaderTest, EpochsDifferUnlessFixed) {
  PatchLoaderOptions o = base();
  PatchLoader loader(open(), first(5), o);
  const auto both = epochs(loader, 2);
  EXPECT_NE(both[0].substr(1), both[8].substr(1));
  o.shuffle = false;  // then the places alone differ
  PatchLoader in_order(open(), first(5), o);
  const auto places = epochs(in_order, 2);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_NE(places[i].substr(1), places[i + 8].substr(1));
  o.fixed = true;
  o.shuffle = false;
  PatchLoader fixed(open(), first(5), o);
  const auto same = epochs(fixed, 2);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(same[i].substr(1), same[i + 8].substr(1));
  o.fixed = false;
  o.seed = 10;
  PatchLoader other(open(), first(5), o);
  EXPECT_NE(epochs(other, 1)[0], same[0]);
}

TEST_F(PatchLoaderTest, FlipsMoveImageAndTruthAlike) {
  const LabelledDataset data = open();
  PatchLoaderOptions o = base();
  PatchLoader plain(data, first(5), o);
  o.augment = {.flip_x = 1, .flip_y = 0, .flip_z = 1, .rotate = 0, .elastic = 0, .zoom = 0};
  o.margin = {3, 3, 3};
  PatchLoader flipped(data, first(5), o);
  while (auto a = plain.next()) {
    const auto b = flipped.next();
    for (const auto& [one, other] : {std::pair(a->x, b->x), std::pair(a->target, b->target)}) {
      const auto p = one.to_vector(), q = other.to_vector();
      ASSERT_EQ(p.size(), q.size());
      for (std::size_t i = 0; i < p.size(); ++i) {
        const std::size_t x = i % 8, y = i / 8 % 8, z = i / 64 % 6, n = i / 384;
        ASSERT_EQ(q[i], p[((n * 6 + 5 - z) * 8 + y) * 8 + 7 - x]);
      }
    }
  }
}

TEST_F(PatchLoaderTest, AMarginBringsInWhatIsThere) {
  const LabelledDataset data = open(Head::classes);
  PatchLoaderOptions o = base();
  o.patch = {6, 4, 4};
  o.augment = {.flip_x = 0, .flip_y = 0, .flip_z = 0, .rotate_degrees = 180, .elastic = 0, .zoom = 0};
  o.augment.fill = RotationFill::zero;
  o.patches_per_case = 10;
  for (const std::int64_t margin : {0, 2}) {
    o.margin = {0, margin, margin};
    PatchLoader loader(data, first(5), o);
    int uncovered = 0;  // voxels with nothing in them; images here have none
    while (auto b = loader.next()) {
      const auto values = b->x.to_vector();
      uncovered += static_cast<int>(std::count(values.begin(), values.end(), 0.0));
    }
    EXPECT_EQ(uncovered == 0, margin == 2) << uncovered;
  }
}

TEST_F(PatchLoaderTest, RanksShareEachBatch) {
  PatchLoaderOptions o = base();
  PatchLoader whole(open(), first(5), o);
  o.ranks = 2;
  std::vector<std::unique_ptr<PatchLoader>> parts;
  for (o.rank = 0; o.rank < 2; ++o.rank) parts.push_back(std::make_unique<PatchLoader>(open(), first(5), o));
  for (std::int64_t k = 0; k < parts[0]->batches(); ++k) {
    const auto all = whole.next();
    std::string together;
    for (auto& part : parts) {
      const auto b = part->next();
      EXPECT_EQ(b->total, all->total);
      together += bytes_of(b->x) + bytes_of(b->target);
    }
    std::string expected;  // the batch's images and targets, rank by rank
    const auto dealt = samples_by_rank(all->total, 2);
    std::int64_t at = 0;
    for (const auto n : dealt) {
      std::string x, t;
      for (std::int64_t i = at; i < at + n; ++i) x += bytes_of(item(all->x, i)), t += bytes_of(item(all->target, i));
      expected += x + t;
      at += n;
    }
    EXPECT_EQ(together, expected);
  }
}

TEST_F(PatchLoaderTest, AugmentationMovesImageAndTruthTogether) {
  PatchLoaderOptions o = base();
  o.patch = {10, 12, 14};
  o.augment = {.elastic = 1, .zoom = 1};
  o.margin = {1, 2, 2};
  for (const Head head : {Head::classes, Head::instances, Head::signed_distance}) {
    const LabelledDataset data = open(head);
    PatchLoader loader(data, first(5), o);
    double inside = 0, outside = 0, sum_inside = 0, sum_outside = 0;
    while (auto b = loader.next()) {
      EXPECT_EQ(b->x.shape(), (Shape{static_cast<std::int64_t>(b->cases.size()), 1, 10, 12, 14}));
      const auto x = b->x.to_vector(), truth = (head == Head::classes ? b->labels : b->target).to_vector();
      ASSERT_EQ(x.size(), truth.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        (truth[i] != 0 ? inside : outside) += 1;
        (truth[i] != 0 ? sum_inside : sum_outside) += x[i];
      }
    }
    // The images are their labels, 1 and 2, in noise.
    PatchLoader plain(data, first(5), base());
    double all[2] = {}, sums[2] = {};
    while (auto b = plain.next()) {
      const auto x = b->x.to_vector(), truth = (head == Head::classes ? b->labels : b->target).to_vector();
      for (std::size_t i = 0; i < x.size(); ++i) {
        ++all[truth[i] != 0];
        sums[truth[i] != 0] += x[i];
      }
    }
    EXPECT_GT(sum_inside / inside - sum_outside / outside, 0.8 * (sums[1] / all[1] - sums[0] / all[0])) << name_of(head);
  }
  o.workers = 0;
  PatchLoader reference(open(), first(5), o);
  const auto expected = epochs(reference, 2);
  EXPECT_NE(expected[0], expected[expected.size() / 2]) << "another epoch, another movement";
  o.workers = 3;
  PatchLoader busy(open(), first(5), o);
  EXPECT_EQ(epochs(busy, 2), expected);
  o.augment = PairAugmentOptions::none();
  PatchLoader still(open(), first(5), o);
  EXPECT_NE(epochs(still, 2), expected);
}

TEST_F(PatchLoaderTest, ForegroundIsInThePatch) {
  const LabelledDataset data = open(Head::classes);
  PatchLoaderOptions o = base();
  o.patch = {2, 2, 2};
  o.patches_per_case = 40;
  std::map<double, std::array<int, 3>> with;  // by share: patches that hold nothing, label 1, label 2
  for (const double share : {0.0, 1.0}) {
    o.foreground = share;
    PatchLoader loader(data, first(5), o);
    while (auto b = loader.next())
      for (std::int64_t k = 0; k < b->labels.dim(0); ++k) {
        const auto values = item(b->labels, k).to_vector();
        const std::set<double> labels(values.begin(), values.end());
        auto& count = with[share];
        ++count[labels.contains(1) ? 1 : labels.contains(2) ? 2 : 0];
      }
  }
  EXPECT_EQ(with[1.0][0], 0);
  EXPECT_GT(with[1.0][1], 60);
  EXPECT_GT(with[1.0][2], 60) << "the smaller label is drawn as often";
  EXPECT_GT(with[0.0][0], 100);
}

TEST_F(PatchLoaderTest, WholeVolumesAndSmallerOnes) {
  const LabelledDataset data = open();
  PatchLoaderOptions o = base();
  o.patch = {};
  o.batch = 5;
  o.patches_per_case = 1;
  o.shuffle = false;
  PatchLoader loader(data, first(5), o);
  EXPECT_EQ(loader.patch(), (Shape{14, 12, 14}));
  const auto b = loader.next();
  EXPECT_EQ(b->x.shape(), (Shape{5, 1, 14, 12, 14}));
  EXPECT_EQ(item(b->x, 4).to_vector(), data.load(4).image.to_vector());
  // Case 0 has 10 slices, so 2 before and 2 behind are its mirror image.
  const auto got = item(b->x, 0).to_vector(), image = data.load(0).image.to_vector();
  for (std::int64_t z = 0; z < 14; ++z) {
    const std::int64_t source = z < 2 ? 2 - z : z >= 12 ? 20 - z : z - 2;
    for (std::int64_t i = 0; i < 168; ++i)
      ASSERT_EQ(got[static_cast<std::size_t>(z * 168 + i)], image[static_cast<std::size_t>(source * 168 + i)]) << z;
  }
  o.patch = {100, 5, 0};
  EXPECT_EQ(PatchLoader(data, first(5), o).patch(), (Shape{14, 5, 14}));
}

TEST_F(PatchLoaderTest, WhatMakesNoSense) {
  const auto refused = [](auto change) {
    PatchLoaderOptions o = base();
    change(o);
    return error_of([&] { PatchLoader(open(), first(5), o); });
  };
  EXPECT_SAYS(refused([](auto& o) { o.batch = 0; }), "batch 0");
  EXPECT_SAYS(refused([](auto& o) { o.patch = {4, 4}; }), "3 sizes");
  EXPECT_SAYS(refused([](auto& o) { o.patch = {4, -1, 4}; }), "[4,-1,4]");
  EXPECT_SAYS(refused([](auto& o) { o.foreground = 1.5; }), "1.5");
  EXPECT_SAYS(refused([](auto& o) { o.patches_per_case = 0; }), "0 patches");
  EXPECT_SAYS(refused([](auto& o) { o.workers = -1; }), "workers -1");
  EXPECT_SAYS(refused([](auto& o) { o.batch = 30, o.drop_last = true; }), "20 samples make no batch of 30");
  EXPECT_SAYS(error_of([] { PatchLoader(open(), {}, base()); }), "no cases");
  EXPECT_SAYS(error_of([] { PatchLoader(open(), {5}, base()); }), "case 5 of 5");
}

TEST_F(PatchLoaderTest, AnErrorComesWithItsBatchAndAgain) {
  const TempFolder folder;
  write_pairs(folder.path(), 4, false);
  const auto data = open_labelled_dataset(folder.path(), {.head = Head::instances, .cache_bytes = 0});
  PatchLoaderOptions o = base();
  o.batch = 1;
  o.patches_per_case = 1;
  o.shuffle = false;
  o.workers = 2;
  o.prefetch = 1;
  o.patch = {4, 4, 4};
  for (std::int64_t i = 0; i < 4; ++i) data.shape(i);
  spit(folder / "images" / "c2.npy", "no array");
  PatchLoader loader(data, first(4), o);
  EXPECT_TRUE(loader.next());
  EXPECT_TRUE(loader.next());
  for (int again = 0; again < 2; ++again) EXPECT_SAYS(data_error([&] { loader.next(); }), "c2.npy");
}

TEST(PatchCut, MirrorsEverywhere) {
  const Tensor from = from_values(std::vector<float>{0, 1, 2, 3}, {1, 1, 4});
  const Tensor to = empty({1, 1, 13});
  cut(from, {0, 0, -4}, to);
  EXPECT_EQ(to.to_vector(), (std::vector<double>{2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2}));
  const Tensor deep = empty({3, 1, 2});
  cut(from, {-1, 0, 1}, deep);
  EXPECT_EQ(deep.to_vector(), (std::vector<double>{1, 2, 1, 2, 1, 2}));
}

TEST(PatchCut, CountsAndFindsVoxels) {
  LabelledVolume v;
  v.image = empty({1, 2, 2, 3});
  v.labels = from_values(std::vector<std::uint8_t>{0, 2, 2, 0, 1, 2, 0, 0, 2, 2, 2, 0}, {2, 2, 3});
  EXPECT_EQ(count_labels(v), (LabelCounts{{1, 1}, {2, 6}}));
  EXPECT_EQ(voxel_of(v, 1, 0), (Place{0, 1, 1}));
  EXPECT_EQ(voxel_of(v, 2, 3), (Place{1, 0, 2}));
  EXPECT_THROW(voxel_of(v, 1, 1), Error);
  LabelledVolume t;
  t.image = v.image;
  t.target = from_values(std::vector<float>{0, -1, 0, 0, 2, 0, 0, 0, 0.5f, 0, 0, 0}, {2, 2, 3});
  EXPECT_EQ(count_labels(t), (LabelCounts{{1, 2}, {2, 1}}));
  EXPECT_EQ(voxel_of(t, 1, 1), (Place{1, 0, 2}));
}

}  // namespace
