// SPDX-License-Identifier: Apache-2.0
// How samples make batches, and how several processes share them.
#pragma once
#include <cstdint>
#include <vector>

namespace cuboid {

/// The next batch to come; all that is needed to continue.
struct LoaderState {
  std::int64_t epoch = 0, position = 0;
};

/// How `total` samples in a row are dealt to so many ranks: rank r gets [total * r / ranks, total * (r + 1) / ranks).
std::vector<std::int64_t> samples_by_rank(std::int64_t total, int ranks);

/// Batches of `batch` samples of all ranks together; one with fewer samples than ranks is left out, because a rank without any
/// could not take part in the step.
struct BatchPlan {
  std::int64_t samples = 0;  // in an epoch, before any is left out
  std::int64_t batch = 1;
  bool drop_last = false;
  int rank = 0, ranks = 1;

  /// Throws Error when the numbers make no sense, DataError when they make no batch.
  void validate() const;
  std::int64_t batches() const;
  /// Samples of an epoch that come up, on all ranks.
  std::int64_t used() const;

  struct Part {
    std::int64_t epoch, position, total;  // total: samples of this batch on all ranks
    std::int64_t first, count;            // this rank's, as places in the epoch's order
  };
  /// Batches are numbered through all epochs.
  Part part(std::int64_t number) const;
};

}  // namespace cuboid
