// SPDX-License-Identifier: Apache-2.0
// Batches made ahead of time by worker threads, handed out in their order.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/profiler.h"
#include "data/loader_plan.h"
#include "data/upload.h"

namespace cuboid {

struct PrefetchOptions {
  int workers = 1;   // 0: batches are made in next()
  int prefetch = 2;  // batches that may wait
  Device device = Device::cpu;
};

/// Batches are numbered through all epochs. Workers take the next number that is not too far ahead of the consumer and put
/// their batch, or the error it met, under it.
template <class Batch>
class Prefetch {
 public:
  /// Makes batch `number`; may give up half-way, with whatever it has, when `stop` is true. Called from several threads.
  using Make = std::function<Batch(std::int64_t number, const Upload& upload, const std::atomic<bool>& stop)>;

  Prefetch(std::int64_t per_epoch, PrefetchOptions options, Make make)
      : per_epoch_(per_epoch), options_(options), make_(std::move(make)) {
    check(options.workers >= 0 && options.workers <= 256 && options.prefetch >= 0, "loader: workers ", options.workers,
          ", prefetch ", options.prefetch, " make no sense");
    start();
  }
  ~Prefetch() { halt(); }  // never waits for more than the volume being read
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  std::optional<Batch> next() {
    const profiler::Range range("loader wait");
    if (at_end()) {
      announced_end_ = true;
      return std::nullopt;
    }
    Batch batch;
    if (options_.workers == 0) {
      if (!own_upload_) own_upload_.emplace(options_.device);
      batch = make(wanted_, *own_upload_);
      ++wanted_;
    } else {
      std::unique_lock lock(guard_);
      ready_.wait(lock, [&] { return made_.contains(wanted_); });
      const auto found = made_.find(wanted_);
      if (found->second.error) std::rethrow_exception(found->second.error);
      batch = std::move(found->second.batch);
      made_.erase(found);
      ++wanted_;
      work_.notify_one();
    }
    announced_end_ = false;
    return batch;
  }

  LoaderState state() const {
    if (at_end()) return {wanted_ / per_epoch_ - 1, per_epoch_};
    return {wanted_ / per_epoch_, wanted_ % per_epoch_};
  }

  void seek(LoaderState state) {
    check(state.epoch >= 0 && state.position >= 0 && state.position <= per_epoch_, "loader: no batch at epoch ", state.epoch,
          ", position ", state.position, " (", per_epoch_, " batches an epoch)");
    halt();
    wanted_ = claimed_ = state.epoch * per_epoch_ + state.position;
    announced_end_ = state.position < per_epoch_;
    start();
  }

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };

  /// Whether next() has still to say "end of the epoch" for the batch before.
  bool at_end() const { return wanted_ > 0 && wanted_ % per_epoch_ == 0 && !announced_end_; }

  Batch make(std::int64_t number, const Upload& upload) const {
    const profiler::Range range("make batch");
    return make_(number, upload, stop_);
  }

  void run() {
    const SerialScope serial;
    std::optional<Upload> upload;
    std::unique_lock lock(guard_);
    for (;;) {
      work_.wait(lock, [&] { return stop_ || claimed_ < wanted_ + std::max(1, options_.prefetch); });
      if (stop_) return;
      const std::int64_t number = claimed_++;
      lock.unlock();
      Made result;
      try {
        if (!upload) upload.emplace(options_.device);
        result.batch = make(number, *upload);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (number >= wanted_) made_[number] = std::move(result);
      ready_.notify_all();
    }
  }

  void start() {
    stop_ = false;
    for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { run(); });
  }
  void halt() {
    {
      const std::scoped_lock lock(guard_);
      stop_ = true;
    }
    work_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
    made_.clear();
  }

  const std::int64_t per_epoch_;
  const PrefetchOptions options_;
  const Make make_;
  std::optional<Upload> own_upload_;  // without workers
  bool announced_end_ = false;        // next() has said "end of the epoch" for the batch before `wanted_`
  mutable std::mutex guard_;          // of all below
  std::condition_variable work_, ready_;
  std::map<std::int64_t, Made> made_;
  std::int64_t wanted_ = 0, claimed_ = 0;
  std::atomic<bool> stop_ = false;  // also looked at between two volumes of a batch
  std::vector<std::thread> threads_;
};

}  // namespace cuboid
