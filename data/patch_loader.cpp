// SPDX-License-Identifier: Apache-2.0
#include "data/patch_loader.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/profiler.h"
#include "data/labelled_read.h"
#include "data/patch_cut.h"
#include "data/prefetch.h"

namespace cuboid {
namespace {

constexpr std::uint64_t order_stream = 0x7061746368, place_stream = 0x706c616365;  // "patch", "place"

/// As asked for, 0 along an axis meaning as large as the largest volume, which also is the most.
Shape fitted(Shape patch, const LabelledDataset& data, const std::vector<std::int64_t>& cases) {
  check(patch.rank() == 0 || patch.rank() == 3, "patch loader: a patch has 3 sizes, got ", patch);
  if (patch.rank() == 0) patch = {0, 0, 0};
  Shape largest = {1, 1, 1};
  for (const auto i : cases)
    for (int a = 0; a < 3; ++a) largest[a] = std::max(largest[a], data.shape(i)[a]);
  for (int a = 0; a < 3; ++a) {
    check(patch[a] >= 0, "patch loader: a patch of ", patch);
    patch[a] = patch[a] == 0 ? largest[a] : std::min(patch[a], largest[a]);
  }
  return patch;
}

/// Part `k` of a batch: [..] of b's shape without its first axis.
Tensor slot(const Tensor& batch, std::int64_t k) {
  Shape item;
  for (int a = 1; a < batch.rank(); ++a) item.push_back(batch.dim(a));
  return Tensor(batch.storage(), batch.offset() + k * item.count(), item, dense_strides(item), batch.dtype());
}

/// Into a slot of as many elements: the channel axis may be missing, the type another.
void put(const Tensor& from, const Tensor& slot) {
  copy(from, Tensor(slot.storage(), slot.offset(), from.shape(), dense_strides(from.shape()), slot.dtype()));
}

}  // namespace

struct PatchLoader::Impl {
  LabelledDataset data;
  std::vector<std::int64_t> cases;
  PatchLoaderOptions options;
  Shape patch;
  BatchPlan plan;
  mutable std::mutex guard;
  mutable std::vector<std::optional<LabelCounts>> counts;  // by place in `cases`; counted when first needed
  std::optional<Prefetch<PatchBatch>> prefetch;            // last: its threads use the others

  LabelCounts counts_of(std::size_t i, const LabelledVolume& volume) const {
    {
      const std::scoped_lock lock(guard);
      if (counts[i]) return *counts[i];
    }
    LabelCounts found = count_labels(volume);
    const std::scoped_lock lock(guard);
    counts[i] = found;
    return found;
  }

  ImageAndTruth draw(std::size_t i, std::int64_t sample, std::int64_t epoch) const {
    const LabelledVolume v = [&] {
      const profiler::Range reading("read volume");
      return data.load(cases[i]);
    }();
    const PairDraw moved = draw_pair_augmentation(options.augment, options.seed, epoch, sample);
    Random random(
        RandomKey{options.seed, place_stream, static_cast<std::uint64_t>(epoch)}.derive(static_cast<std::uint64_t>(sample)));
    Place place = draw_place(v, options.foreground > 0 ? counts_of(i, v) : LabelCounts{}, patch, options.foreground, random);
    Shape size = patch;
    if (moved.degrees != 0 || moved.alpha != 0 || moved.zoom != 1)  // flips bring in nothing
      for (std::size_t a = 0; a < 3; ++a) {
        place[a] -= options.margin[a];
        size[static_cast<int>(a)] += 2 * options.margin[a];
      }
    const auto taken = [&](const Tensor& from, const Shape& shape) {
      if (!from.defined()) return Tensor();
      const Tensor to = empty(shape, {.dtype = from.dtype()});
      cut(from, place, to);
      return to;
    };
    const ImageAndTruth p{.image = taken(v.image, {v.image.dim(0), size[0], size[1], size[2]}),
                          .labels = taken(v.labels, size),
                          .target = taken(v.target, size),
                          .spacing = v.spacing_um};
    const profiler::Range augmenting("augment");
    return augment_pair(p, truth_kind(data.head()), moved, options.augment, patch);
  }

