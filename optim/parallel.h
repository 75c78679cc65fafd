// SPDX-License-Identifier: Apache-2.0
// Data parallel training: every rank has the same weights and its own part of each batch.
//
//   const Group group(launch_of_environment());
//   DataParallel parallel(net, group);                           // rank 0's weights everywhere
//   parallel.begin(samples_by_rank);
//   parallel.backward(loss * (own_samples / all_samples));       // the parts' losses add up to that of the whole batch
//   optimiser.step();                                            // the same step everywhere
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "core/comm/group.h"
#include "kernels/norm/ranks.h"
#include "layers/module.h"

namespace cuboid {

struct ParallelOptions {
  std::int64_t bucket_bytes = 25 << 20;       // gradients that travel together
  std::int64_t first_bucket_bytes = 1 << 20;  // the first leaves early, so that there is something to overlap
  bool synchronise_norm = true;               // batch norm over the samples of all ranks
};

class DataParallel {
 public:
  /// Takes over rank 0's weights and buffers. All ranks must make it with the same net and options; net and group must outlive
  /// it.
  DataParallel(Module& net, const Group& group, ParallelOptions options = {});
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;
  ~DataParallel();

  /// Before each forward pass: how many samples every rank has, the same list everywhere. A rank must have at least one.
  void begin(const std::vector<std::int64_t>& samples);
  /// The same, when only one's own number is known; asks the others.
  void begin(std::int64_t own_samples);

  /// cuboid::backward, after which each parameter's gradient is the sum over the ranks, the same bits on all of them. What was
  /// there before is added in first. Sums travel while the sweep goes on. A parameter that the loss does not depend on gets
  /// zeros.
  void backward(const Tensor& loss);
  /// Gradients that have been gathered so far and belong to this rank alone: rank 0 gets the sum, the others none.
  void collect();
  /// Running statistics as rank 0 has them. Needed without synchronise_norm only, before they are used.
  void broadcast_buffers();

  std::size_t buckets() const { return buckets_.size(); }
  /// For tests: buckets that were on their way before the last sweep was done.
  std::size_t sent_early() const { return sent_early_; }

 private:
  struct Bucket {
    Tensors parameters;
    std::vector<std::int64_t> offsets;
    std::int64_t count = 0;
    // of the sweep at hand
    Tensor flat;
    std::vector<bool> filled;
    std::size_t missing = 0;
    std::unique_ptr<Pending> pending;
  };
  Tensor slot(const Bucket& bucket, std::size_t i) const;
  void open(Bucket& bucket);
  void arrived(const Tensor& leaf);
  void send_ready();

  Module& net_;
  const Group& group_;
  std::unique_ptr<Group> behind_;  // for gradients, while batch norm uses the group
  std::shared_ptr<NormRanks> norm_;
  std::vector<Bucket> buckets_;                                          // in the order in which gradients come
  std::map<const void*, std::pair<std::size_t, std::size_t>> place_of_;  // parameter -> bucket and place in it
  std::size_t next_ = 0, sent_early_ = 0;                                // the next bucket to be sent
};

/// A seed for what should differ between the ranks (dropout); rank 0's is `seed` itself.
std::uint64_t rank_seed(std::uint64_t seed, int rank);

}  // namespace cuboid
