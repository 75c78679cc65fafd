// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "core/cuda.h"
#include "core/parallel.h"
#include "core/profiler.h"
#include "core/random.h"

namespace cuboid {
namespace {

constexpr std::uint64_t shuffle_stream = 0x73687566666c65;  // "shuffle"

/// Takes batches to the device on a stream of its own, from page-locked memory: the copy waits for nothing and nothing waits
/// for it but the thread that makes the batch.
class Upload {
#if CUBOID_CUDA
 public:
  explicit Upload(Device device) {
    if (device == Device::cuda) stream_.emplace();
  }
  Tensor room(const Shape& shape, DType dtype) const {
    return stream_ ? empty_pinned(shape, dtype) : empty(shape, {.dtype = dtype});
  }
  void operator()(Batch& b) const {
    if (!stream_) return;
    const cuda::StreamScope scope(*stream_);
    const Tensor x = b.x, labels = b.labels;  // until the copies are done
    for (Tensor* t : {&b.x, &b.labels}) *t = to(*t, Device::cuda);
  }

 private:
  std::optional<cuda::OwnStream> stream_;
#else
 public:
  explicit Upload(Device device) { check<DeviceError>(device == Device::cpu, "loader: this build has no CUDA support"); }
  static Tensor room(const Shape& shape, DType dtype) { return empty(shape, {.dtype = dtype}); }
  void operator()(Batch&) const {}
#endif
};
}  // namespace

/// Batches are numbered through all epochs. Workers take the next number that is not too far ahead of the consumer and put
/// their batch, or the error it met, under it.
struct Loader::Impl {
  Dataset data;
  std::vector<std::int64_t> indices;
  LoaderOptions options;
  std::int64_t per_epoch = 0;
  bool announced_end = false;  // next() has said "end of the epoch" for the batch before `wanted`

  struct Made {
    Batch batch;
    std::exception_ptr error;
  };
  mutable std::mutex guard;  // of all below
  std::condition_variable work, ready;
  std::map<std::int64_t, Made> made;
  std::int64_t wanted = 0, claimed = 0;
  std::atomic<bool> stop = false;  // also looked at between two volumes of a batch
  std::vector<std::thread> threads;
  std::optional<Upload> own_upload;  // without workers

