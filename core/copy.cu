// SPDX-License-Identifier: Apache-2.0
// copy on the device: elements of one dtype are moved as words, from one layout to another through squares in shared memory;
// dtypes are converted in packets where floats lie in rows, else one by one.
#include "core/launch.h"
#include "core/packet_rows.h"
#include "core/words.h"

namespace cuboid::cuda {
namespace {

template <class W>
__global__ void words_kernel(Indexer<2> index, W* to, const W* from) {
  const std::int64_t step = gridDim.x * blockDim.x;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < index.size; i += step) {
    std::int64_t at[2];
    index.at(i, at);
    to[at[0]] = from[at[1]];
  }
}

// ---- one layout to another ---------------------------------------------------------------------

constexpr int side = 32, rows_at_once = 8, across_threads = side * rows_at_once;

/// Planes in which one dimension (a) is dense in the target and another (b) in the source, cut into squares.
struct Planes {
  Indexer<2> corners;                     // of the planes
  std::int64_t a, b, step_to, step_from;  // extents; between neighbours along b in the target and along a in the source
  std::int64_t squares_a, squares_b;
};

template <class W>
__global__ void __launch_bounds__(across_threads) across_kernel(Planes p, W* to, const W* from) {
  GPU_SHARED(W, square, [side][side + 1]);
  const int lane = static_cast<int>(threadIdx.x) % side, line = static_cast<int>(threadIdx.x) / side;
  const std::int64_t jobs = p.corners.size * p.squares_a * p.squares_b;
  for (std::int64_t job = blockIdx.x; job < jobs; job += gridDim.x) {
    const std::int64_t plane = job / (p.squares_a * p.squares_b), rest = job - plane * p.squares_a * p.squares_b;
    const std::int64_t i0 = rest / p.squares_b * side, j0 = rest % p.squares_b * side;
    std::int64_t corner[2];
    p.corners.at(plane, corner);
    for (int r = line; r < side; r += rows_at_once)
      if (i0 + r < p.a && j0 + lane < p.b) square[r][lane] = from[corner[1] + (i0 + r) * p.step_from + j0 + lane];
    __syncthreads();
    for (int r = line; r < side; r += rows_at_once)
      if (j0 + r < p.b && i0 + lane < p.a) to[corner[0] + (j0 + r) * p.step_to + i0 + lane] = square[lane][r];
    __syncthreads();
  }
}

/// The dimension along which enough elements lie next to each other, or -1.
int dense_dimension(const View& v) {
  for (int d = 0; d < v.rank(); ++d)
    if (v.stride(d) == 1 && v.dim(d) >= side / 2) return d;
  return -1;
}

template <class W>
void copy_across(const View& from, const View& to, int a, int b) {
  View corner_to = to, corner_from = from;
  for (const int d : {a, b}) corner_to.shape[d] = corner_from.shape[d] = 1;
  const auto squares = [](std::int64_t n) { return (n + side - 1) / side; };
  const Planes p{Indexer<2>::of({corner_to, corner_from}),
                 to.dim(a),
                 to.dim(b),
                 to.stride(b),
                 from.stride(a),
                 squares(to.dim(a)),
                 squares(to.dim(b))};
  const std::int64_t blocks = std::min<std::int64_t>(p.corners.size * p.squares_a * p.squares_b, 1 << 20);
  gpu::launch(across_kernel<W>, blocks_of(blocks, across_threads, "copy"), p, to.as<W>(), static_cast<const W*>(from.as<W>()));
}

// ---- another dtype -----------------------------------------------------------------------------

template <class To, class From>
__global__ void convert_kernel(Indexer<2> index, To* to, const From* from) {
  const std::int64_t step = gridDim.x * blockDim.x;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < index.size; i += step) {
    std::int64_t at[2];
    index.at(i, at);
    to[at[0]] = convert<To>(from[at[1]]);
  }
}

/// Four elements: 16 bytes of f32, 8 of a 16-bit float.
template <class To, class From>
__global__ void convert_packets_kernel(PacketRows<2> rows, To* to, const From* from) {
  const std::int64_t step = gridDim.x * blockDim.x, size = rows.rows.size * rows.packets;
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    std::int64_t at[2];
    const int count = rows.at(i, 4, at);
    const auto x = load_some<4>(from + at[1], rows.repeats[1] ? 1 : count);
    Packet<To, 4> y;
    for (int j = 0; j < 4; ++j) y.at[j] = static_cast<To>(static_cast<float>(x.at[j]));
    store_some(y, to + at[0], count);
  }
}

template <class To, class From>
inline constexpr bool widens_or_narrows = (std::is_same_v<To, float> && sizeof(From) == 2) ||
                                          (std::is_same_v<From, float> && sizeof(To) == 2);

template <class To, class From>
void copy_converted(const View& from, const Out& to) {
  const From* source = from.as<From>();
  if constexpr (widens_or_narrows<To, From>)
    if (PacketRows<2>::fit({to, from}, 4)) {
      const auto rows = PacketRows<2>::of({to, from}, 4);
      return gpu::launch(convert_packets_kernel<To, From>, over(rows.size(), "convert"), rows, to.as<To>(), source);
    }
  gpu::launch(convert_kernel<To, From>, over(to.size(), "convert"), Indexer<2>::of({to, from}), to.as<To>(), source);
}

}  // namespace

void copy(const View& from, const Out& to) {
  if (to.size() == 0) return;
  if (from.dtype != to.dtype)
    return visit(to.dtype, [&]<class To>() {
      visit(from.dtype, [&]<class From>() {
        if constexpr (!std::is_same_v<To, From>) copy_converted<To, From>(from, to);
      });
    });
  const int a = dense_dimension(to), b = dense_dimension(from);
  if (a >= 0 && b >= 0 && a != b) {
    const std::int64_t bytes = size_of(to.dtype);
    if (bytes == 8) return copy_across<uint2>(from, to, a, b);
    if (bytes == 4) return copy_across<std::uint32_t>(from, to, a, b);
    if (bytes == 2) return copy_across<std::uint16_t>(from, to, a, b);
    return copy_across<std::uint8_t>(from, to, a, b);
  }
  with_words<2>({to, from}, [&]<class W>(const Indexer<2>& index, const std::array<W*, 2>& data) {
    gpu::launch(words_kernel<W>, over(index.size, "copy"), index, data[0], static_cast<const W*>(data[1]));
  });
}

}  // namespace cuboid::cuda
