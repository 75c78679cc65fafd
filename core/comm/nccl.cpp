// SPDX-License-Identifier: Apache-2.0
// Device memory over NCCL. One communicator serves all streams: its calls come from one thread, in the same order on all ranks.
#include <cuda_runtime.h>
#include <nccl.h>

#include <cstring>
#include <mutex>
#include <thread>

#include "core/comm/wire.h"

namespace cuboid::comm {
namespace {

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
  NcclWire(std::shared_ptr<Watch> watch, const ncclUniqueId& id) : watch_(std::move(watch)) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t status = ncclCommInitRankConfig(&comm_, watch_->size(), id, watch_->rank(), &config);
    try {
      finish("ncclCommInitRankConfig", status);
    } catch (...) {
      abort();
      throw;
    }
  }
  NcclWire(const NcclWire&) = delete;
  NcclWire& operator=(const NcclWire&) = delete;
  ~NcclWire() override {
    try {
      finish("ncclCommFinalize", comm_ ? ncclCommFinalize(comm_) : ncclSuccess);
      if (comm_) ncclCommDestroy(comm_);
    } catch (const Error&) {
      abort();
    }
  }
  const char* name() const override { return "nccl"; }

  void all_reduce(void* data, std::int64_t count, DType dtype, void* stream) override {
    queue("ncclAllReduce", [&] {
      return ncclAllReduce(data, data, static_cast<std::size_t>(count), type_of(dtype), ncclSum, comm_,
                           static_cast<cudaStream_t>(stream));
    });
  }
  void broadcast(void* data, std::int64_t bytes, int root, void* stream) override {
    queue("ncclBroadcast", [&] {
      return ncclBroadcast(data, data, static_cast<std::size_t>(bytes), ncclUint8, root, comm_,
                           static_cast<cudaStream_t>(stream));
    });
  }
  void all_gather(const void* from, void* to, std::int64_t bytes, void* stream) override {
    queue("ncclAllGather", [&] {
      return ncclAllGather(from, to, static_cast<std::size_t>(bytes), ncclUint8, comm_, static_cast<cudaStream_t>(stream));
    });
  }
  void abort() noexcept override {
    const std::scoped_lock lock(guard_);
    if (comm_) ncclCommAbort(comm_);
    comm_ = nullptr;
  }

 private:
  template <class Call>
  void queue(const char* what, const Call& start) {
    ncclResult_t status = ncclSuccess;
    {
      const std::scoped_lock lock(guard_);
      check<DeviceError>(comm_, "nccl: the communicator was given up");
      status = start();
    }
    finish(what, status);
  }
  /// The communicator never blocks; a call is on its stream when this returns. Ends with RankLost where a rank never comes.
  void finish(const char* what, ncclResult_t status) {
    while (status == ncclInProgress) {
      watch_->check_all();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      const std::scoped_lock lock(guard_);
      check<DeviceError>(comm_, "nccl: the communicator was given up");
      if (const ncclResult_t asked = ncclCommGetAsyncError(comm_, &status); asked != ncclSuccess) status = asked;
    }
    if (status == ncclSuccess) return;
    watch_->check_all();
    fail<DeviceError>("nccl: ", what, ": ", ncclGetErrorString(status));
  }

  std::shared_ptr<Watch> watch_;
  std::mutex guard_;  // abort() comes from another thread
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::string nccl_identity() {
  static_assert(sizeof(ncclUniqueId) == nccl_identity_bytes);
  ncclUniqueId id;
  const ncclResult_t status = ncclGetUniqueId(&id);
  check<DeviceError>(status == ncclSuccess, "nccl: ncclGetUniqueId: ", ncclGetErrorString(status));
  return std::string(id.internal, sizeof id.internal);
}

std::shared_ptr<DeviceWire> nccl_wire(std::shared_ptr<Watch> watch, const std::string& identity) {
  ncclUniqueId id;
  std::memcpy(id.internal, identity.data(), sizeof id.internal);
  return std::make_shared<NcclWire>(std::move(watch), id);
}

}  // namespace cuboid::comm
