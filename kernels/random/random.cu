// SPDX-License-Identifier: Apache-2.0
// Element i in row-major order belongs to word i % 4 of block i / 4, whatever the memory order.
#include "core/launch.h"
#include "core/packet.h"
#include "kernels/random/cuda.h"

namespace cuboid::cuda {
namespace {

__device__ std::int64_t first_job() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ std::int64_t all_threads() { return gridDim.x * blockDim.x; }

/// Strides as they are given, and none in common.
template <int N>
struct RowMajor {
  std::int64_t size;
  int rank;
  std::int64_t dims[max_rank], strides[N][max_rank];

  explicit RowMajor(const std::array<View, N>& views) : size(views[0].size()), rank(views[0].rank()) {
    for (int d = 0; d < rank; ++d) {
      dims[d] = views[0].dim(d);
      for (std::size_t k = 0; k < N; ++k) strides[k][d] = views[k].stride(d);
    }
  }
  /// The offsets of element i.
  __device__ void at(std::int64_t i, std::int64_t (&offset)[N]) const {
    for (int k = 0; k < N; ++k) offset[k] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const std::int64_t next = i / dims[d];
      for (int k = 0; k < N; ++k) offset[k] += (i - next * dims[d]) * strides[k][d];
      i = next;
    }
  }
};

// ---- tensors -----------------------------------------------------------------------------------

template <class T>
__global__ void draw_kernel(RowMajor<1> index, T* y, Draw d) {
  for (std::int64_t i = first_job(); i < index.size; i += all_threads()) {
    std::int64_t at[1];
    index.at(i, at);
    y[at[0]] = static_cast<T>(d.element(static_cast<std::uint64_t>(i)));
  }
}

template <class T>
__global__ void draw_blocks_kernel(std::int64_t size, T* y, Draw d) {
  for (std::int64_t block = first_job(); 4 * block < size; block += all_threads()) {
    double v[4];
    d.block(static_cast<std::uint64_t>(block), v);
    for (int k = 0; k < 4; ++k)
      if (4 * block + k < size) y[4 * block + k] = static_cast<T>(v[k]);
  }
}

// ---- dropout -----------------------------------------------------------------------------------

template <class T>
struct Dropout {
  RandomKey key;
  double p;
  Accum<T> scale;

