// SPDX-License-Identifier: Apache-2.0
// Sums whose fastest dimension lies densely, in packets of 16 bytes. Blocks take chunks that are cut by shape alone; a
// thread adds at most 1024 numbers in f32 before they go on in f64, and the chunks are added in order.
#include "core/packet.h"
#include "kernels/reduce/cuda.h"
#include "kernels/reduce/team.h"

namespace cuboid::reduce::cuda {
namespace {

constexpr int threads = team_threads;

double* part_or_null(const Scratch<double>& parts, std::int64_t chunks) { return chunks > 1 ? parts.data() : nullptr; }

// ---- rows --------------------------------------------------------------------------------------

/// Every output has `lines` dense lines of n elements, each cut into pieces; a block takes one piece after the other.
struct RowCut {
  std::int64_t n, pieces, piece, chunks, chunk;  // elements of a line, pieces per line, elements per piece; pieces per chunk
  Axes<2> axes;                                  // the reduced dimensions without the fastest

  RowCut(Axes<2> a, int width) : n(a.reduced[a.reduced_rank - 1]), axes(a) {
    axes.length /= n;
    --axes.reduced_rank;
    piece = std::int64_t{threads} * width * 8;
    pieces = (n + piece - 1) / piece;
    const std::int64_t all = axes.length * pieces;
    chunk = std::max<std::int64_t>(1, std::min(4 * piece / std::min(n, piece), all));
    chunks = (all + chunk - 1) / chunk;
  }
};

template <class T, int W>
__global__ void __launch_bounds__(threads) rows_kernel(RowCut cut, const T* x, T* y, double* parts, double scale) {
  using A = Accum<T>;
  std::int64_t at[2];
  cut.axes.output(blockIdx.x / cut.chunks, at);
  const std::int64_t first = blockIdx.x % cut.chunks * cut.chunk;
  const std::int64_t last = min(first + cut.chunk, cut.axes.length * cut.pieces);
  double total = 0;
  for (std::int64_t r = first; r < last; ++r) {
    const std::int64_t begin = r % cut.pieces * cut.piece, end = min(cut.n, begin + cut.piece);
    const T* line = x + at[0] + cut.axes.element(r / cut.pieces);
    A lane[W] = {};
    std::int64_t i = begin + static_cast<std::int64_t>(threadIdx.x) * W;
#pragma unroll 4
    for (; i + W <= end; i += threads * W) {
      const auto v = Packet<T, W>::load(line + i);
      for (int k = 0; k < W; ++k) lane[k] += static_cast<A>(v.at[k]);
    }
    for (int k = 0; k < W && i + k < end; ++k) lane[k] += static_cast<A>(line[i + k]);
    for (int k = 0; k < W; ++k) total += static_cast<double>(lane[k]);
  }
  total = fold(total, threads, [](double a, double b) { return a + b; });
  if (threadIdx.x > 0) return;
  if (parts) parts[blockIdx.x] = total;
  else y[at[1]] = static_cast<T>(total * scale);
}

// ---- columns -----------------------------------------------------------------------------------

/// Every outer output is a matrix of `rows` by dense `columns`. Threads lie side by side over packets of columns and,
/// where columns are few, below each other over rows.
struct ColumnCut {
  std::int64_t columns, rows, chunk, chunks, groups;  // rows per chunk, chunks per output, blocks side by side
  int across, down;
  Axes<2> axes;  // the kept dimensions without the columns
  std::int64_t step_y;

