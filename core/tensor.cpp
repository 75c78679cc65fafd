// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <cstring>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/profiler.h"
#include "core/strided.h"

namespace cuboid {

Tensor::Tensor(std::shared_ptr<Storage> storage, std::int64_t offset, Shape shape, Strides strides, DType dtype)
    : p_(std::make_shared<Impl>()) {
  p_->storage = std::move(storage);
  p_->offset = offset;
  p_->shape = shape;
  p_->strides = strides;
  p_->dtype = dtype;
}

View Tensor::view() const {
  check(defined(), "tensor: undefined");
  return {static_cast<char*>(p_->storage->data) + p_->offset * size_of(p_->dtype), p_->dtype, device(), p_->shape, p_->strides};
}

Out Tensor::mutate() const {
  Out out(view());
  p_->storage->attachment.reset();
  return out;
}

void* Tensor::checked_data(DType expected) const {
  const View v = view();
  check(v.dtype == expected, "data: tensor holds ", v.dtype, ", asked for ", expected);
  check(v.device == Device::cpu, "data: tensor is on ", v.device, "; copy it to the CPU first");
  return v.data;
}

Tensor& Tensor::requires_grad(bool on) {
  check(!on || is_floating(dtype()), "requires_grad: ", dtype(), " has no derivative");
  p_->leaf_grad = on;
  return *this;
}

Tensor Tensor::detach() const { return Tensor(p_->storage, p_->offset, p_->shape, p_->strides, p_->dtype); }

Tensor& Tensor::grad() const {
  if (!p_->grad) p_->grad = std::make_unique<Tensor>();
  return *p_->grad;
}

double Tensor::item() const {
  const profiler::Range range("read value");
  check(size() == 1, "item: tensor has shape ", shape());
  return to_vector().front();
}

std::vector<double> Tensor::to_vector() const {
  std::vector<double> values(static_cast<std::size_t>(size()));
  Tensor dense = empty(shape(), {.dtype = DType::f64});
  copy(*this, dense);
  if (!values.empty()) std::memcpy(values.data(), dense.data<double>(), values.size() * sizeof(double));
  return values;
}

// ---- making tensors ---------------------------------------------------------------------------

Tensor empty(const Shape& shape, TensorOptions o) {
  std::int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.count(), size_of(o.dtype), &bytes), "empty: shape ", shape, " overflows");
  return Tensor(std::make_shared<Storage>(bytes, o.device), 0, shape, dense_strides(shape, o.layout), o.dtype);
}

Tensor empty_pinned(const Shape& shape, DType dtype) {
  std::int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.count(), size_of(dtype), &bytes), "empty: shape ", shape, " overflows");
  return Tensor(std::make_shared<Storage>(bytes, Storage::Pinned()), 0, shape, dense_strides(shape, Layout::contiguous), dtype);
}

Tensor full(const Shape& shape, double value, TensorOptions o) {
  Tensor t = empty(shape, o);
  fill(t, value);
  return t;
}
Tensor zeros(const Shape& shape, TensorOptions o) { return full(shape, 0, o); }

Tensor empty_like(const Tensor& x) { return empty_like(x, x.dtype()); }
namespace {

/// Dense strides in x's order of dimensions; where x is not dense, channels-last or row major.
Strides dense_as(const Tensor& x) {
  const auto order = by_stride(x.strides());
  Strides strides = x.strides();
  std::int64_t step = 1;
  for (int k = x.rank() - 1; k >= 0; --k) {
    const int d = order[static_cast<std::size_t>(k)];
    if (x.dim(d) != 1 && x.strides()[d] != step) return dense_strides(x.shape(), x.view().layout());
    if (x.dim(d) != 1) strides[d] = step;
    step *= x.dim(d);
  }
  return strides;
}

Tensor empty_with(const Shape& shape, const Strides& dense, DType dtype, Device device) {
  return Tensor(empty(shape, {dtype, device}).storage(), 0, shape, dense, dtype);
}

}  // namespace

