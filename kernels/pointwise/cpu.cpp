// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/cpu.h"

#include "core/strided.h"

namespace cuboid::pointwise::cpu {
namespace {

constexpr std::int64_t block_size = 1024;  // elements: three buffers of the widest type stay in the L1 cache

/// dtypes computed in T.
template <class T, class Element>
inline constexpr bool computed_in =
    std::is_same_v<T, std::conditional_t<std::is_integral_v<Element>, std::int64_t, Accum<Element>>>;

template <class T>
using Load = void (*)(const void* from, std::int64_t at, std::int64_t step, std::int64_t n, T* to);
template <class T>
using Store = void (*)(const T* from, void* to, std::int64_t at, std::int64_t step, std::int64_t n);

template <class T>
Load<T> loader(DType t) {
  return visit(t, []<class E>() -> Load<T> {
    if constexpr (computed_in<T, E>)
      return [](const void* from, std::int64_t at, std::int64_t step, std::int64_t n, T* to) {
        const E* p = static_cast<const E*>(from) + at;
        if (step == 1)
          for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(p[i]);
        else if (step == 0) std::fill_n(to, n, static_cast<T>(*p));
        else
          for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(p[i * step]);
      };
    else return nullptr;
  });
}

template <class T>
Store<T> storer(DType t) {
  return visit(t, []<class E>() -> Store<T> {
    if constexpr (computed_in<T, E>)
      return [](const T* from, void* to, std::int64_t at, std::int64_t step, std::int64_t n) {
        E* p = static_cast<E*>(to) + at;
        for (std::int64_t i = 0; i < n; ++i) p[i * step] = static_cast<E>(from[i]);
      };
    else return nullptr;
  });
}

/// Rows are handed to `block` as they lie where they are contiguous T; otherwise through buffers, block by block.
template <std::size_t N, class T>
void run_as(const std::array<View, N>& in, const Out& out, Block<N, T> block, const Constants& c) {
  std::array<View, N + 1> operands;
  operands[0] = out;
  std::copy(in.begin(), in.end(), operands.begin() + 1);
  const StridedLoop<N + 1> loop(operands);
  const auto steps = loop.steps();
  std::array<Load<T>, N> load{};
  for (std::size_t k = 0; k < N; ++k)
    if (in[k].dtype != dtype_of<T>() || steps[k + 1] != 1) load[k] = loader<T>(in[k].dtype);
  const Store<T> store = out.dtype == dtype_of<T>() && steps[0] == 1 ? nullptr : storer<T>(out.dtype);
  const bool direct = !store && std::all_of(load.begin(), load.end(), [](auto l) { return l == nullptr; });

  if (direct) {
    loop.each_row([&](const auto& at, std::int64_t n) {
      std::array<const T*, N> from;
      for (std::size_t k = 0; k < N; ++k) from[k] = in[k].template as<const T>() + at[k + 1];
      block(from, out.template as<T>() + at[0], n, c);
    });
    return;
  }
  loop.each_row([&](const auto& at, std::int64_t n) {
    alignas(64) T buffers[N + 1][block_size];
    for (std::int64_t i = 0; i < n; i += block_size) {
      const std::int64_t m = std::min(block_size, n - i);
      std::array<const T*, N> from;
      for (std::size_t k = 0; k < N; ++k) {
        const std::int64_t first = at[k + 1] + i * steps[k + 1];
        from[k] = load[k] ? buffers[k + 1] : in[k].template as<const T>() + first;
        if (load[k] && (i == 0 || steps[k + 1] != 0)) load[k](in[k].data, first, steps[k + 1], m, buffers[k + 1]);
      }
      block(from, store ? buffers[0] : out.template as<T>() + at[0] + i, m, c);
      if (store) store(buffers[0], out.data, at[0] + i * steps[0], steps[0], m);
    }
  });
}

/// f(offset of each operand's element) for every element, one after the other.
template <std::size_t N, class F>
void each_element(const std::array<View, N>& operands, F f) {
  const Shape& shape = operands[0].shape;
  for (std::int64_t i = 0; i < operands[0].size(); ++i) {
    std::array<std::int64_t, N> at{};
    std::int64_t rest = i;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      for (std::size_t k = 0; k < N; ++k) at[k] += rest % shape[d] * operands[k].strides[d];
      rest /= shape[d];
    }
    f(at);
  }
}

}  // namespace

template <std::size_t N>
void run_blocks(const std::array<View, N>& in, const Out& out, const Blocks<N>& blocks, const Constants& c) {
  if (out.dtype == DType::f64) run_as<N, double>(in, out, blocks.f64, c);
  else if (is_floating(out.dtype)) run_as<N, float>(in, out, blocks.f32, c);
  else run_as<N, std::int64_t>(in, out, blocks.i64, c);
}

template <std::size_t N>
void run_reference(const std::array<View, N>& in, const Out& out, const Scalars<N>& scalars, const Constants& c) {
  std::array<View, N + 1> operands;
  operands[0] = out;
  std::copy(in.begin(), in.end(), operands.begin() + 1);
  visit(out.dtype, [&]<class E>() {
    using T = std::conditional_t<std::is_integral_v<E>, std::int64_t, double>;
    each_element(operands, [&](const auto& at) {
      std::array<T, N> x;
      for (std::size_t k = 0; k < N; ++k) x[k] = static_cast<T>(in[k].template as<E>()[at[k + 1]]);
      E& y = out.as<E>()[at[0]];
      if constexpr (std::is_integral_v<E>) y = static_cast<E>(scalars.integer(x, c));
      else y = static_cast<E>(scalars.real(x, c));
    });
  });
}

template void run_blocks<1>(const std::array<View, 1>&, const Out&, const Blocks<1>&, const Constants&);
template void run_blocks<2>(const std::array<View, 2>&, const Out&, const Blocks<2>&, const Constants&);
template void run_reference<1>(const std::array<View, 1>&, const Out&, const Scalars<1>&, const Constants&);
template void run_reference<2>(const std::array<View, 2>&, const Out&, const Scalars<2>&, const Constants&);

}  // namespace cuboid::pointwise::cpu
