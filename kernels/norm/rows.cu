// SPDX-License-Identifier: Apache-2.0
// Normalisation of channels-last activations: x is a matrix of voxels by channels. A block takes a chunk of rows; its
// threads lie side by side over packets of channels and, where channels are few, below each other over rows. Sums go
// through the block's chunks, cut by shape alone, and then over the chunks in f64, always in the same order.
#include "core/launch.h"
#include "core/packet.h"
#include "kernels/norm/cuda.h"

namespace cuboid::cuda::rows {
namespace {

constexpr int threads = 256;

/// How a matrix of `rows` (per segment) by `channels` is cut.
struct Cut {
  std::int64_t channels, rows, chunk, chunks;  // rows per chunk, chunks per segment
  std::int64_t columns;                        // groups of `across` packets
  int across, down;                            // threads of a block: packets of channels, rows

  Cut(const View& x, std::int64_t segments, int width, std::int64_t blocks)
      : channels(x.dim(1)), rows(x.size() / x.dim(1) / segments), across(1) {
    while (across < 32 && across * width < channels) across *= 2;
    down = threads / across;
    columns = (channels + across * width - 1) / (across * width);
    const std::int64_t others = columns * segments, wanted = std::max<std::int64_t>(1, (blocks + others - 1) / others);
    chunk = ((rows + wanted - 1) / wanted + down - 1) / down * down;
    chunks = (rows + chunk - 1) / chunk;
  }
  std::int64_t blocks(std::int64_t segments) const { return segments * chunks * columns; }
};

/// Where a thread works: rows [row, end) of its segment in steps of cut.down, channels [channel, channel + width).
struct Place {
  std::int64_t segment, chunk, begin, row, end, channel;
  int across, down;
  bool inside;

