// SPDX-License-Identifier: Apache-2.0
// Batches, made ahead of time by worker threads. What a batch contains depends on (seed, epoch, position) only.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/loader_plan.h"

namespace cuboid {

struct Batch {
  Tensor x;                           // B,C,D,H,W f32
  Tensor labels;                      // B i64
  std::vector<std::int64_t> indices;  // of the samples in the dataset
  std::int64_t epoch = 0, position = 0;
  std::int64_t total = 0;  // samples of this batch on all ranks
};

struct LoaderOptions {
  std::int64_t batch = 8;  // of all ranks together
  bool shuffle = false;
  bool drop_last = false;  // a last batch that is not full is left out
  std::uint64_t seed = 42;
  int workers = 1;   // 0: batches are made in next()
  int prefetch = 2;  // batches that may wait
  AugmentOptions augment = AugmentOptions::none();
  Device device = Device::cpu;  // where x and labels lie; the worker copies them there while earlier batches are used
  /// One of several processes that share each batch. A last batch with fewer samples than ranks is left out, because a rank
  /// without any could not take part in the step; with `shuffle` other samples are left out in the next epoch.
  int rank = 0, ranks = 1;
};

class Loader {
 public:
  /// `indices` are the samples of one part of a fold.
  Loader(Dataset dataset, std::vector<std::int64_t> indices, LoaderOptions options = {});
  ~Loader();  // never waits for more than the volume being read
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  /// Batches in an epoch.
  std::int64_t batches() const;
  /// Samples in an epoch, on all ranks.
  std::int64_t samples() const;
  /// The next batch, or nothing at the end of an epoch; the call after that begins the next epoch.
  /// An error while reading is thrown here, as the type it had, at the batch it belongs to, and again on each later call.
  std::optional<Batch> next();
  /// Also between an epoch's last batch and the nothing that follows it: position == batches() then.
  LoaderState state() const;
  void seek(LoaderState state);

 private:
  struct Impl;
  std::unique_ptr<Impl> p_;
};

}  // namespace cuboid
