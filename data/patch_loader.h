// SPDX-License-Identifier: Apache-2.0
// Batches of patches cut from labelled volumes, made ahead of time by worker threads. What a batch contains depends on
// (seed, epoch, position) only.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "data/augment_labelled.h"
#include "data/labelled.h"
#include "data/loader_plan.h"

namespace cuboid {

struct PatchBatch {
  Tensor x;                         // B,C,D,H,W f32, normalised
  Tensor target;                    // B,1,D,H,W f32, µm; undefined for Head::classes
  Tensor labels;                    // B,D,H,W i64; only for Head::classes
  std::vector<std::int64_t> cases;  // of the dataset, one per patch
  std::int64_t epoch = 0, position = 0;
  std::int64_t total = 0;  // patches of this batch on all ranks
};

struct PatchLoaderOptions {
  std::int64_t batch = 2;             // of all ranks together
  Shape patch = {};                   // D,H,W; empty, or 0 along an axis: as large as the largest volume
  std::int64_t patches_per_case = 1;  // of each case in an epoch
  /// Share of the patches that are centred on a labelled voxel, of a label drawn evenly among those the case has; the others lie
  /// anywhere.
  double foreground = 0.33;
  bool shuffle = true;
  bool drop_last = false;
  bool fixed = false;  // the same patches in every epoch (validation)
  std::uint64_t seed = 42;
  int workers = 1;   // 0: batches are made in next()
  int prefetch = 2;  // batches that may wait
  PairAugmentOptions augment = PairAugmentOptions::none();
  /// Voxels on each side (z,y,x) that augmentation sees and the batch does not: what a rotation turns into view, and what
  /// distances near the patch's border are measured to.
  std::array<std::int64_t, 3> margin{};
  Device device = Device::cpu;
  int rank = 0, ranks = 1;
};

/// Cases that are smaller than the patch are continued by their mirror image, in image, labels and target alike.
class PatchLoader {
 public:
  /// `cases` are those of one part of the dataset.
  PatchLoader(LabelledDataset dataset, std::vector<std::int64_t> cases, PatchLoaderOptions options = {});
  ~PatchLoader();
  PatchLoader(PatchLoader&&) noexcept;
  PatchLoader& operator=(PatchLoader&&) noexcept;

  /// Batches in an epoch.
  std::int64_t batches() const;
  /// Patches in an epoch, on all ranks.
  std::int64_t samples() const;
  /// D,H,W of every patch: as asked for, but no larger than the largest volume. Loads every case when an axis was left open.
  Shape patch() const;
  /// The next batch, or nothing at the end of an epoch; the call after that begins the next epoch. An error while reading is
  /// thrown here, at the batch it belongs to, and again on each later call.
  std::optional<PatchBatch> next();
  /// Also between an epoch's last batch and the nothing that follows it: position == batches() then.
  LoaderState state() const;
  void seek(LoaderState state);

 private:
  struct Impl;
  std::unique_ptr<Impl> p_;
};

}  // namespace cuboid