  __device__ Place(const Cut& cut, int width)
      : across(static_cast<int>(threadIdx.x) % cut.across), down(static_cast<int>(threadIdx.x) / cut.across) {
    const std::int64_t column = blockIdx.x % cut.columns, rest = blockIdx.x / cut.columns;
    chunk = rest % cut.chunks;
    segment = rest / cut.chunks;
    begin = chunk * cut.chunk;
    end = begin + cut.chunk < cut.rows ? begin + cut.chunk : cut.rows;
    row = begin + down;
    channel = (column * cut.across + across) * width;
    inside = channel < cut.channels;
  }
  /// Offset of the thread's packet in a row of the matrix.
  __device__ std::int64_t at(const Cut& cut, std::int64_t r) const { return (segment * cut.rows + r) * cut.channels + channel; }
  /// Offset in [segments, channels].
  __device__ std::int64_t statistic(const Cut& cut) const { return segment * cut.channels + channel; }
};

/// Adds up a pair of rows of numbers over the threads below each other; the results are those of the top ones.
template <class A, int W>
__device__ void add_down(const Cut& cut, const Place& p, A (&first)[W], A (&second)[W]) {
  GPU_SHARED(A, parts, [2][W][threads]);
  for (int i = 0; i < W; ++i) {
    parts[0][i][threadIdx.x] = first[i];
    parts[1][i][threadIdx.x] = second[i];
  }
  __syncthreads();
  for (int height = cut.down / 2; height > 0; height /= 2) {
    if (p.down < height)
      for (int i = 0; i < W; ++i)
        for (int k = 0; k < 2; ++k) parts[k][i][threadIdx.x] += parts[k][i][threadIdx.x + height * cut.across];
    __syncthreads();
  }
  for (int i = 0; i < W; ++i) {
    first[i] = parts[0][i][p.across];
    second[i] = parts[1][i][p.across];
  }
}

/// parts[segment][chunk][2][channels]
template <class A, int W>
__device__ void store_parts(const Cut& cut, const Place& p, const A (&first)[W], const A (&second)[W], A* parts) {
  if (p.down > 0 || !p.inside) return;
  A* to = parts + (p.segment * cut.chunks + p.chunk) * 2 * cut.channels + p.channel;
  for (int i = 0; i < W; ++i) {
    to[i] = first[i];
    to[cut.channels + i] = second[i];
  }
}

/// Mean and squared deviations of each chunk, by deviations from its first row: sound however far the mean is from zero.
template <class T, int W>
__global__ void __launch_bounds__(threads) statistics_kernel(Cut cut, const T* x, Accum<T>* parts) {
  using A = Accum<T>;
  const Place p(cut, W);
  A sum[W] = {}, squares[W] = {}, origin[W] = {};
  if (p.inside) {
    const auto first = Packet<T, W>::load(x + p.at(cut, p.begin));
    for (int i = 0; i < W; ++i) origin[i] = static_cast<A>(first.at[i]);
    const T* from = x + p.at(cut, p.row);
#pragma unroll 4
    for (std::int64_t r = p.row; r < p.end; r += cut.down, from += cut.down * cut.channels) {
      const auto v = Packet<T, W>::load(from);
      for (int i = 0; i < W; ++i) {
        const A d = static_cast<A>(v.at[i]) - origin[i];
        sum[i] += d;
        squares[i] += d * d;
      }
    }
  }
  add_down(cut, p, sum, squares);
  const A count = static_cast<A>(p.end - p.begin);
  for (int i = 0; i < W; ++i) {
    squares[i] -= sum[i] * sum[i] / count;
    sum[i] = origin[i] + sum[i] / count;
  }
  store_parts(cut, p, sum, squares, parts);
}

// The chunks of one channel are added by 8 threads below each other; a block has 32 channels.
constexpr int finish_across = 32, finish_down = threads / finish_across;

/// The sum over the block's 8 rows, for all of them.
__device__ double add_rows(double value) {
  GPU_SHARED(double, parts, [finish_down][finish_across]);
  const int across = static_cast<int>(threadIdx.x) % finish_across, down = static_cast<int>(threadIdx.x) / finish_across;
  parts[down][across] = value;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < finish_down; ++i) sum += parts[i][across];
  __syncthreads();
  return sum;
}

/// f(chunk, part's two numbers) for the chunks that belong to this thread.
template <class A, class F>
__device__ void each_part(const Cut& cut, const A* parts, std::int64_t segment, std::int64_t c, F&& f) {
  if (c >= cut.channels) return;
  const A* from = parts + segment * cut.chunks * 2 * cut.channels + c;
  for (std::int64_t k = threadIdx.x / finish_across; k < cut.chunks; k += finish_down)
    f(k, static_cast<double>(from[k * 2 * cut.channels]), static_cast<double>(from[(k * 2 + 1) * cut.channels]));
}

template <class A>
__global__ void __launch_bounds__(threads) finish_statistics_kernel(Cut cut, const A* parts, A* mean, A* var) {
  const std::int64_t groups = (cut.channels + finish_across - 1) / finish_across, segment = blockIdx.x / groups;
  const std::int64_t c = blockIdx.x % groups * finish_across + threadIdx.x % finish_across;
  const auto rows = [&](std::int64_t k) {
    const std::int64_t left = cut.rows - k * cut.chunk;
    return static_cast<double>(left < cut.chunk ? left : cut.chunk);
  };
  double sum = 0, squares = 0;
  each_part(cut, parts, segment, c, [&](std::int64_t k, double centre, double) { sum += rows(k) * centre; });
  const double centre = add_rows(sum) / static_cast<double>(cut.rows);
  each_part(cut, parts, segment, c, [&](std::int64_t k, double part_centre, double part_squares) {
    const double d = part_centre - centre;
    squares += part_squares + rows(k) * d * d;
  });
  squares = add_rows(squares);
  if (threadIdx.x >= finish_across || c >= cut.channels) return;
  mean[segment * cut.channels + c] = static_cast<A>(centre);
  var[segment * cut.channels + c] = static_cast<A>(squares > 0 ? squares / static_cast<double>(cut.rows) : 0);
}

/// v = (x - mean) * scale + shift of a packet of channels. weight and bias may be null.
template <class A, int W>
struct Affine {
  A mean[W], scale[W], shift[W];

