// SPDX-License-Identifier: Apache-2.0
// The one value type: a shared handle on storage, shape, strides and type, with an optional place in the
// derivative graph. Copying a Tensor copies the handle.
#pragma once
#include <memory>
#include <vector>

#include "core/view.h"

namespace cuboid {

/// Memory of one or several tensors. `attachment` is kernel-private data derived from the content (packed weights,
/// say); it is dropped when the content changes.
struct Storage {
  Storage(std::int64_t size, Device where) : data(allocate(size, where)), bytes(size), device(where) {}
  /// Page-locked, on the CPU.
  struct Pinned {};
  Storage(std::int64_t size, Pinned) : data(allocate_pinned(size)), bytes(size), device(Device::cpu), pinned(true) {}
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() { pinned ? deallocate_pinned(data) : deallocate(data, device); }

  void* data;
  std::int64_t bytes;
  Device device;
  bool pinned = false;
  std::shared_ptr<void> attachment;
};

struct Node;  // core/autograd.h
class Tensor;
using Tensors = std::vector<Tensor>;

struct TensorOptions {
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Layout layout = Layout::contiguous;
};

class Tensor {
 public:
  Tensor() = default;
  /// A tensor over existing memory; used by views and by empty().
  Tensor(std::shared_ptr<Storage> storage, std::int64_t offset, Shape shape, Strides strides, DType dtype);

  bool defined() const { return p_ != nullptr; }
  const Shape& shape() const { return p_->shape; }
  const Strides& strides() const { return p_->strides; }
  std::int64_t dim(int i) const { return p_->shape[i]; }
  int rank() const { return p_->shape.rank(); }
  std::int64_t size() const { return p_->shape.count(); }
  DType dtype() const { return p_->dtype; }
  Device device() const { return p_->storage->device; }
  TensorOptions options() const { return {dtype(), device(), view().layout()}; }
  bool is(Layout layout) const { return view().is(layout); }
  const std::shared_ptr<Storage>& storage() const { return p_->storage; }
  std::int64_t offset() const { return p_->offset; }  // of the first element, in elements

  /// For reading.
  View view() const;
  /// For writing: whatever kernels derived from the old content is dropped.
  Out mutate() const;
  /// First element, for reading; T must be the dtype and the data on the CPU.
  template <class T>
  const T* data() const {
    return static_cast<const T*>(checked_data(dtype_of<T>()));
  }
  /// First element, for writing.
  template <class T>
  T* mutable_data() const {
    p_->storage->attachment.reset();
    return static_cast<T*>(checked_data(dtype_of<T>()));
  }
  /// The only element, whatever its dtype.
  double item() const;
  /// All elements in row-major order as doubles; for tests and small results.
  std::vector<double> to_vector() const;

  /// True when a derivative can flow into this tensor.
  bool requires_grad() const { return p_ && (p_->leaf_grad || p_->node); }
  /// Makes this a leaf to differentiate by (floating types only).
  Tensor& requires_grad(bool on);
  bool is_leaf() const { return !p_->node; }
  const std::shared_ptr<Node>& node() const { return p_->node; }
  /// The same data outside the derivative graph.
  Tensor detach() const;
  /// What backward() accumulated; undefined before. Only leaves have one.
  Tensor& grad() const;
  /// True when nobody else sees the memory and each element has its own place in it (an expanded tensor's have not): it may be
  /// written over.
  bool exclusive() const {
    return p_.use_count() == 1 && storage().use_count() == 1 && size() * size_of(dtype()) == storage()->bytes;
  }
  /// Identity in the derivative graph: two handles of one value agree. Stable while any handle lives.
  const void* id() const { return p_->node ? static_cast<const void*>(p_->node.get()) : p_.get(); }

 private:
  friend struct GraphAccess;
  struct Impl {
    std::shared_ptr<Storage> storage;
    std::int64_t offset = 0;
    Shape shape;
    Strides strides;
    DType dtype = DType::f32;
    bool leaf_grad = false;
    std::shared_ptr<Node> node;
    std::unique_ptr<Tensor> grad;
    ~Impl();
  };
  void* checked_data(DType expected) const;
  std::shared_ptr<Impl> p_;
};

// ---- making tensors ---------------------------------------------------------------------------
Tensor empty(const Shape& shape, TensorOptions options = {});
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor full(const Shape& shape, double value, TensorOptions options = {});
/// Row major, on the CPU, page-locked where there is a device: for copies that run while the host goes on.
Tensor empty_pinned(const Shape& shape, DType dtype = DType::f32);
/// Uninitialised, with x's dtype and device and, when x is dense, its memory order.
Tensor empty_like(const Tensor& x);
/// The same with another dtype.
Tensor empty_like(const Tensor& x, DType dtype);
Tensor zeros_like(const Tensor& x);
/// Same dtype, device and layout as x, another shape.
Tensor empty_like(const Tensor& x, const Shape& shape);
/// Row-major copy of `values`.
template <class T>
Tensor from_values(const std::vector<T>& values, const Shape& shape) {
  check(static_cast<std::int64_t>(values.size()) == shape.count(), "from_values: ", values.size(), " values for shape ", shape);
  Tensor t = empty(shape, {.dtype = dtype_of<T>()});
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t;
}

// ---- the few operations the core itself needs; none of them but `add` is recorded ----------------
void fill(const Tensor& x, double value);
/// Copies and converts: any dtypes, any strides, any devices, equal shapes.
void copy(const Tensor& from, const Tensor& to);
/// target += x, same shape and dtype; adds in x's order, so it does not depend on threads.
void add_into(const Tensor& target, const Tensor& x);
/// x on another device (x itself where it is there already), in its memory order; differentiable.
Tensor to(const Tensor& x, Device device);
/// a + b of equal shapes, differentiable.
Tensor add(const Tensor& a, const Tensor& b);
/// The same, into a's memory when no one else holds it.
Tensor add(Tensor&& a, const Tensor& b);

}  // namespace cuboid
