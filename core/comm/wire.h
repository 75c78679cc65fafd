// SPDX-License-Identifier: Apache-2.0
// What a group is made of: who carries bytes between processes, and who carries a device's.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/comm/watch.h"
#include "core/cuda.h"

namespace cuboid::comm {

struct Transfer {
  int peer;
  void* data;
  std::int64_t bytes;
};

/// Host memory. One thread at a time.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual const char* name() const = 0;
  /// At most one transfer to and one from each peer; returns when all are through. Throws RankLost.
  virtual void exchange(const std::vector<Transfer>& sends, const std::vector<Transfer>& receives) = 0;
  /// Another one that does not get in this one's way.
  virtual std::unique_ptr<Wire> another() = 0;
};

/// Over the connections of the rendezvous.
std::unique_ptr<Wire> tcp_wire(std::shared_ptr<Watch> watch);

// ---- mpi.cpp -----------------------------------------------------------------------------------
#if CUBOID_MPI
/// Starts MPI; takes rank and size from it.
void mpi_start(Launch& launch);
/// `text` of rank 0, before there is a Watch.
std::string mpi_broadcast(const std::string& text);
/// Ends MPI with the last wire made from this one, unless a rank was lost.
std::unique_ptr<Wire> mpi_wire(std::shared_ptr<Watch> watch);
#endif

// ---- nccl.cpp ----------------------------------------------------------------------------------
/// A device's memory; everything is queued on the given stream, in the same order on all ranks.
class DeviceWire {
 public:
  virtual ~DeviceWire() = default;
  virtual const char* name() const = 0;
  virtual void all_reduce(void* data, std::int64_t count, DType dtype, void* stream) = 0;
  virtual void broadcast(void* data, std::int64_t bytes, int root, void* stream) = 0;
  virtual void all_gather(const void* from, void* to, std::int64_t bytes, void* stream) = 0;
  /// Makes what is queued come to an end with an error; from any thread.
  virtual void abort() noexcept = 0;
};
#if CUBOID_NCCL
inline constexpr std::int64_t nccl_identity_bytes = 128;
/// `identity`: rank 0's nccl_identity().
std::shared_ptr<DeviceWire> nccl_wire(std::shared_ptr<Watch> watch, const std::string& identity);
std::string nccl_identity();
#endif

}  // namespace cuboid::comm
