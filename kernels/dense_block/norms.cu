// SPDX-License-Identifier: Apache-2.0
// What happens between the products of a dense block, per channel: statistics from parts of tiles, norms as a scale and a
// shift, running statistics, sums of the backward pass. A block has 32 channels; eight threads below each other share a
// channel's tiles, in f64 and always in the same order.
#include "core/launch.h"
#include "kernels/dense_block/cuda.h"

namespace cuboid::dense::device {
namespace {

constexpr int across = 32, down = 8, threads = across * down;

__device__ int channel_of_thread() { return static_cast<int>(blockIdx.x) * across + static_cast<int>(threadIdx.x) % across; }

/// The sum over the threads of one channel, for all of them.
__device__ double add_threads(double value) {
  GPU_SHARED(double, parts, [down][across]);
  const int x = static_cast<int>(threadIdx.x) % across, y = static_cast<int>(threadIdx.x) / across;
  parts[y][x] = value;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < down; ++i) sum += parts[i][x];
  __syncthreads();
  return sum;
}

struct PartsView {
  const float* data;
  int tiles, tile_rows, channels, rows;

  PartsView(const Parts& p, int all_rows)
      : data(static_cast<const float*>(p.memory.defined() ? p.memory.view().data : nullptr)),
        tiles(p.memory.defined() ? p.tiles : 0),
        tile_rows(p.tile_rows),
        channels(p.channels),
        rows(all_rows) {}
  /// f(rows of the tile, its two numbers) for this thread's tiles of channel c.
  template <class F>
  __device__ void each(int c, F&& f) const {
    for (int t = static_cast<int>(threadIdx.x) / across; t < tiles; t += down) {
      const float* at = data + static_cast<std::int64_t>(t) * 2 * channels + c;
      const int left = rows - t * tile_rows;
      f(static_cast<double>(left < tile_rows ? left : tile_rows), static_cast<double>(at[0]), static_cast<double>(at[channels]));
    }
  }
};

__device__ void fold(const Norm& n, int c, double mean, double var, double eps) {
  const double rstd = 1 / sqrt(var + eps), scale = static_cast<double>(n.weight[c]) * rstd;
  n.mean[c] = static_cast<float>(mean);
  n.rstd[c] = static_cast<float>(rstd);
  n.scale[c] = static_cast<float>(scale);
  n.shift[c] = static_cast<float>(static_cast<double>(n.bias[c]) - mean * scale);
}

__global__ void __launch_bounds__(threads)
    normalise_kernel(Norm n, PartsView parts, int known, float* mean, float* var, double eps, double momentum) {
  const int c = channel_of_thread(), part = c - known;
  const bool fresh = part >= 0 && c < n.channels;
  double sum = 0, squares = 0;
  if (fresh) parts.each(part, [&](double rows, double centre, double) { sum += rows * centre; });
  double centre = add_threads(sum) / parts.rows;
  if (fresh)
    parts.each(part, [&](double rows, double part_centre, double part_squares) {
      const double d = part_centre - centre;
      squares += part_squares + rows * d * d;
    });
  double variance = add_threads(squares) / parts.rows;
  if (static_cast<int>(threadIdx.x) >= across || c >= n.channels) return;
  if (fresh) {
    if (variance < 0) variance = 0;
    mean[c] = static_cast<float>(centre);
    var[c] = static_cast<float>(variance);
  } else {
    centre = static_cast<double>(mean[c]);
    variance = static_cast<double>(var[c]);
  }
  fold(n, c, centre, variance, eps);
  const double unbiased = static_cast<double>(parts.rows) / (parts.rows > 1 ? parts.rows - 1 : 1);
  n.running_mean[c] = static_cast<float>((1 - momentum) * static_cast<double>(n.running_mean[c]) + momentum * centre);
  n.running_var[c] = static_cast<float>((1 - momentum) * static_cast<double>(n.running_var[c]) + momentum * variance * unbiased);
}

constexpr int list_size = 32;  // keeps a launch's arguments below 4 KB
struct NormList {
  Norm norms[list_size];
  int count;
};

/// blockIdx.y: which norm.
__global__ void given_kernel(NormList list, double eps) {
  const Norm& n = list.norms[blockIdx.y];
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c < n.channels) fold(n, c, static_cast<double>(n.running_mean[c]), static_cast<double>(n.running_var[c]), eps);
}

__global__ void __launch_bounds__(threads)
    sums_kernel(Norm n, PartsView parts, bool batch, bool add, float* dweight, float* dbias, Pending terms) {
  const int c = channel_of_thread();
  double sum = 0, product = 0;
  if (c < n.channels)
    parts.each(c, [&](double, double first, double second) {
      sum += first;
      product += second;
    });
  sum = add_threads(sum);
  product = add_threads(product);
  if (static_cast<int>(threadIdx.x) >= across || c >= n.channels) return;
  const double rstd = static_cast<double>(n.rstd[c]), scale = static_cast<double>(n.scale[c]);
  product *= rstd;  // the sum of da * xhat
  dweight[c] = static_cast<float>(product);
  dbias[c] = static_cast<float>(sum);
  const double share = batch ? 1 / static_cast<double>(parts.rows) : 0;
  const double factor = -scale * rstd * product * share;
  const double offset = -scale * sum * share - factor * static_cast<double>(n.mean[c]);
  terms.factor[c] = static_cast<float>(factor + (add ? static_cast<double>(terms.factor[c]) : 0));
  terms.offset[c] = static_cast<float>(offset + (add ? static_cast<double>(terms.offset[c]) : 0));
}

gpu::LaunchCfg over_channels(int channels, const char* name) {
  return cuda::blocks_of((channels + across - 1) / across, threads, name);
}

}  // namespace

void normalise(const Norm& norm, const Parts& parts, int voxels, int known, float* mean, float* var, double eps,
               double momentum) {
  gpu::launch(normalise_kernel, over_channels(norm.channels, "dense_block.norm"), norm, PartsView(parts, voxels), known, mean,
              var, eps, momentum);
}

void normalise_given(const std::vector<Norm>& norms, double eps) {
  for (std::size_t first = 0; first < norms.size(); first += list_size) {
    NormList list{};
    int most = 0;
    for (std::size_t i = first; i < std::min(norms.size(), first + list_size); ++i) {
      list.norms[list.count++] = norms[i];
      most = std::max(most, norms[i].channels);
    }
    gpu::LaunchCfg grid = cuda::blocks_of((most + threads - 1) / threads, threads, "dense_block.norms");
    grid.grid.y = static_cast<unsigned>(list.count);
    gpu::launch(given_kernel, grid, list, eps);
  }
}

void finish_sums(const Norm& norm, const Parts& parts, int voxels, bool batch, bool add, float* dweight, float* dbias,
                 Pending terms) {
  gpu::launch(sums_kernel, over_channels(norm.channels, "dense_block.sums"), norm, PartsView(parts, voxels), batch, add, dweight,
              dbias, terms);
}

}  // namespace cuboid::dense::device
