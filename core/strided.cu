// SPDX-License-Identifier: Apache-2.0
// fill, copy and add_into on the device: one thread per element in the order of the target's memory.
#include "core/cuda.h"
#include "core/gpu.h"
#include "core/indexer.h"

namespace cuboid::cuda {
namespace {

constexpr int threads = 256;

template <class I, class T>
__global__ void fill_kernel(Indexer<1, I> index, T* x, T value) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < index.size; i += step) {
    I at[1];
    index.at(i, at);
    x[at[0]] = value;
  }
}

template <class I, class To, class From>
__global__ void copy_kernel(Indexer<2, I> index, To* to, const From* from) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < index.size; i += step) {
    I at[2];
    index.at(i, at);
    to[at[0]] = convert<To>(from[at[1]]);
  }
}

template <class I, class T>
__global__ void add_kernel(Indexer<2, I> index, T* to, const T* from) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I i = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; i < index.size; i += step) {
    I at[2];
    index.at(i, at);
    to[at[0]] = static_cast<T>(static_cast<A>(to[at[0]]) + static_cast<A>(from[at[1]]));
  }
}

/// Each thread takes a few elements where there are many.
gpu::LaunchCfg over(std::int64_t elements, const char* name) {
  const std::int64_t blocks = std::min<std::int64_t>((elements + threads - 1) / threads, 1 << 20);
  return {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(threads),
          .stream = static_cast<gpu::stream_t>(stream()),
          .name = name};
}

template <class F>
void with_index(bool small, F&& f) {
  if (small) f.template operator()<int>();
  else f.template operator()<std::int64_t>();
}

}  // namespace

void fill(const Out& x, double value) {
  if (x.size() == 0) return;
  visit(x.dtype, [&]<class T>() {
    with_index(fits_int({x}), [&]<class I>() {
      gpu::launch(fill_kernel<I, T>, over(x.size(), "fill"), Indexer<1, I>::of({x}), x.as<T>(), convert<T>(value));
    });
  });
}

void copy(const View& from, const Out& to) {
  if (to.size() == 0) return;
  visit(to.dtype, [&]<class To>() {
    visit(from.dtype, [&]<class From>() {
      with_index(fits_int({to, from}), [&]<class I>() {
        gpu::launch(copy_kernel<I, To, From>, over(to.size(), "copy"), Indexer<2, I>::of({to, from}), to.as<To>(),
                    static_cast<const From*>(from.as<From>()));
      });
    });
  });
}

void add_into(const Out& target, const View& x) {
  if (target.size() == 0) return;
  visit(target.dtype, [&]<class T>() {
    with_index(fits_int({target, x}), [&]<class I>() {
      gpu::launch(add_kernel<I, T>, over(target.size(), "add"), Indexer<2, I>::of({target, x}), target.as<T>(),
                  static_cast<const T*>(x.as<T>()));
    });
  });
}

}  // namespace cuboid::cuda
