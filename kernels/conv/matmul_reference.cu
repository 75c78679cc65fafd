// SPDX-License-Identifier: Apache-2.0
// The device's reference of the matrix product: one thread per result, any strides.
#include "core/cuda.h"
#include "core/gpu.h"
#include "core/indexer.h"
#include "kernels/conv/cuda.h"

namespace cuboid::cuda {
namespace {

constexpr int threads = 128;

template <class T>
struct Matrices {
  T* data;
  std::int64_t batch, row, column;  // strides
  explicit Matrices(const View& v) : data(v.as<T>()), batch(v.stride(0)), row(v.stride(1)), column(v.stride(2)) {}
};

template <class T, class I>
__global__ void matmul_kernel(Matrices<const T> a, Matrices<const T> b, Matrices<T> c, I rows, I inner, I columns, I size) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I job = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; job < size; job += step) {
    const I j = job % columns, i = job / columns % rows, batch = job / columns / rows;
    const T* pa = a.data + batch * a.batch + i * a.row;
    const T* pb = b.data + batch * b.batch + j * b.column;
    Accum<T> sum = 0;
    for (I k = 0; k < inner; ++k) sum += static_cast<Accum<T>>(pa[k * a.column]) * static_cast<Accum<T>>(pb[k * b.row]);
    c.data[batch * c.batch + i * c.row + j * c.column] = static_cast<T>(sum);
  }
}

}  // namespace

void matmul(const View& a, const View& b, const Out& c) {
  const std::int64_t size = c.size(), blocks = std::min<std::int64_t>((size + threads - 1) / threads, 1 << 13);
  const gpu::LaunchCfg over{.grid = dim3(static_cast<unsigned>(blocks)),
                            .block = dim3(threads),
                            .stream = static_cast<gpu::stream_t>(stream()),
                            .name = "matmul"};
  visit_floating(a.dtype, "matmul", [&]<class T>() {
    const auto run = [&]<class I>() {
      gpu::launch(matmul_kernel<T, I>, over, Matrices<const T>(a), Matrices<const T>(b), Matrices<T>(c), static_cast<I>(a.dim(1)),
                  static_cast<I>(a.dim(2)), static_cast<I>(b.dim(2)), static_cast<I>(size));
    };
    if (fits_int({a, b, c})) run.template operator()<int>();
    else run.template operator()<std::int64_t>();
  });
}

}  // namespace cuboid::cuda