  __device__ bool keeps(std::uint64_t word) const { return to_unit(word) >= p; }
  __device__ T applied(T x, bool keep) const { return keep ? static_cast<T>(static_cast<Accum<T>>(x) * scale) : T(0.f); }
  __device__ T operator()(T x, std::uint64_t word) const { return applied(x, keeps(word)); }
};

template <class T>
__global__ void dropout_kernel(RowMajor<2> index, const T* x, T* y, Dropout<T> dropped) {
  for (std::int64_t i = first_job(); i < index.size; i += all_threads()) {
    std::int64_t at[2];
    index.at(i, at);
    y[at[1]] = dropped(x[at[0]], random_word(dropped.key, static_cast<std::uint64_t>(i)));
  }
}

/// `packed`: x and y start at a multiple of four elements.
template <class T>
__global__ void dropout_blocks_kernel(std::int64_t size, bool packed, const T* x, T* y, Dropout<T> dropped) {
  for (std::int64_t block = first_job(); 4 * block < size; block += all_threads()) {
    const std::int64_t i = 4 * block;
    const Words4 words = dropped.key.block(static_cast<std::uint64_t>(block));
    if (packed && i + 4 <= size) {
      auto four = Packet<T, 4>::load(x + i);
      for (int k = 0; k < 4; ++k) four.at[k] = dropped(four.at[k], words.word[k]);
      four.store(y + i);
    } else {
      for (int k = 0; k < 4; ++k)
        if (i + k < size) y[i + k] = dropped(x[i + k], words.word[k]);
    }
  }
}

// A tile: neighbours in space of some channels of one sample.
constexpr int tile_threads = 256, tile_space = 64, tile_channels = 32;
struct Tiles {
  std::int64_t channels, space, across, along;  // tiles of channels, tiles of space
};

/// First the words of the tile, block by block, then its elements in the order of memory.
template <class T>
__global__ void __launch_bounds__(tile_threads) dropout_tiles_kernel(Tiles t, const T* x, T* y, Dropout<T> dropped) {
  GPU_SHARED(unsigned char, kept, [tile_channels][tile_space + 4]);
  const std::int64_t across = blockIdx.x % t.across, along = blockIdx.x / t.across % t.along, n = blockIdx.x / t.across / t.along;
  const std::int64_t c0 = across * tile_channels, s0 = along * tile_space;
  const int channels = static_cast<int>(min(static_cast<std::int64_t>(tile_channels), t.channels - c0));
  const int space = static_cast<int>(min(static_cast<std::int64_t>(tile_space), t.space - s0));
  constexpr int blocks = tile_space / 4 + 1;  // that a row may touch
  for (int job = static_cast<int>(threadIdx.x); job < channels * blocks; job += tile_threads) {
    const int c = job / blocks;
    const std::int64_t start = (n * t.channels + c0 + c) * t.space + s0, block = start / 4 + job % blocks;
    const int first = static_cast<int>(4 * block - start);  // where in the row its first word belongs
    if (first >= space) continue;
    const Words4 words = dropped.key.block(static_cast<std::uint64_t>(block));
    for (int k = 0; k < 4; ++k)
      if (first + k >= 0 && first + k < space) kept[c][first + k] = dropped.keeps(words.word[k]);
  }
  __syncthreads();
  const int c = static_cast<int>(threadIdx.x) % tile_channels;
  if (c >= channels) return;
  for (int s = static_cast<int>(threadIdx.x) / tile_channels; s < space; s += tile_threads / tile_channels) {
    const std::int64_t at = (n * t.space + s0 + s) * t.channels + c0 + c;
    y[at] = dropped.applied(x[at], kept[c][s]);
  }
}

template <class F>
void with_dropout(const View& x, double p, const RandomKey& key, F&& f) {
  visit_floating(x.dtype, "dropout", [&]<class T>() {
    f(Dropout<T>{key, p, static_cast<Accum<T>>(1 / (1 - p))}, x.as<const T>());
  });
}

}  // namespace

void draw(const Out& y, Draw d) {
  visit_floating(y.dtype, "random",
                 [&]<class T>() { gpu::launch(draw_kernel<T>, over(y.size(), "random"), RowMajor<1>({y}), y.as<T>(), d); });
}

void draw_blocks(const Out& y, Draw d) {
  visit_floating(y.dtype, "random", [&]<class T>() {
    gpu::launch(draw_blocks_kernel<T>, over((y.size() + 3) / 4, "random"), y.size(), y.as<T>(), d);
  });
}

void dropout(const View& x, const Out& y, double p, RandomKey key) {
  with_dropout(x, p, key, [&]<class T>(const Dropout<T>& dropped, const T* from) {
    gpu::launch(dropout_kernel<T>, over(x.size(), "dropout"), RowMajor<2>({x, y}), from, y.as<T>(), dropped);
  });
}

void dropout_blocks(const View& x, const Out& y, double p, RandomKey key) {
  with_dropout(x, p, key, [&]<class T>(const Dropout<T>& dropped, const T* from) {
    const auto starts = reinterpret_cast<std::uintptr_t>(x.data) | reinterpret_cast<std::uintptr_t>(y.data);
    gpu::launch(dropout_blocks_kernel<T>, over((x.size() + 3) / 4, "dropout"), x.size(), starts % (4 * sizeof(T)) == 0, from,
                y.as<T>(), dropped);
  });
}

void dropout_tiles(const View& x, const Out& y, double p, RandomKey key) {
  const std::int64_t channels = x.dim(1), space = x.size() / x.dim(0) / channels;
  const Tiles t{channels, space, (channels + tile_channels - 1) / tile_channels, (space + tile_space - 1) / tile_space};
  with_dropout(x, p, key, [&]<class T>(const Dropout<T>& dropped, const T* from) {
    gpu::launch(dropout_tiles_kernel<T>, blocks_of(x.dim(0) * t.across * t.along, tile_threads, "dropout"), t, from, y.as<T>(),
                dropped);
  });
}

}  // namespace cuboid::cuda
