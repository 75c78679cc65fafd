// SPDX-License-Identifier: Apache-2.0
// For the .cu files of this room: the kernels of elementwise ops, for any functor.
#pragma once
#include "core/launch.h"
#include "core/packet_rows.h"
#include "kernels/pointwise/cuda.h"
#include "kernels/pointwise/math.h"

namespace cuboid::cuda {

using pointwise::OnDevice;

template <class F, class T>
CUBOID_HD T applied(const T (&x)[1], const Constants& c) {
  return F::template of<OnDevice>(x[0], c);
}
template <class F, class T>
CUBOID_HD T applied(const T (&x)[2], const Constants& c) {
  return F::template of<OnDevice>(x[0], x[1], c);
}

// ---- any strides -------------------------------------------------------------------------------

/// Operand 0 is the result.
template <int N>
struct Elements {
  void* data[N + 1];
  DType dtype;
  Indexer<N + 1> index;
};

/// Elements of the dtypes computed in T: few kernels, and a branch that all threads take alike.
template <class T>
__device__ T read(const void* from, std::int64_t at, DType dtype) {
  if constexpr (std::is_same_v<T, float>) {
    if (dtype == DType::bf16) return static_cast<const bf16*>(from)[at];
    if (dtype == DType::f16) return static_cast<const f16*>(from)[at];
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    if (dtype == DType::i32) return static_cast<const std::int32_t*>(from)[at];
    if (dtype == DType::u8) return static_cast<const std::uint8_t*>(from)[at];
  }
  return static_cast<const T*>(from)[at];
}
template <class T>
__device__ void write(T value, void* to, std::int64_t at, DType dtype) {
  if constexpr (std::is_same_v<T, float>) {
    if (dtype == DType::bf16) return void(static_cast<bf16*>(to)[at] = bf16(value));
    if (dtype == DType::f16) return void(static_cast<f16*>(to)[at] = f16(value));
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    if (dtype == DType::i32) return void(static_cast<std::int32_t*>(to)[at] = static_cast<std::int32_t>(value));
    if (dtype == DType::u8) return void(static_cast<std::uint8_t*>(to)[at] = static_cast<std::uint8_t>(value));
  }
  static_cast<T*>(to)[at] = value;
}

template <class F, class T, int N>
__global__ void elements_kernel(Elements<N> e, Constants c) {
  const std::int64_t step = gridDim.x * blockDim.x;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < e.index.size; i += step) {
    std::int64_t at[N + 1];
    e.index.at(i, at);
    T x[N];
    for (int k = 0; k < N; ++k) x[k] = read<T>(e.data[k + 1], at[k + 1], e.dtype);
    write(applied<F>(x, c), e.data[0], at[0], e.dtype);
  }
}

template <class F, int N>
void launch_elements(const std::array<View, N + 1>& views, const Constants& c) {
  Elements<N> e{{}, views[0].dtype, Indexer<N + 1>::of(views)};
  for (std::size_t k = 0; k <= N; ++k) e.data[k] = views[k].data;
  const gpu::LaunchCfg how = over(e.index.size, F::name);
  if (e.dtype == DType::f64) return gpu::launch(elements_kernel<F, double, N>, how, e, c);
  if (is_floating(e.dtype)) return gpu::launch(elements_kernel<F, float, N>, how, e, c);
  if constexpr (F::integers) gpu::launch(elements_kernel<F, std::int64_t, N>, how, e, c);
}

// ---- packets -----------------------------------------------------------------------------------

template <class F, class T, int N>
__global__ void packets_kernel(PacketRows<N + 1> rows, std::array<T*, N + 1> data, Constants c) {
  constexpr int width = packet_width<T>;
  using A = Accum<T>;
  const std::int64_t step = gridDim.x * blockDim.x, size = rows.rows.size * rows.packets;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    std::int64_t at[N + 1];
    const int count = rows.at(i, width, at);
    Packet<T, width> x[N], y;
    for (int k = 0; k < N; ++k)
      x[k] = load_some<width>(static_cast<const T*>(data[k + 1] + at[k + 1]), rows.repeats[k + 1] ? 1 : count);
    for (int j = 0; j < width; ++j) {
      A values[N];
      for (int k = 0; k < N; ++k) values[k] = static_cast<A>(x[k].at[j]);
      y.at[j] = static_cast<T>(applied<F>(values, c));
    }
    store_some(y, data[0] + at[0], count);
  }
}

template <class F, int N>
void launch_packets(const std::array<View, N + 1>& views, const Constants& c) {
  const auto as = [&]<class T>() {
    const auto rows = PacketRows<N + 1>::of(views, packet_width<T>);
    std::array<T*, N + 1> data;
    for (std::size_t k = 0; k <= N; ++k) data[k] = views[k].template as<T>();
    gpu::launch(packets_kernel<F, T, N>, over(rows.size(), F::name), rows, data, c);
  };
  switch (views[0].dtype) {
    case DType::f32:
      return as.template operator()<float>();
    case DType::bf16:
      return as.template operator()<bf16>();
    default:
      return as.template operator()<f16>();
  }
}

// ---- the rows of the tables --------------------------------------------------------------------

template <class F>
void OneOperand<F>::reference(const View& x, const Out& y, const Constants& c) {
  launch_elements<F, 1>({y, x}, c);
}
template <class F>
void OneOperand<F>::packets(const View& x, const Out& y, const Constants& c) {
  launch_packets<F, 1>({y, x}, c);
}
template <class F>
void TwoOperands<F>::reference(const View& a, const View& b, const Out& y, const Constants& c) {
  launch_elements<F, 2>({y, a, b}, c);
}
template <class F>
void TwoOperands<F>::packets(const View& a, const View& b, const Out& y, const Constants& c) {
  launch_packets<F, 2>({y, a, b}, c);
}

}  // namespace cuboid::cuda