Tensor empty_like(const Tensor& x, DType dtype) { return empty_with(x.shape(), dense_as(x), dtype, x.device()); }
Tensor empty_like(const Tensor& x, const Shape& shape) { return empty(shape, {x.dtype(), x.device(), x.view().layout()}); }
Tensor zeros_like(const Tensor& x) {
  Tensor t = empty_like(x);
  fill(t, 0);
  return t;
}

// ---- fill, copy, add --------------------------------------------------------------------------

void fill(const Tensor& x, double value) {
  if (x.size() == 0) return;
  const Out o = x.mutate();
  const profiler::Span span(o.device, "fill", "core", 0, static_cast<double>(o.bytes()));
#if CUBOID_CUDA
  if (o.device == Device::cuda) return cuda::fill(o, value);
#endif
  visit(x.dtype(), [&]<class T>() {
    const T v = convert<T>(value);
    const StridedLoop<1> loop({o});
    const std::int64_t step = loop.steps()[0];
    loop.each_row([&](const auto& at, std::int64_t n) {
      T* p = o.as<T>() + at[0];
      if (step == 1) std::fill_n(p, n, v);
      else
        for (std::int64_t i = 0; i < n; ++i) p[i * step] = v;
    });
  });
}

namespace {

/// The dimension along which elements lie next to each other, or -1.
int dense_dimension(const View& v) {
  for (int d = 0; d < v.rank(); ++d)
    if (v.strides[d] == 1 && v.shape[d] > 1) return d;
  return -1;
}

/// One layout to another: `a` is dense in `out`, `b` in `in`. Goes through the plane of the two in squares, so that each
/// cache line is read once and written once.
template <class T>
void copy_across(const View& in, const View& out, int a, int b) {
  constexpr std::int64_t side = 16;
  View corner_out = out, corner_in = in;
  for (const int d : {a, b}) corner_out.shape[d] = corner_in.shape[d] = 1;
  const std::int64_t na = out.shape[a], nb = out.shape[b], step_to = out.strides[b], step_from = in.strides[a];
  const StridedLoop<2> planes({corner_out, corner_in});
  const auto steps = planes.steps();
  const auto some_planes = [&, na, nb](const auto& at, std::int64_t n) {
    for (std::int64_t k = 0; k < n; ++k) {
      T* to = out.as<T>() + at[0] + k * steps[0];
      const T* from = in.as<T>() + at[1] + k * steps[1];
      for (std::int64_t i0 = 0; i0 < na; i0 += side)
        for (std::int64_t j0 = 0; j0 < nb; j0 += side)
          for (std::int64_t j = j0; j < std::min(nb, j0 + side); ++j)
            for (std::int64_t i = i0; i < std::min(na, i0 + side); ++i) to[j * step_to + i] = from[i * step_from + j];
    }
  };
  planes.each_row(some_planes, std::max<std::int64_t>(1, (1 << 16) / (na * nb)));
}

#if CUBOID_CUDA
/// From one device to another: dense bytes travel; what lies otherwise, or is of another type, is packed and unpacked on
/// its own side.
void copy_between(const Tensor& from, const Tensor& to) {
  Tensor packed = from, landing = to;
  if (from.strides() != dense_as(from)) copy(from, packed = empty_like(from));
  if (from.dtype() != to.dtype() || to.strides() != packed.strides())
    landing = empty_with(to.shape(), packed.strides(), from.dtype(), to.device());
  const View in = packed.view();
  const Out out = landing.mutate();
  const profiler::Range range(out.device == Device::cuda ? "copy to device" : "copy to host");
  if (out.device == Device::cuda) {
    cuda::to_device(out.data, in.data, in.bytes());
    if (packed.storage()->pinned) cuda::synchronize();  // whoever frees it next will not ask
  } else {
    cuda::to_host(out.data, in.data, in.bytes());
  }
  if (landing.view().data != to.view().data) copy(landing, to);
}
#endif

}  // namespace

