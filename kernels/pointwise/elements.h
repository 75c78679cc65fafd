// SPDX-License-Identifier: Apache-2.0
// For the .cu files of this room: the kernels of elementwise ops, for any functor.
#pragma once
#include "core/packet.h"
#include "kernels/launch.h"
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
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < e.index.size; i += step) {
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

/// Operand 0 is the result. Rows of `length` elements; `rows` has the offset of each row. An operand that repeats has one
/// element per row.
template <class T, int N>
struct PacketRows {
  T* data[N + 1];
  bool repeats[N + 1];
  std::int64_t length, packets;  // of a row
  Indexer<N + 1> rows;
};

template <class F, class T, int N>
__global__ void packets_kernel(PacketRows<T, N> p, Constants c) {
  constexpr int width = packet_width<T>;
  using A = Accum<T>;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x, count = p.rows.size * p.packets;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    std::int64_t row = 0, at[N + 1] = {};
    if (p.rows.size > 1) {
      row = i / p.packets;
      p.rows.at(row, at);
    }
    const std::int64_t first = (i - row * p.packets) * width, left = p.length - first;
    const int n = left < width ? static_cast<int>(left) : width;
    Packet<T, width> x[N], y;
    for (int k = 0; k < N; ++k) {
      const T* from = p.data[k + 1] + at[k + 1];
      if (p.repeats[k + 1]) {
        const T value = *from;
        for (int j = 0; j < width; ++j) x[k].at[j] = value;
      } else if (n == width) {
        x[k] = Packet<T, width>::load(from + first);
      } else {
        for (int j = 0; j < width; ++j) x[k].at[j] = from[first + (j < n ? j : 0)];
      }
    }
    for (int j = 0; j < width; ++j) {
      A values[N];
      for (int k = 0; k < N; ++k) values[k] = static_cast<A>(x[k].at[j]);
      y.at[j] = static_cast<T>(applied<F>(values, c));
    }
    T* to = p.data[0] + at[0] + first;
    if (n == width) {
      y.store(to);
    } else {
      for (int j = 0; j < width; ++j)
        if (j < n) to[j] = y.at[j];
    }
  }
}

template <class F, int N>
void launch_packets(const std::array<View, N + 1>& views, const Constants& c) {
  Indexer<N + 1> index = Indexer<N + 1>::of(views);
  const int inner = index.rank - 1;
  const std::int64_t length = index.dims[inner];
  const auto as = [&]<class T>() {
    PacketRows<T, N> p{{}, {}, length, (length + packet_width<T> - 1) / packet_width<T>, index};
    for (std::size_t k = 0; k <= N; ++k) {
      p.data[k] = views[k].template as<T>();
      p.repeats[k] = index.strides[k][inner] == 0;
    }
    p.rows.rank = inner;
    p.rows.size /= length;
    gpu::launch(packets_kernel<F, T, N>, over(p.rows.size * p.packets, F::name), p, c);
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
