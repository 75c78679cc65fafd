// SPDX-License-Identifier: Apache-2.0
#include "data/loader_plan.h"

#include <algorithm>

#include "core/error.h"

namespace cuboid {

std::vector<std::int64_t> samples_by_rank(std::int64_t total, int ranks) {
  std::vector<std::int64_t> samples;
  for (std::int64_t r = 0; r < ranks; ++r) samples.push_back(total * (r + 1) / ranks - total * r / ranks);
  return samples;
}

void BatchPlan::validate() const {
  check(batch >= 1, "loader: batch ", batch, " makes no sense");
  check(ranks >= 1 && rank >= 0 && rank < ranks && ranks <= batch, "loader: rank ", rank, " of ", ranks, " for batches of ",
        batch);
  check<DataError>(batches() > 0, "loader: ", samples, " samples make no batch of ", batch);
}

std::int64_t BatchPlan::batches() const {
  const bool drop = drop_last || samples % batch < ranks;
  return drop ? samples / batch : (samples + batch - 1) / batch;
}

std::int64_t BatchPlan::used() const { return std::min(samples, batches() * batch); }

BatchPlan::Part BatchPlan::part(std::int64_t number) const {
  const std::int64_t per_epoch = batches();
  Part p{.epoch = number / per_epoch, .position = number % per_epoch, .total = 0, .first = 0, .count = 0};
  const std::int64_t start = p.position * batch;
  p.total = std::min(batch, samples - start);
  p.first = start + p.total * rank / ranks;
  p.count = start + p.total * (rank + 1) / ranks - p.first;
  return p;
}

}  // namespace cuboid
