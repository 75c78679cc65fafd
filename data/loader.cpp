// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <cstring>

#include "core/profiler.h"
#include "core/random.h"
#include "data/prefetch.h"

namespace cuboid {
namespace {

constexpr std::uint64_t shuffle_stream = 0x73687566666c65;  // "shuffle"

}  // namespace

struct Loader::Impl {
  Dataset data;
  std::vector<std::int64_t> indices;
  LoaderOptions options;
  BatchPlan plan;
  std::optional<Prefetch<Batch>> prefetch;  // last: its threads use the others

  Batch make(std::int64_t number, const Upload& upload, const std::atomic<bool>& stop) const {
    const BatchPlan::Part part = plan.part(number);
    Batch b;
    b.epoch = part.epoch;
    b.position = part.position;
    b.total = part.total;
    std::vector<std::int64_t> order;
    if (options.shuffle) order = permutation({options.seed, shuffle_stream, static_cast<std::uint64_t>(b.epoch)}, plan.samples);
    for (std::int64_t i = part.first; i < part.first + part.count; ++i)
      b.indices.push_back(indices[static_cast<std::size_t>(order.empty() ? i : order[static_cast<std::size_t>(i)])]);

    const Shape item = data.shape();
    b.x = upload.room({part.count, item[0], item[1], item[2], item[3]}, DType::f32);
    b.labels = upload.room({part.count}, DType::i64);
    std::int64_t* labels = b.labels.mutable_data<std::int64_t>();
    for (std::int64_t k = 0; k < part.count && !stop; ++k) {
      const std::int64_t i = b.indices[static_cast<std::size_t>(k)];
      labels[k] = data[i].label;
      const Tensor volume = [&] {
        const profiler::Range reading("read volume");
        return data.load(i);
      }();
      const Tensor slot(b.x.storage(), k * item.count(), item, dense_strides(item), DType::f32);
      const profiler::Range augmenting("augment");
      if (options.augment.identity())
        std::memcpy(slot.mutable_data<float>(), volume.data<float>(), static_cast<std::size_t>(volume.view().bytes()));
      else augment(volume, slot, draw_augmentation(options.augment, options.seed, b.epoch, i), options.augment);
    }
    if (!stop) upload({&b.x, &b.labels});
    return b;
  }
};

Loader::Loader(Dataset dataset, std::vector<std::int64_t> indices, LoaderOptions options) : p_(std::make_unique<Impl>()) {
  Impl& p = *p_;
  for (const auto i : indices) check(i >= 0 && i < dataset.size(), "loader: sample ", i, " of ", dataset.size());
  p.plan = {.samples = static_cast<std::int64_t>(indices.size()),
            .batch = options.batch,
            .drop_last = options.drop_last,
            .rank = options.rank,
            .ranks = options.ranks};
  p.plan.validate();
  p.data = std::move(dataset);
  p.indices = std::move(indices);
  p.options = options;
  const PrefetchOptions ahead{.workers = options.workers, .prefetch = options.prefetch, .device = options.device};
  p.prefetch.emplace(p.plan.batches(), ahead, [&p](std::int64_t number, const Upload& upload, const std::atomic<bool>& stop) {
    return p.make(number, upload, stop);
  });
}
Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

std::int64_t Loader::batches() const { return p_->plan.batches(); }
std::int64_t Loader::samples() const { return p_->plan.used(); }
std::optional<Batch> Loader::next() { return p_->prefetch->next(); }
LoaderState Loader::state() const { return p_->prefetch->state(); }
void Loader::seek(LoaderState state) { p_->prefetch->seek(state); }

}  // namespace cuboid