  __device__ Affine(const Cut& cut, const Place& p, const A* means, const A* rstd, const A* weight, const A* bias) {
    for (int i = 0; i < W; ++i) {
      mean[i] = p.inside ? means[p.statistic(cut) + i] : A(0);
      scale[i] = p.inside ? rstd[p.statistic(cut) + i] * (weight ? weight[p.channel + i] : A(1)) : A(0);
      shift[i] = p.inside && bias ? bias[p.channel + i] : A(0);
    }
  }
};

template <class T, int W>
__global__ void __launch_bounds__(threads, 4) apply_kernel(Cut cut, const T* x, const Accum<T>* mean, const Accum<T>* rstd,
                                                           const Accum<T>* weight, const Accum<T>* bias, T* y, Accum<T> slope) {
  using A = Accum<T>;
  const Place p(cut, W);
  if (!p.inside) return;
  const Affine<A, W> a(cut, p, mean, rstd, weight, bias);
  std::int64_t at = p.at(cut, p.row);
#pragma unroll 4
  for (std::int64_t r = p.row; r < p.end; r += cut.down, at += cut.down * cut.channels) {
    const auto from = Packet<T, W>::load(x + at);
    Packet<T, W> to;
    for (int i = 0; i < W; ++i) {
      const A v = (static_cast<A>(from.at[i]) - a.mean[i]) * a.scale[i] + a.shift[i];
      to.at[i] = static_cast<T>(v > 0 ? v : v * slope);
    }
    to.store(y + at);
  }
}

/// Sums of g and of g * (x - mean) of each chunk.
template <class T, int W>
__global__ void __launch_bounds__(threads)
    sums_kernel(Cut cut, const T* g, const T* x, const Accum<T>* mean, const Accum<T>* rstd, const Accum<T>* weight,
                const Accum<T>* bias, Accum<T>* parts, Accum<T> slope) {
  using A = Accum<T>;
  const Place p(cut, W);
  const Affine<A, W> a(cut, p, mean, rstd, weight, bias);
  A sum[W] = {}, product[W] = {};
  if (p.inside) {
    std::int64_t at = p.at(cut, p.row);
#pragma unroll 4
    for (std::int64_t r = p.row; r < p.end; r += cut.down, at += cut.down * cut.channels) {
      const auto px = Packet<T, W>::load(x + at), pg = Packet<T, W>::load(g + at);
      for (int i = 0; i < W; ++i) {
        const A d = static_cast<A>(px.at[i]) - a.mean[i];
        const A own = static_cast<A>(pg.at[i]) * (d * a.scale[i] + a.shift[i] > 0 ? A(1) : slope);
        sum[i] += own;
        product[i] += own * d;
      }
    }
  }
  add_down(cut, p, sum, product);
  store_parts(cut, p, sum, product, parts);
}

/// terms[segment][2][channels]: dx = scale * g + first * (x - mean) + second.
template <class A>
__global__ void __launch_bounds__(threads)
    finish_sums_kernel(Cut cut, const A* parts, const A* rstd, const A* weight, A* dweight, A* dbias, A* terms, bool batch) {
  const std::int64_t groups = (cut.channels + finish_across - 1) / finish_across, segment = blockIdx.x / groups;
  const std::int64_t c = blockIdx.x % groups * finish_across + threadIdx.x % finish_across, at = segment * cut.channels + c;
  double sum = 0, product = 0;
  each_part(cut, parts, segment, c, [&](std::int64_t, double first, double second) {
    sum += first;
    product += second;
  });
  sum = add_rows(sum);
  product = add_rows(product);
  if (threadIdx.x >= finish_across || c >= cut.channels) return;
  const double r = static_cast<double>(rstd[at]), scale = r * (weight ? static_cast<double>(weight[c]) : 1);
  dbias[at] = static_cast<A>(sum);
  dweight[at] = static_cast<A>(product * r);
  const double share = batch ? 1 / static_cast<double>(cut.rows) : 0;
  terms[segment * 2 * cut.channels + c] = static_cast<A>(-scale * r * r * product * share);
  terms[(segment * 2 + 1) * cut.channels + c] = static_cast<A>(-scale * sum * share);
}

template <class T, int W>
__global__ void __launch_bounds__(threads)
    backward_kernel(Cut cut, const T* g, const T* x, const Accum<T>* mean, const Accum<T>* rstd, const Accum<T>* weight,
                    const Accum<T>* bias, const Accum<T>* terms, T* dx, Accum<T> slope) {
  using A = Accum<T>;
  const Place p(cut, W);
  if (!p.inside) return;
  const Affine<A, W> a(cut, p, mean, rstd, weight, bias);
  A per_deviation[W], constant[W];
  for (int i = 0; i < W; ++i) {
    per_deviation[i] = terms[p.segment * 2 * cut.channels + p.channel + i];
    constant[i] = terms[(p.segment * 2 + 1) * cut.channels + p.channel + i];
  }
  std::int64_t at = p.at(cut, p.row);
#pragma unroll 2
  for (std::int64_t r = p.row; r < p.end; r += cut.down, at += cut.down * cut.channels) {
    const auto px = Packet<T, W>::load(x + at), pg = Packet<T, W>::load(g + at);
    Packet<T, W> to;
    for (int i = 0; i < W; ++i) {
      const A d = static_cast<A>(px.at[i]) - a.mean[i];
      const A own = static_cast<A>(pg.at[i]) * (d * a.scale[i] + a.shift[i] > 0 ? A(1) : slope);
      to.at[i] = static_cast<T>(a.scale[i] * own + per_deviation[i] * d + constant[i]);
    }
    to.store(dx + at);
  }
}

/// f.operator()<T, W>(), W elements to a packet: 16 bytes where all of the views allow it, else one.
template <class F>
void typed(const View& x, std::initializer_list<View> others, F&& f) {
  bool wide = in_packets(x, x.dim(1));
  for (const View& v : others) wide = wide && in_packets(v, x.dim(1));
  visit_floating(x.dtype, "norm", [&]<class T>() {
    if (wide) f.template operator()<T, packet_width<T>>();
    else f.template operator()<T, 1>();
  });
}

// Blocks to cut into: enough for any device, and where sums are kept few enough to add them up quickly.
constexpr std::int64_t blocks_with_parts = 512, blocks_without = 4096;

gpu::LaunchCfg finish_blocks(const Cut& cut, std::int64_t segments, const char* name) {
  return blocks_of(segments * ((cut.channels + finish_across - 1) / finish_across), threads, name);
}

}  // namespace