  Batch make(std::int64_t number, const Upload& upload) const {
    const profiler::Range range("make batch");
    Batch b;
    b.epoch = number / per_epoch;
    b.position = number % per_epoch;
    const auto n = static_cast<std::int64_t>(indices.size());
    const std::int64_t start = b.position * options.batch;
    b.total = std::min(options.batch, n - start);
    const std::int64_t first = start + b.total * options.rank / options.ranks;
    const std::int64_t count = start + b.total * (options.rank + 1) / options.ranks - first;
    std::vector<std::int64_t> order;
    if (options.shuffle) order = permutation({options.seed, shuffle_stream, static_cast<std::uint64_t>(b.epoch)}, n);
    for (std::int64_t i = first; i < first + count; ++i)
      b.indices.push_back(indices[static_cast<std::size_t>(order.empty() ? i : order[static_cast<std::size_t>(i)])]);

    const Shape item = data.shape();
    b.x = upload.room({count, item[0], item[1], item[2], item[3]}, DType::f32);
    b.labels = upload.room({count}, DType::i64);
    std::int64_t* labels = b.labels.mutable_data<std::int64_t>();
    for (std::int64_t k = 0; k < count && !stop; ++k) {
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
    if (!stop) upload(b);
    return b;
  }

  void run() {
    const SerialScope serial;
    std::optional<Upload> upload;
    std::unique_lock lock(guard);
    for (;;) {
      work.wait(lock, [&] { return stop || claimed < wanted + std::max(1, options.prefetch); });
      if (stop) return;
      const std::int64_t number = claimed++;
      lock.unlock();
      Made result;
      try {
        if (!upload) upload.emplace(options.device);
        result.batch = make(number, *upload);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (number >= wanted) made[number] = std::move(result);
      ready.notify_all();
    }
  }

  void start() {
    stop = false;
    for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { run(); });
  }
  void halt() {
    {
      const std::scoped_lock lock(guard);
      stop = true;
    }
    work.notify_all();
    for (auto& t : threads) t.join();
    threads.clear();
    made.clear();
  }
  ~Impl() { halt(); }
};

Loader::Loader(Dataset dataset, std::vector<std::int64_t> indices, LoaderOptions options) : p_(std::make_unique<Impl>()) {
  check(options.batch >= 1 && options.workers >= 0 && options.workers <= 256 && options.prefetch >= 0, "loader: batch ",
        options.batch, ", workers ", options.workers, ", prefetch ", options.prefetch, " make no sense");
  for (const auto i : indices) check(i >= 0 && i < dataset.size(), "loader: sample ", i, " of ", dataset.size());
  const auto n = static_cast<std::int64_t>(indices.size());
  check(options.ranks >= 1 && options.rank >= 0 && options.rank < options.ranks && options.ranks <= options.batch,
        "loader: rank ", options.rank, " of ", options.ranks, " for batches of ", options.batch);
  const bool drop_last = options.drop_last || n % options.batch < options.ranks;
  p_->per_epoch = drop_last ? n / options.batch : (n + options.batch - 1) / options.batch;
  check<DataError>(p_->per_epoch > 0, "loader: ", n, " samples make no batch of ", options.batch);
  p_->data = std::move(dataset);
  p_->indices = std::move(indices);
  p_->options = options;
  p_->start();
}
Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

std::int64_t Loader::batches() const { return p_->per_epoch; }
std::int64_t Loader::samples() const {
  const auto n = static_cast<std::int64_t>(p_->indices.size());
  return std::min(n, p_->per_epoch * p_->options.batch);
}

std::vector<std::int64_t> samples_by_rank(std::int64_t total, int ranks) {
  std::vector<std::int64_t> samples;
  for (std::int64_t r = 0; r < ranks; ++r) samples.push_back(total * (r + 1) / ranks - total * r / ranks);
  return samples;
}

std::optional<Batch> Loader::next() {
  const profiler::Range range("loader wait");
  Impl& p = *p_;
  if (p.wanted > 0 && p.wanted % p.per_epoch == 0 && !p.announced_end) {
    p.announced_end = true;
    return std::nullopt;
  }
  Batch batch;
  if (p.options.workers == 0) {
    if (!p.own_upload) p.own_upload.emplace(p.options.device);
    batch = p.make(p.wanted, *p.own_upload);
    ++p.wanted;
  } else {
    std::unique_lock lock(p.guard);
    p.ready.wait(lock, [&] { return p.made.contains(p.wanted); });
    const auto found = p.made.find(p.wanted);
    if (found->second.error) std::rethrow_exception(found->second.error);
    batch = std::move(found->second.batch);
    p.made.erase(found);
    ++p.wanted;
    p.work.notify_one();
  }
  p.announced_end = false;
  return batch;
}

LoaderState Loader::state() const {
  const Impl& p = *p_;
  if (p.wanted > 0 && p.wanted % p.per_epoch == 0 && !p.announced_end) return {p.wanted / p.per_epoch - 1, p.per_epoch};
  return {p.wanted / p.per_epoch, p.wanted % p.per_epoch};
}

void Loader::seek(LoaderState state) {
  Impl& p = *p_;
  check(state.epoch >= 0 && state.position >= 0 && state.position <= p.per_epoch, "loader: no batch at epoch ", state.epoch,
        ", position ", state.position, " (", p.per_epoch, " batches an epoch)");
  p.halt();
  p.wanted = p.claimed = state.epoch * p.per_epoch + state.position;
  p.announced_end = state.position < p.per_epoch;
  p.start();
}

}  // namespace cuboid
