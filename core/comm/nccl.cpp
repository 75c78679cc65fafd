// SPDX-License-Identifier: Apache-2.0
// Device memory over NCCL. One communicator serves all streams: its calls come from one thread, in the same order on all ranks.
#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <cstring>

#include "core/comm/wire.h"

namespace cuboid::comm {
namespace {

void call(ncclResult_t status, const char* what) {
  check<DeviceError>(status == ncclSuccess || status == ncclInProgress, "nccl: ", what, ": ", ncclGetErrorString(status));
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f16:
      return ncclFloat16;
    case DType::i64:
      return ncclInt64;
    case DType::i32:
      return ncclInt32;
    case DType::u8:
      return ncclUint8;
  }
  fail("nccl: not a dtype: ", static_cast<int>(dtype));
}

class NcclWire : public DeviceWire {
 public:
  NcclWire(int rank, int size, const ncclUniqueId& id) {
    ncclComm_t comm = nullptr;
    call(ncclCommInitRank(&comm, size, id, rank), "ncclCommInitRank");
    comm_ = comm;
  }
  NcclWire(const NcclWire&) = delete;
  NcclWire& operator=(const NcclWire&) = delete;
  ~NcclWire() override {
    if (ncclComm_t comm = comm_.exchange(nullptr)) ncclCommDestroy(comm);
  }
  const char* name() const override { return "nccl"; }

  void all_reduce(void* data, std::int64_t count, DType dtype, void* stream) override {
    call(ncclAllReduce(data, data, static_cast<std::size_t>(count), type_of(dtype), ncclSum, comm(), queue(stream)),
         "ncclAllReduce");
  }
  void broadcast(void* data, std::int64_t bytes, int root, void* stream) override {
    call(ncclBroadcast(data, data, static_cast<std::size_t>(bytes), ncclUint8, root, comm(), queue(stream)), "ncclBroadcast");
  }
  void all_gather(const void* from, void* to, std::int64_t bytes, void* stream) override {
    call(ncclAllGather(from, to, static_cast<std::size_t>(bytes), ncclUint8, comm(), queue(stream)), "ncclAllGather");
  }
  void abort() noexcept override {
    if (ncclComm_t comm = comm_.exchange(nullptr)) ncclCommAbort(comm);
  }

 private:
  static cudaStream_t queue(void* stream) { return static_cast<cudaStream_t>(stream); }
  ncclComm_t comm() const {
    ncclComm_t comm = comm_;
    check<DeviceError>(comm, "nccl: the communicator was given up");
    ncclResult_t state = ncclSuccess;
    ncclCommGetAsyncError(comm, &state);
    call(state, "a call before this one");
    return comm;
  }
  std::atomic<ncclComm_t> comm_ = nullptr;
};

}  // namespace

std::string nccl_identity() {
  static_assert(sizeof(ncclUniqueId) == nccl_identity_bytes);
  ncclUniqueId id;
  call(ncclGetUniqueId(&id), "ncclGetUniqueId");
  return std::string(id.internal, sizeof id.internal);
}

std::shared_ptr<DeviceWire> nccl_wire(int rank, int size, const std::string& identity) {
  ncclUniqueId id;
  std::memcpy(id.internal, identity.data(), sizeof id.internal);
  return std::make_shared<NcclWire>(rank, size, id);
}

}  // namespace cuboid::comm
