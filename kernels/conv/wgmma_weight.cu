// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's weights on Hopper's tensor cores. k runs over output voxels, 64 at a time: TMA brings what
// they read through a tap (im2col), and their gradients. Both operands lie with k as lines, which wgmma takes as they are.
// Rows of the result are (tap, channel of x) in boxes, 64 of them for each of the two warpgroups.
#include "kernels/conv/walk.h"
#include "kernels/conv/wgmma.h"
#include "kernels/conv/wgmma_plan.h"

namespace cuboid::cuda {
namespace {

/// blockIdx: x rows, y columns, z splits of k.
template <class T>
struct Params {
  gpu::TensorMap x, dy;
  tiles::Result<T> result;
  std::int64_t part;  // elements of one split's result
  Divisor by_out[3];
  int kernel[3], stride[3], dilation[3], pad[3];
  int channels, results, voxels;
  tiles::BoxSize box;
  int channel_boxes, all_boxes;  // of a tap, of all
  int split_steps;
};

#if GPU_HAS_SM90A
/// One thread queues all copies of the block.
template <class W>
__device__ void fill_ring(const Params<typename W::T>& p, const tiles::Ring<W>& ring, int first_box, int first_column,
                          int first_voxel, int steps) {
  const int boxes = 2 * p.box.in_stage(), box = p.box.channels();  // 128 rows
  for (int step = 0; step < steps; ++step) {
    int voxel = first_voxel + step * W::depth, start[3];
    std::uint64_t* bar = ring.begin_fill(step);
    unsigned char *to_a = ring.a(step), *to_b = ring.b(step);
    for (int n = 0; n < W::columns; n += W::strip) ptx::tma_load_2d(to_b + n * W::depth * 2, &p.dy, bar, first_column + n, voxel);
    for (int a = 2; a >= 0; --a) start[a] = p.by_out[a].take(voxel) * p.stride[a] - p.pad[a];
    for (int i = 0; i < boxes; ++i) {
      const bool real = first_box + i < p.all_boxes;  // beyond: zeros, from beyond the channels
      int tap = real ? first_box + i : 0, channel = take_index(tap, p.channel_boxes);
      if (!real) channel = p.channel_boxes;
      std::uint16_t offset[3];
      for (int a = 2; a >= 0; --a) offset[a] = static_cast<std::uint16_t>(take_index(tap, p.kernel[a]) * p.dilation[a]);
      ptx::tma_load_im2col_5d(to_a, &p.x, bar, channel * box, start[2], start[1], start[0], voxel, offset[2], offset[1],
                              offset[0]);
      to_a += W::depth * box * 2;
    }
  }
}
#endif

template <class W>
__global__ void __launch_bounds__(W::all_threads, W::blocks)
    wgmma_weight_kernel(const __grid_constant__ Params<typename W::T> p) {
#if GPU_HAS_SM90A
  const tiles::Ring<W> ring;
  const int box = p.box.channels(), first_box = static_cast<int>(blockIdx.x) * (W::rows / box);
  const int first_column = static_cast<int>(blockIdx.y) * W::columns;
  const int first_voxel = static_cast<int>(blockIdx.z) * p.split_steps * W::depth, left = p.voxels - first_voxel;
  const int all_steps = left > 0 ? (left + W::depth - 1) / W::depth : 0;
  const int steps = all_steps < p.split_steps ? all_steps : p.split_steps;
  if (threadIdx.x >= W::threads) {
    if (ptx::elect_one()) fill_ring<W>(p, ring, first_box, first_column, first_voxel, steps);
  } else {
    float sum[W::columns / 2];
    const int group = static_cast<int>(threadIdx.x) / 128;
    const std::uint64_t a =
        ptx::wgmma_desc(ring.a_room + group * (W::a_bytes / 2), p.box.swizzle(), 16 * box, W::depth * box * 2);
    const std::uint64_t b = ptx::wgmma_desc(ring.b_room, W::strip_swizzle, 16 * W::strip, W::depth * W::strip * 2);
    tiles::multiply_steps<W, 1, 1>(
        ring, steps, sum, [&](int k) { return a + static_cast<std::uint64_t>(k * 2 * box); },
        [&](int k) { return b + static_cast<std::uint64_t>(k * 2 * W::strip); });
    tiles::write_sums<W>(ring, sum, p.result, first_column, p.results, [&](int r) -> std::int64_t {
      int tap = first_box + r / box;
      const bool real = tap < p.all_boxes;
      const int channel = take_index(tap, p.channel_boxes) * box + r % box;
      if (!real || channel >= p.channels) return -1;
      return blockIdx.z * p.part + (static_cast<std::int64_t>(tap) * p.channels + channel) * p.results;
    });
  }
#endif
}

template <class W>
void weight_wgmma(const Geometry& s, const View& dy, const View& x, const Out& dw) {
  using T = typename W::T;
  const int taps = static_cast<int>(Geometry::volume(s.kernel));
  Params<T> p{.part = dw.size(),
              .channels = static_cast<int>(s.in_channels),
              .results = static_cast<int>(s.out_channels),
              .voxels = static_cast<int>(s.samples * Geometry::volume(s.out)),
              .box = wgmma::box_for(s.in_channels)};
  p.channel_boxes = ceil_div(p.channels, p.box.channels());
  p.all_boxes = taps * p.channel_boxes;
  const int rows = ceil_div(p.all_boxes, W::rows / p.box.channels()), column_tiles = ceil_div(p.results, W::columns);
  const Split split(std::int64_t{rows} * column_tiles, ceil_div(p.voxels, W::depth));
  p.split_steps = split.steps;
  const Scratch<float> parts(split.splits * dw.size(), Device::cuda);
  p.result = tiles::Result<T>{.parts = parts.data(), .packets = p.results % packet_width<T> == 0};
  const Gather windows = Gather::forward(s);
  std::array<int, 3> lower{}, upper{}, step{};
  for (int a = 0; a < 3; ++a) {
    const auto at = static_cast<std::size_t>(a), inner = 2 - at;  // maps want the innermost first
    p.by_out[a] = Divisor(s.out[at]);
    p.kernel[a] = static_cast<int>(s.kernel[at]);
    p.stride[a] = step[inner] = static_cast<int>(s.stride[at]);
    p.dilation[a] = static_cast<int>(s.dilation[at]);
    p.pad[a] = static_cast<int>(s.pad_lo[at]);
    lower[inner] = wgmma::window_of(windows, a, 0).lower;
    upper[inner] = wgmma::window_of(windows, a, 0).upper;
  }
  const auto from = wgmma::channels_last(x, s.in_channels, {s.in[2], s.in[1], s.in[0], s.samples}, p.box);
  p.x = gpu::im2col_map(from, p.box.channels(), W::depth, lower, upper, step);
  const gpu::TensorLayout gradient{dy.data, dy.dtype, 2, {p.results, p.voxels}, {1, p.results}, W::strip_swizzle};
  p.dy = gpu::tiled_map(gradient, {W::strip, W::depth, 1, 1, 1});
  gpu::launch(wgmma_weight_kernel<W>, wgmma::blocks_for<W>(rows, column_tiles, split.splits, "conv_weight"), p);
  add_weight_parts<T>(parts.data(), split.splits, taps, p.channels, p.results, dw.as<T>());
}

}  // namespace

namespace wgmma {

bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  return type_fits(x, spec) && type_fits(g, spec) && simt::weight_fits(g, x, dw, spec) &&
         windows_fit(Gather::forward(geometry(x.dtype, x.shape, dw.shape, g.shape, spec)));
}
void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry s = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  chosen(x.dtype, s.out_channels, [&]<class W>() { weight_wgmma<W>(s, g, x, dw); });
}

}  // namespace wgmma
}  // namespace cuboid::cuda
