// SPDX-License-Identifier: Apache-2.0
// The way of a batch from the thread that makes it to the device.
#pragma once
#include <initializer_list>
#include <optional>

#include "core/cuda.h"
#include "core/tensor.h"

namespace cuboid {

/// Takes batches to the device on a stream of its own, from page-locked memory: the copy waits for nothing and nothing waits
/// for it but the thread that makes the batch. Belongs to that thread.
class Upload {
#if CUBOID_CUDA
 public:
  explicit Upload(Device device) {
    if (device == Device::cuda) stream_.emplace();
  }
  /// Where to put what will be uploaded.
  Tensor room(const Shape& shape, DType dtype) const {
    return stream_ ? empty_pinned(shape, dtype) : empty(shape, {.dtype = dtype});
  }
  /// Replaces each tensor that is defined by its copy on the device.
  void operator()(std::initializer_list<Tensor*> tensors) const {
    if (!stream_) return;
    const cuda::StreamScope scope(*stream_);
    const Tensors kept = held(tensors);  // until the copies are done
    for (Tensor* t : tensors)
      if (t->defined()) *t = to(*t, Device::cuda);
  }

 private:
  static Tensors held(std::initializer_list<Tensor*> tensors) {
    Tensors all;
    for (const Tensor* t : tensors) all.push_back(*t);
    return all;
  }
  std::optional<cuda::OwnStream> stream_;
#else
 public:
  explicit Upload(Device device) { check<DeviceError>(device == Device::cpu, "loader: this build has no CUDA support"); }
  static Tensor room(const Shape& shape, DType dtype) { return empty(shape, {.dtype = dtype}); }
  void operator()(std::initializer_list<Tensor*>) const {}
#endif
};

}  // namespace cuboid
