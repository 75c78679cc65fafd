// SPDX-License-Identifier: Apache-2.0
// What a kernel sees: a pointer with type, dimensions and strides. Never owns; knows nothing of autograd.
#pragma once
#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace cuboid {

struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Shape shape;
  Strides strides;  // in elements

  int rank() const { return shape.rank(); }
  std::int64_t dim(int i) const { return shape[i]; }
  std::int64_t stride(int i) const { return strides[i]; }
  std::int64_t size() const { return shape.count(); }
  std::int64_t bytes() const { return size() * size_of(dtype); }
  /// True when the elements lie densely in this layout (dimensions of size 1 may have any stride).
  bool is(Layout layout) const {
    const Strides dense = dense_strides(shape, layout);
    for (int i = 0; i < rank(); ++i)
      if (shape[i] != 1 && strides[i] != dense[i]) return false;
    return true;
  }
  /// The layout for a result made from this: channels-last when the channels lie next to each other, also in a slice of
  /// them. With a single channel both layouts are the same memory; the stride of that dimension then tells what is meant.
  Layout layout() const {
    if (rank() < 3 || strides[1] != 1) return Layout::contiguous;
    for (int i = 2; i < rank(); ++i)
      if (shape[i] > 1) return Layout::channels_last;
    return Layout::contiguous;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

/// A View the kernel writes to. A type of its own so that dispatch can tell results from arguments.
struct Out : View {
  explicit Out(const View& v) : View(v) {}
};

}  // namespace cuboid
