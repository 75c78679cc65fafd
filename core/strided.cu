// SPDX-License-Identifier: Apache-2.0
// fill and add_into on the device.
#include <cstring>

#include "core/launch.h"
#include "core/packet_rows.h"
#include "core/words.h"

namespace cuboid::cuda {
namespace {

template <class W>
__global__ void fill_kernel(Indexer<1> index, W* x, W value) {
  const std::int64_t step = gridDim.x * blockDim.x;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < index.size; i += step) {
    std::int64_t at[1];
    index.at(i, at);
    x[at[0]] = value;
  }
}

template <class T>
__global__ void add_kernel(Indexer<2> index, T* to, const T* from) {
  using A = Accum<T>;
  const std::int64_t step = gridDim.x * blockDim.x;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < index.size; i += step) {
    std::int64_t at[2];
    index.at(i, at);
    to[at[0]] = static_cast<T>(static_cast<A>(to[at[0]]) + static_cast<A>(from[at[1]]));
  }
}

template <class T>
__global__ void add_packets_kernel(PacketRows<2> rows, T* to, const T* from) {
  constexpr int width = packet_width<T>;
  const std::int64_t step = gridDim.x * blockDim.x, size = rows.rows.size * rows.packets;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    std::int64_t at[2];
    const int count = rows.at(i, width, at);
    auto sum = load_some<width>(static_cast<const T*>(to + at[0]), count);
    const auto x = load_some<width>(from + at[1], rows.repeats[1] ? 1 : count);
    for (int j = 0; j < width; ++j) sum.at[j] = static_cast<T>(static_cast<float>(sum.at[j]) + static_cast<float>(x.at[j]));
    store_some(sum, to + at[0], count);
  }
}

}  // namespace

void fill(const Out& x, double value) {
  if (x.size() == 0) return;
  unsigned char pattern[16];  // the element's bytes, over and over
  visit(x.dtype, [&]<class T>() {
    const T element = convert<T>(value);
    for (std::size_t at = 0; at < sizeof pattern; at += sizeof(T)) std::memcpy(pattern + at, &element, sizeof(T));
  });
  with_words<1>({x}, [&]<class W>(const Indexer<1>& index, const std::array<W*, 1>& data) {
    W word;
    std::memcpy(&word, pattern, sizeof(W));
    gpu::launch(fill_kernel<W>, over(index.size, "fill"), index, data[0], word);
  });
}

void add_into(const Out& target, const View& x) {
  if (target.size() == 0) return;
  visit(target.dtype, [&]<class T>() {
    const T* from = x.as<T>();
    if constexpr (std::is_same_v<Accum<T>, float>)
      if (PacketRows<2>::fit({target, x}, packet_width<T>)) {
        const auto rows = PacketRows<2>::of({target, x}, packet_width<T>);
        return gpu::launch(add_packets_kernel<T>, over(rows.size(), "add"), rows, target.as<T>(), from);
      }
    gpu::launch(add_kernel<T>, over(target.size(), "add"), Indexer<2>::of({target, x}), target.as<T>(), from);
  });
}

}  // namespace cuboid::cuda
