// SPDX-License-Identifier: Apache-2.0
// The processes that compute together ("ranks"), and what they do with each other's tensors. All ranks call the same functions
// in the same order, with tensors of the same shape, dtype and layout. Sums are taken in the order of the ranks: they are the
// same bits on every rank and in every run.
//
// Tensors on the CPU travel over TCP, or over MPI where mpirun or srun started the processes; those on a CUDA device over NCCL
// where the build has it, otherwise by way of the host.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/comm/launch.h"
#include "core/tensor.h"

namespace cuboid {

/// Another process of the group is gone, or hangs; the text names it. The group is of no use afterwards.
struct RankLost : Error {
  using Error::Error;
};

struct JoinOptions {
  Device device = Device::cpu;  // cuda: its tensors are exchanged too
  /// Called once, from a thread of the group, as soon as a rank is lost; this thread learns of it in its next call as RankLost.
  std::function<void(const std::string& what)> on_lost = {};
};

/// Something that was started and is not yet done.
class Pending {
 public:
  virtual ~Pending() = default;
  /// On return the tensor may be used: by anyone on the CPU, by work queued on the current stream on a device. Rethrows.
  virtual void wait() = 0;
};

class Group {
 public:
  /// This process alone.
  Group();
  /// Meets the others. Error when that fails: who did not come, who was told something else.
  explicit Group(const Launch& launch, JoinOptions options = {});
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  /// Others that still wait for this rank get RankLost; where an exception is on its way, they are told so.
  ~Group();

  int rank() const;
  int size() const;
  bool first() const { return rank() == 0; }
  /// "none", "tcp", "mpi"; and for device tensors "nccl" behind a plus.
  std::string transport() const;

  /// x becomes the sum over all ranks. x must lie densely.
  void all_reduce(const Tensor& x) const;
  /// The same, going on behind the caller's back, in the order of the calls; x must not be touched until wait().
  std::unique_ptr<Pending> start_all_reduce(const Tensor& x) const;
  /// x becomes that of rank `root`.
  void broadcast(const Tensor& x, int root = 0) const;
  std::string broadcast(const std::string& text, int root = 0) const;
  /// [size, shape of x...], by rank.
  Tensor all_gather(const Tensor& x) const;
  /// Returns when all have come here.
  void barrier() const;

  /// A second group of the same ranks whose calls are ordered among themselves only, for another thread or for work behind the
  /// first one's back. Every rank must ask for it.
  std::unique_ptr<Group> another() const;

 private:
  struct Impl;
  explicit Group(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> p_;
};

}  // namespace cuboid
