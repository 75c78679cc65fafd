// SPDX-License-Identifier: Apache-2.0
// The CPU implementations of elementwise ops. A functor is compiled into a handful of loops over contiguous blocks (f32,
// f64, i64) and two scalar functions; strides, dtypes and threads are dealt with once, in cpu.cpp, for all functors.
#pragma once
#include <array>

#include "kernels/dispatch.h"
#include "kernels/pointwise/fast_math.h"
#include "kernels/pointwise/functors.h"

namespace cuboid::pointwise {

template <std::size_t N, class T>
using Block = void (*)(const std::array<const T*, N>& in, T* out, std::int64_t n, const Constants& c);

/// A functor's loops; a null pointer where it has no such type.
template <std::size_t N>
struct Blocks {
  Block<N, float> f32;
  Block<N, double> f64;
  Block<N, std::int64_t> i64;
};

/// A functor for one element, computed in f64 (i64 for the integers).
template <std::size_t N>
struct Scalars {
  double (*real)(const std::array<double, N>& in, const Constants& c);
  std::int64_t (*integer)(const std::array<std::int64_t, N>& in, const Constants& c);
};

namespace cpu {

template <std::size_t N>
void run_blocks(const std::array<View, N>& in, const Out& out, const Blocks<N>& blocks, const Constants& c);
template <std::size_t N>
void run_reference(const std::array<View, N>& in, const Out& out, const Scalars<N>& scalars, const Constants& c);

template <class F, std::size_t N, class T>
void block(const std::array<const T*, N>& in, T* __restrict out, std::int64_t n, const Constants& constants) {
  const Constants c = constants;
  const T* __restrict a = in[0];
  if constexpr (N == 1) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = F::template of<Fast>(a[i], c);
  } else {
    const T* __restrict b = in[1];
    for (std::int64_t i = 0; i < n; ++i) out[i] = F::template of<Fast>(a[i], b[i], c);
  }
}

template <class F, std::size_t N, class T>
T scalar(const std::array<T, N>& in, const Constants& c) {
  if constexpr (N == 1) return F::template of<Plain>(in[0], c);
  else return F::template of<Plain>(in[0], in[1], c);
}

template <class F, std::size_t N>
constexpr Blocks<N> blocks_of() {
  if constexpr (F::integers) return {block<F, N, float>, block<F, N, double>, block<F, N, std::int64_t>};
  else return {block<F, N, float>, block<F, N, double>, nullptr};
}
template <class F, std::size_t N>
constexpr Scalars<N> scalars_of() {
  if constexpr (F::integers) return {scalar<F, N, double>, scalar<F, N, std::int64_t>};
  else return {scalar<F, N, double>, nullptr};
}

template <class F>
void unary(const View& x, const Out& y, const Constants& c) {
  run_blocks<1>({x}, y, blocks_of<F, 1>(), c);
}
template <class F>
void unary_reference(const View& x, const Out& y, const Constants& c) {
  run_reference<1>({x}, y, scalars_of<F, 1>(), c);
}
template <class F>
void binary(const View& a, const View& b, const Out& y, const Constants& c) {
  run_blocks<2>({a, b}, y, blocks_of<F, 2>(), c);
}
template <class F>
void binary_reference(const View& a, const View& b, const Out& y, const Constants& c) {
  run_reference<2>({a, b}, y, scalars_of<F, 2>(), c);
}

}  // namespace cpu
}  // namespace cuboid::pointwise