void copy(const Tensor& from, const Tensor& to) {
  check(from.shape() == to.shape(), "copy: from ", from.shape(), " to ", to.shape());
  if (from.size() == 0) return;
#if CUBOID_CUDA
  if (from.device() != to.device()) return copy_between(from, to);
#endif
  const View in = from.view();
  const Out out = to.mutate();
  const profiler::Span span(out.device, "copy", "core", 0, static_cast<double>(in.bytes() + out.bytes()));
#if CUBOID_CUDA
  if (out.device == Device::cuda) return cuda::copy(in, out);
#endif
  const int a = dense_dimension(out), b = dense_dimension(in);
  const bool across = a >= 0 && b >= 0 && a != b && out.shape[a] >= 4 && out.shape[b] >= 4;
  visit(out.dtype, [&]<class To>() {
    visit(in.dtype, [&]<class From>() {
      if constexpr (std::is_same_v<To, From>)
        if (across) return copy_across<To>(in, out, a, b);
      const StridedLoop<2> loop({out, in});
      const auto [step_to, step_from] = loop.steps();
      loop.each_row([&, step_to = step_to, step_from = step_from](const auto& at, std::int64_t n) {
        To* p = out.as<To>() + at[0];
        const From* q = in.as<From>() + at[1];
        if (step_to == 1 && step_from == 1) {
          if constexpr (std::is_same_v<To, From>) std::memcpy(p, q, static_cast<std::size_t>(n) * sizeof(To));
          else
            for (std::int64_t i = 0; i < n; ++i) p[i] = convert<To>(q[i]);
        } else {
          for (std::int64_t i = 0; i < n; ++i) p[i * step_to] = convert<To>(q[i * step_from]);
        }
      });
    });
  });
}

void add_into(const Tensor& target, const Tensor& x) {
  check(target.shape() == x.shape() && target.dtype() == x.dtype(), "add: ", target.dtype(), target.shape(), " and ", x.dtype(),
        x.shape());
  check(target.device() == x.device(), "add: tensors on ", target.device(), " and ", x.device());
  if (x.size() == 0) return;
  const View in = x.view();
  const Out out = target.mutate();
  const profiler::Span span(out.device, "add_into", "core", static_cast<double>(x.size()),
                            static_cast<double>(in.bytes() + 2 * out.bytes()));
#if CUBOID_CUDA
  if (out.device == Device::cuda) return cuda::add_into(out, in);
#endif
  visit(out.dtype, [&]<class T>() {
    using A = Accum<T>;
    const StridedLoop<2> loop({out, in});
    const auto [step_to, step_from] = loop.steps();
    loop.each_row([&, step_to = step_to, step_from = step_from](const auto& at, std::int64_t n) {
      T* p = out.as<T>() + at[0];
      const T* q = in.as<T>() + at[1];
      if (step_to == 1 && step_from == 1)
        for (std::int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(static_cast<A>(p[i]) + static_cast<A>(q[i]));
      else
        for (std::int64_t i = 0; i < n; ++i)
          p[i * step_to] = static_cast<T>(static_cast<A>(p[i * step_to]) + static_cast<A>(q[i * step_from]));
    });
  });
}

Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  const Tensor y = empty_with(x.shape(), dense_as(x), x.dtype(), device);
  copy(x, y);
  return record("to", y, {x}, [from = x.device()](const Tensor& g, const Step&) { return Tensors{to(g, from)}; });
}

Tensor add(const Tensor& a, const Tensor& b) {
  Tensor sum = empty_like(a);
  copy(a, sum);
  add_into(sum, b);
  return record("add", sum, {a, b}, [](const Tensor& g, const Step&) { return Tensors{g, g}; });
}

Tensor add(Tensor&& a, const Tensor& b) {
  const bool leaf = a.requires_grad() && a.is_leaf();  // its value is what a derivative is asked at
  if (leaf || !a.exclusive() || a.shape() != b.shape() || a.dtype() != b.dtype()) return add(static_cast<const Tensor&>(a), b);
  const Tensor sum = a.detach();
  add_into(sum, b);
  return record("add", sum, {a, b}, [](const Tensor& g, const Step&) { return Tensors{g, g}; });
}

}  // namespace cuboid