void norm_statistics(const View& x, const Out& mean, const Out& var) {
  typed(x, {}, [&]<class T, int W>() {
    using A = Accum<T>;
    const std::int64_t segments = mean.dim(0);
    const Cut cut(x, segments, W, blocks_with_parts);
    const Scratch<A> parts(segments * cut.chunks * 2 * cut.channels, Device::cuda);
    gpu::launch(statistics_kernel<T, W>, blocks_of(cut.blocks(segments), threads, "norm_statistics"), cut,
                static_cast<const T*>(x.as<T>()), parts.data());
    gpu::launch(finish_statistics_kernel<A>, finish_blocks(cut, segments, "norm_finish_statistics"), cut,
                static_cast<const A*>(parts.data()), mean.as<A>(), var.as<A>());
  });
}

void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  typed(x, {y}, [&]<class T, int W>() {
    using A = Accum<T>;
    const std::int64_t segments = mean.dim(0);
    const Cut cut(x, segments, W, blocks_without);
    const A *means = mean.as<A>(), *rstds = rstd.as<A>(), *weights = weight.as<A>(), *biases = bias.as<A>();
    gpu::launch(apply_kernel<T, W>, blocks_of(cut.blocks(segments), threads, "norm_apply"), cut, static_cast<const T*>(x.as<T>()),
                means, rstds, weights, biases, y.as<T>(), static_cast<A>(slope));
  });
}

void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  typed(x, {g, dx}, [&]<class T, int W>() {
    using A = Accum<T>;
    const std::int64_t segments = mean.dim(0);
    const A *means = mean.as<A>(), *rstds = rstd.as<A>(), *weights = weight.as<A>(), *biases = bias.as<A>();
    const T *px = x.as<T>(), *pg = g.as<T>();
    const Cut cut(x, segments, W, blocks_with_parts), fine(x, segments, W, blocks_without);
    const Scratch<A> parts(segments * cut.chunks * 2 * cut.channels, Device::cuda),
        terms(segments * 2 * cut.channels, Device::cuda);
    gpu::launch(sums_kernel<T, W>, blocks_of(cut.blocks(segments), threads, "norm_sums"), cut, pg, px, means, rstds, weights,
                biases, parts.data(), static_cast<A>(slope));
    gpu::launch(finish_sums_kernel<A>, finish_blocks(cut, segments, "norm_finish_sums"), cut, static_cast<const A*>(parts.data()),
                rstds, weights, dweight.as<A>(), dbias.as<A>(), terms.data(), batch);
    if (!dx.data) return;
    gpu::launch(backward_kernel<T, W>, blocks_of(fine.blocks(segments), threads, "norm_backward"), fine, pg, px, means, rstds,
                weights, biases, static_cast<const A*>(terms.data()), dx.as<T>(), static_cast<A>(slope));
  });
}

}  // namespace cuboid::cuda::rows