  ColumnCut(Axes<2> a, int width)
      : columns(a.kept[a.kept_rank - 1]), rows(a.length), across(1), axes(a), step_y(a.kept_strides[1][a.kept_rank - 1]) {
    --axes.kept_rank;
    axes.outputs /= columns;
    while (across < 32 && across * width < columns) across *= 2;
    down = threads / across;
    groups = (columns + across * width - 1) / (across * width);
    const std::int64_t others = axes.outputs * groups, wanted = std::max<std::int64_t>(1, 1024 / others);
    const std::int64_t terms = std::clamp<std::int64_t>((rows + wanted * down - 1) / (wanted * down), 8, 1024);
    chunk = terms * down;
    chunks = (rows + chunk - 1) / chunk;
  }
};

/// Flat: the rows lie at one distance from each other.
template <class T, int W, bool flat>
__global__ void __launch_bounds__(threads, 4) columns_kernel(ColumnCut cut, const T* x, T* y, double* parts, double scale) {
  using A = Accum<T>;
  GPU_SHARED(double, sums, [W][threads]);
  const int thread = static_cast<int>(threadIdx.x), across = thread % cut.across, down = thread / cut.across;
  const std::int64_t group = blockIdx.x % cut.groups, rest = blockIdx.x / cut.groups;
  const std::int64_t chunk = rest % cut.chunks, output = rest / cut.chunks;
  const std::int64_t column = (group * cut.across + across) * W;
  const bool inside = column < cut.columns;
  std::int64_t at[2];
  cut.axes.output(output, at);
  A lane[W] = {};
  if (inside) {
    const std::int64_t begin = chunk * cut.chunk, end = min(cut.rows, begin + cut.chunk);
    const T* from = x + at[0] + column;
#pragma unroll 4
    for (std::int64_t r = begin + down; r < end; r += cut.down) {
      const auto v = Packet<T, W>::load(from + (flat ? r * cut.axes.reduced_strides[0] : cut.axes.element(r)));
      for (int k = 0; k < W; ++k) lane[k] += static_cast<A>(v.at[k]);
    }
  }
  for (int k = 0; k < W; ++k) sums[k][thread] = static_cast<double>(lane[k]);
  __syncthreads();
  for (int height = cut.down / 2; height > 0; height /= 2) {
    if (down < height)
      for (int k = 0; k < W; ++k) sums[k][thread] += sums[k][thread + height * cut.across];
    __syncthreads();
  }
  if (down > 0 || !inside) return;
  for (int k = 0; k < W; ++k) {
    if (parts) parts[(output * cut.chunks + chunk) * cut.columns + column + k] = sums[k][thread];
    else y[at[1] + (column + k) * cut.step_y] = static_cast<T>(sums[k][thread] * scale);
  }
}

// ---- both --------------------------------------------------------------------------------------

Axes<2> axes_of(const View& x, const Out& y) { return Axes<2>::of({x, y}, Axes<2>::Order::memory); }

/// True when each step but the fastest is whole packets and the memory starts on one.
bool in_packets(const View& x, const Axes<2>& a, std::int64_t width) {
  bool whole = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  for (int d = 0; d < a.kept_rank; ++d) whole = whole && (a.kept_strides[0][d] % width == 0 || a.kept_strides[0][d] == 1);
  for (int d = 0; d < a.reduced_rank; ++d) whole = whole && (a.reduced_strides[d] % width == 0 || a.reduced_strides[d] == 1);
  return whole;
}

/// The parts of [outer outputs][chunks][columns] (columns 1 for rows), to be added over the chunks.
Axes<2> of_parts(Axes<2> a, std::int64_t chunks, std::int64_t columns) {
  std::int64_t step = chunks * columns;
  int d = a.kept_rank - 1;
  if (columns > 1) a.kept_strides[0][d--] = 1;
  for (; d >= 0; --d) {
    a.kept_strides[0][d] = step;
    step *= a.kept[d];
  }
  a.reduced_rank = 0;
  a.length = 1;
  a.add_reduced(chunks, columns);
  return a;
}

}  // namespace

bool fits_rows(const View& x, const Out& y, const double&) {
  const Axes<2> a = axes_of(x, y);
  return is_floating(x.dtype) && a.fastest_reduced && a.reduced_strides[a.reduced_rank - 1] == 1 &&
         a.reduced[a.reduced_rank - 1] >= 2 * threads;
}

void sum_rows(const View& x, const Out& y, const double& scale) {
  const Axes<2> a = axes_of(x, y);
  visit_floating(x.dtype, "sum", [&]<class T>() {
    const auto with_width = [&]<int W>() {
      const RowCut cut(a, W);
      const std::int64_t blocks = a.outputs * cut.chunks;
      const Scratch<double> parts(cut.chunks > 1 ? blocks : 0, Device::cuda);
      gpu::launch(rows_kernel<T, W>, cuboid::cuda::blocks_of(blocks, threads, "sum_rows"), cut, x.as<T>(), y.as<T>(),
                  part_or_null(parts, cut.chunks), scale);
      if (cut.chunks > 1) add_parts(of_parts(a, cut.chunks, 1), parts.data(), y, scale);
    };
    if (in_packets(x, a, packet_width<T>)) with_width.template operator()<packet_width<T>>();
    else with_width.template operator()<1>();
  });
}

bool fits_columns(const View& x, const Out& y, const double&) {
  const Axes<2> a = axes_of(x, y);
  return is_floating(x.dtype) && !a.fastest_reduced && a.kept_rank > 0 && a.kept_strides[0][a.kept_rank - 1] == 1 &&
         a.length >= 32;
}

void sum_columns(const View& x, const Out& y, const double& scale) {
  const Axes<2> a = axes_of(x, y);
  const std::int64_t columns = a.kept[a.kept_rank - 1];
  visit_floating(x.dtype, "sum", [&]<class T>() {
    const auto with_width = [&]<int W>() {
      const ColumnCut cut(a, W);
      const std::int64_t blocks = cut.axes.outputs * cut.chunks * cut.groups;
      const Scratch<double> parts(cut.chunks > 1 ? a.outputs * cut.chunks : 0, Device::cuda);
      const auto kernel = a.reduced_rank == 1 ? columns_kernel<T, W, true> : columns_kernel<T, W, false>;
      gpu::launch(kernel, cuboid::cuda::blocks_of(blocks, threads, "sum_columns"), cut, x.as<T>(), y.as<T>(),
                  part_or_null(parts, cut.chunks), scale);
      if (cut.chunks > 1) add_parts(of_parts(a, cut.chunks, columns), parts.data(), y, scale);
    };
    if (columns % packet_width<T> == 0 && in_packets(x, a, packet_width<T>)) with_width.template operator()<packet_width<T>>();
    else with_width.template operator()<1>();
  });
}

}  // namespace cuboid::reduce::cuda