  PatchBatch make(std::int64_t number, const Upload& upload, const std::atomic<bool>& stop) const {
    const BatchPlan::Part part = plan.part(number);
    PatchBatch b{.epoch = part.epoch, .position = part.position, .total = part.total};
    const std::int64_t drawn = options.fixed ? 0 : b.epoch;
    std::vector<std::int64_t> order;
    if (options.shuffle) order = permutation({options.seed, order_stream, static_cast<std::uint64_t>(drawn)}, plan.samples);
    const bool classes = data.head() == Head::classes;
    b.x = upload.room({part.count, data.channels(), patch[0], patch[1], patch[2]}, DType::f32);
    if (classes) b.labels = upload.room({part.count, patch[0], patch[1], patch[2]}, DType::i64);
    else b.target = upload.room({part.count, 1, patch[0], patch[1], patch[2]}, DType::f32);
    for (std::int64_t k = 0; k < part.count && !stop; ++k) {
      const std::int64_t at = part.first + k, sample = order.empty() ? at : order[static_cast<std::size_t>(at)];
      // Without shuffling an epoch goes through all cases before it comes to the second patch of one.
      const auto n = static_cast<std::int64_t>(cases.size());
      const auto i = static_cast<std::size_t>(sample % n);
      b.cases.push_back(cases[i]);
      const ImageAndTruth p = draw(i, cases[i] * options.patches_per_case + sample / n, drawn);
      put(p.image, slot(b.x, k));
      put(classes ? p.labels : p.target, slot(classes ? b.labels : b.target, k));
    }
    if (!stop) upload({&b.x, &b.labels, &b.target});
    return b;
  }
};

PatchLoader::PatchLoader(LabelledDataset dataset, std::vector<std::int64_t> cases, PatchLoaderOptions options)
    : p_(std::make_unique<Impl>()) {
  Impl& p = *p_;
  for (const auto i : cases) {
    check(i >= 0 && i < dataset.size(), "patch loader: case ", i, " of ", dataset.size());
    check<DataError>(dataset[i].has_truth(), dataset[i].name, ": has neither labels nor a target");
  }
  check<DataError>(!cases.empty(), "patch loader: no cases");
  check(options.patches_per_case >= 1 && options.foreground >= 0 && options.foreground <= 1,
        "patch loader: ", options.patches_per_case, " patches of a case, a share of ", options.foreground,
        " on labels, make no sense");
  for (const auto m : options.margin) check(m >= 0 && m <= 4096, "patch loader: a margin of ", m);
  p.plan = {.samples = static_cast<std::int64_t>(cases.size()) * options.patches_per_case,
            .batch = options.batch,
            .drop_last = options.drop_last,
            .rank = options.rank,
            .ranks = options.ranks};
  p.plan.validate();
  p.patch = fitted(options.patch, dataset, cases);
  p.counts.resize(cases.size());
  p.data = std::move(dataset);
  p.cases = std::move(cases);
  p.options = std::move(options);
  const PrefetchOptions ahead{.workers = p.options.workers, .prefetch = p.options.prefetch, .device = p.options.device};
  p.prefetch.emplace(p.plan.batches(), ahead, [&p](std::int64_t number, const Upload& upload, const std::atomic<bool>& stop) {
    return p.make(number, upload, stop);
  });
}
PatchLoader::~PatchLoader() = default;
PatchLoader::PatchLoader(PatchLoader&&) noexcept = default;
PatchLoader& PatchLoader::operator=(PatchLoader&&) noexcept = default;

std::int64_t PatchLoader::batches() const { return p_->plan.batches(); }
std::int64_t PatchLoader::samples() const { return p_->plan.used(); }
Shape PatchLoader::patch() const { return p_->patch; }
std::optional<PatchBatch> PatchLoader::next() { return p_->prefetch->next(); }
LoaderState PatchLoader::state() const { return p_->prefetch->state(); }
void PatchLoader::seek(LoaderState state) { p_->prefetch->seek(state); }

}  // namespace cuboid
