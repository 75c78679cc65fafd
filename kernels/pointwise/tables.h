// SPDX-License-Identifier: Apache-2.0
// The implementations of an elementwise op, for any functor, and the two functions every op of this room goes through.
#pragma once
#include "core/autograd.h"
#include "core/strided.h"
#include "kernels/pointwise/cpu.h"
#include "kernels/pointwise/cuda.h"
#include "kernels/pointwise/pointwise.h"

namespace cuboid::pointwise {

using Unary = void(const View& x, const Out& y, const Constants& c);
using Binary = void(const View& a, const View& b, const Out& y, const Constants& c);

template <class F>
inline constexpr Impl<Unary> unary_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::one_in_packets, cuda::OneOperand<F>::packets},
    {"reference", Device::cuda, always, cuda::OneOperand<F>::reference},
#endif
    {"blocks", Device::cpu, always, cpu::unary<F>},
    {"reference", Device::cpu, always, cpu::unary_reference<F>},
};
template <class F>
inline constexpr Impl<Binary> binary_rows[] = {
#if CUBOID_CUDA
    {"packets", Device::cuda, cuda::two_in_packets, cuda::TwoOperands<F>::packets},
    {"reference", Device::cuda, always, cuda::TwoOperands<F>::reference},
#endif
    {"blocks", Device::cpu, always, cpu::binary<F>},
    {"reference", Device::cpu, always, cpu::binary_reference<F>},
};

/// Not recorded yet.
template <class F>
Tensor unary(const Tensor& x, Constants c = {}) {
  check(x.defined(), F::name, ": undefined tensor");
  check(F::integers || is_floating(x.dtype()), F::name, ": needs a floating type, got ", x.dtype(), "; cast it");
  const Tensor y = empty_like(x);
  if (y.size() > 0) run({F::name}, unary_rows<F>, x.view(), y.mutate(), c);
  return y;
}

/// The operand whose memory order the result takes: the first one that is not repeated.
inline const Tensor& leader(const Tensor& a, const Tensor& b, const Shape& shape) {
  const auto whole_tensor = [&](const Tensor& t) {
    if (t.shape() != shape) return false;
    for (int i = 0; i < t.rank(); ++i)
      if (t.strides()[i] == 0 && t.dim(i) > 1) return false;
    return true;
  };
  return !whole_tensor(a) && (whole_tensor(b) || b.rank() > a.rank()) ? b : a;
}

template <class F>
Tensor binary(const Tensor& a, const Tensor& b, Constants c = {}) {
  check(a.defined() && b.defined(), F::name, ": undefined tensor");
  check(a.dtype() == b.dtype(), F::name, ": ", a.dtype(), a.shape(), " and ", b.dtype(), b.shape(), "; cast one of them");
  check(F::integers || is_floating(a.dtype()), F::name, ": needs a floating type, got ", a.dtype(), "; cast it");
  const Shape shape = broadcast_shape(F::name, a.shape(), b.shape());
  const Tensor& lead = leader(a, b, shape);
  const Tensor y = lead.shape() == shape ? empty_like(lead) : empty_like(lead, shape);
  if (y.size() > 0) run({F::name}, binary_rows<F>, broadcast(a.view(), shape), broadcast(b.view(), shape), y.mutate(), c);
  return y;
}

}  // namespace cuboid::pointwise
