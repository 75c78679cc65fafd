// SPDX-License-Identifier: Apache-2.0
// Convolution and the gradient of its input on Hopper's tensor cores (compute capability 9.0). TMA in im2col mode brings what
// 128 results read through a tap, wherever they continue in the next line, plane or sample, with zeros for the padding; the
// weights come packed as [K][tap][C], k-major for the forward pass, the other way round for the gradient.
#include "kernels/conv/wgmma.h"

#include "kernels/conv/walk.h"
#include "kernels/conv/wgmma_plan.h"

namespace cuboid::cuda {
namespace {

using tiles::BoxSize;
using tiles::Wgmma;

template <class T>
struct Params {
  gpu::TensorMap source[wgmma::most_phases], weights;
  Gather g;
  tiles::Result<T> result;
  std::int64_t part;                  // elements of the result
  int lower[3][Gather::most_phases];  // where the windows of each axis' phase begin
  BoxSize box;
  int channel_boxes;  // of a tap
  int splits, split_steps;
};

#if GPU_HAS_SM90A
/// What a block works on. blockIdx: x rows, y columns, z splits of k within phases.
struct Place {
  int split, phase_number, phase[3], lower[3], rows, boxes;  // rows of the phase, boxes of its k
  int first_row, first_box, steps;
  AxisPhase axis[3];

  template <class W, class P>
  __device__ static Place of(const P& p) {
    const Gather& g = p.g;
    Place b;
    b.split = static_cast<int>(blockIdx.z) % p.splits;
    int rest = b.phase_number = static_cast<int>(blockIdx.z) / p.splits;
    b.rows = g.samples;
    b.boxes = p.channel_boxes;
    for (int a = 2; a >= 0; --a) {
      b.phase[a] = take_index(rest, g.phases[a]);
      b.axis[a] = g.axis[a][b.phase[a]];
      b.lower[a] = p.lower[a][b.phase[a]];
      b.rows *= b.axis[a].size;
      b.boxes *= b.axis[a].taps;
    }
    const int in_stage = p.box.in_stage();
    b.first_row = static_cast<int>(blockIdx.x) * W::rows;
    b.first_box = b.split * p.split_steps * in_stage;
    const int left = b.boxes - b.first_box, steps = left > 0 ? (left + in_stage - 1) / in_stage : 0;
    b.steps = steps < p.split_steps ? steps : p.split_steps;
    return b;
  }
  /// Sample and position within the phase of a row.
  __device__ void voxel(int m, int (&at)[4]) const {
    for (int a = 2; a >= 0; --a) at[a + 1] = take_index(m, axis[a].size);
    at[0] = m;
  }
};

/// One thread queues all copies of the block.
template <class W, bool backward>
__device__ void fill_ring(const Params<typename W::T>& p, const Place& b, const tiles::Ring<W>& ring, int first_column) {
  const Gather& g = p.g;
  const int box = p.box.channels(), in_stage = p.box.in_stage();
  int at[4], start[3], index[3], tap = b.first_box, channel = take_index(tap, p.channel_boxes);
  b.voxel(b.first_row, at);
  for (int a = 2; a >= 0; --a) {
    start[a] = at[a + 1] * g.source_step[a] + b.lower[a];
    index[a] = b.axis[a].taps > 0 ? take_index(tap, b.axis[a].taps) : 0;
  }
  for (int step = 0, number = b.first_box; step < b.steps; ++step) {
    std::uint64_t* bar = ring.begin_fill(step);
    unsigned char *to_a = ring.a(step), *to_b = ring.b(step);
    for (int i = 0; i < in_stage; ++i, ++number) {
      std::uint16_t offset[3];
      int weight_tap = 0;
      for (int a = 0; a < 3; ++a) {
        offset[a] = static_cast<std::uint16_t>(b.axis[a].first_offset + index[a] * g.offset_step[a] - b.lower[a]);
        weight_tap = weight_tap * g.kernel[a] + b.axis[a].first_tap + index[a] * g.tap_step[a];
      }
      const bool real = number < b.boxes;  // beyond: zeros, from beyond the channels
      const int c = (real ? channel : p.channel_boxes) * box;
      if (!real) offset[0] = offset[1] = offset[2] = 0, weight_tap = 0;
      ptx::tma_load_im2col_5d(to_a, &p.source[b.phase_number], bar, c, start[2], start[1], start[0], at[0], offset[2], offset[1],
                              offset[0]);
      if constexpr (!backward) ptx::tma_load_3d(to_b, &p.weights, bar, c, weight_tap, first_column);
      else
        for (int n = 0; n < W::columns; n += W::strip)
          ptx::tma_load_3d(to_b + n * box * 2, &p.weights, bar, first_column + n, weight_tap, c);
      to_a += W::a_bytes / 4 << p.box.log;
      to_b += W::b_bytes / 4 << p.box.log;
      if (++channel == p.channel_boxes) {
        channel = 0;
        for (int a = 2; a >= 0; --a) {
          if (++index[a] < b.axis[a].taps) break;
          index[a] = 0;
        }
      }
    }
  }
}
#endif

template <class W, bool backward>
__global__ void __launch_bounds__(W::all_threads, W::blocks) wgmma_kernel(const __grid_constant__ Params<typename W::T> p) {
#if GPU_HAS_SM90A
  const auto block = Place::of<W>(p);
  if (block.first_row >= block.rows) return;
  const tiles::Ring<W> ring;
  const int first_column = static_cast<int>(blockIdx.y) * W::columns;
  if (threadIdx.x >= W::threads) {
    if (ptx::elect_one()) fill_ring<W, backward>(p, block, ring, first_column);
  } else {
    float sum[W::columns / 2];
    const int box = p.box.channels(), inside = (1 << p.box.log) - 1, group = static_cast<int>(threadIdx.x) / 128;
    const std::uint64_t a = ptx::wgmma_desc(ring.a_room + group * 64 * box * 2, p.box.swizzle(), 16 * box);
    const std::uint64_t b = backward ? ptx::wgmma_desc(ring.b_room, W::strip_swizzle, 16 * W::strip, box * W::strip * 2)
                                     : ptx::wgmma_desc(ring.b_room, p.box.swizzle(), 16 * box);
    // The k-th 16 channels: in which box, and there the next 32 bytes of each line, or the next 16 lines.
    tiles::multiply_steps<W, 0, backward ? 1 : 0>(
        ring, block.steps, sum,
        [&](int k) -> std::uint64_t {
          const int bytes = (k >> p.box.log) * (W::a_bytes / 4 << p.box.log) + (k & inside) * 32;
          return a + static_cast<std::uint64_t>(bytes / 16);
        },
        [&](int k) -> std::uint64_t {
          const int bytes = (k >> p.box.log) * (W::b_bytes / 4 << p.box.log) + (k & inside) * (backward ? 16 * W::strip * 2 : 32);
          return b + static_cast<std::uint64_t>(bytes / 16);
        });
    tiles::write_sums<W>(ring, sum, p.result, first_column, p.g.results, [&](int r) -> std::int64_t {
      if (block.first_row + r >= block.rows) return -1;
      int at[4];
      block.voxel(block.first_row + r, at);
      std::int64_t offset = at[0];
      for (int d = 0; d < 3; ++d) offset = offset * p.g.dest[d] + block.phase[d] + at[d + 1] * p.g.dest_step[d];
      return offset * p.g.results + (p.result.parts ? block.split * p.part : 0);
    });
  }
#endif
}

/// One map per phase: where its windows begin and end.
template <class W>
void describe_source(Params<typename W::T>& p, const View& source) {
  const Gather& g = p.g;
  const auto x = wgmma::channels_last(source, g.channels, {g.source[2], g.source[1], g.source[0], g.samples}, p.box);
  for (int number = 0; number < g.all_phases(); ++number) {
    int rest = number;
    std::array<int, 3> lower{}, upper{}, step{};
    bool any = true;
    for (int a = 2; a >= 0; --a) {
      const int r = take_index(rest, g.phases[a]);
      const wgmma::Window window = wgmma::window_of(g, a, r);
      const auto d = static_cast<std::size_t>(2 - a);  // innermost first
      p.lower[a][r] = lower[d] = window.lower;
      upper[d] = window.upper;
      step[d] = g.source_step[a];
      any = any && g.axis[a][r].size > 0;
    }
    if (any) p.source[number] = gpu::im2col_map(x, p.box.channels(), W::rows, lower, upper, step);
  }
}

/// As conv_tiles of plan.h.
template <class W, bool backward>
void conv_wgmma(const Geometry& s, const View& source, const View& w, const View& bias, const Out& to, Storage* home) {
  using T = typename W::T;
  Params<T> p{.g = backward ? Gather::backward(s) : Gather::forward(s), .part = to.size()};
  const Gather& g = p.g;
  p.box = wgmma::box_for(g.channels);
  p.channel_boxes = ceil_div(g.channels, p.box.channels());
  const int column_tiles = ceil_div(g.results, W::columns), pitch = ceil_div(s.in_channels, 8) * 8;
  const std::int64_t rows = ceil_div(g.rows(), W::rows);
  const Split split(rows * column_tiles * g.all_phases(), ceil_div(g.depth() / g.channels * p.channel_boxes, p.box.in_stage()));
  p.splits = split.splits;
  p.split_steps = split.steps;
  const auto weights = packed_weights(w, pitch, home);
  const Scratch<float> parts(split.splits > 1 ? split.splits * to.size() : 0, Device::cuda);
  p.result = tiles::Result<T>{.to = to.as<T>(),
                              .parts = split.splits > 1 ? parts.data() : nullptr,
                              .bias = bias.as<T>(),
                              .packets = g.results % packet_width<T> == 0};
  describe_source<W>(p, source);
  gpu::TensorLayout packed{const_cast<void*>(weights.get()), w.dtype, 3, {pitch, g.all_taps(), s.out_channels}};
  packed.strides = {1, pitch, std::int64_t{pitch} * g.all_taps()};
  packed.swizzle = backward ? W::strip_swizzle : p.box.swizzle();
  const int box = p.box.channels();
  p.weights = gpu::tiled_map(packed, backward ? std::array{W::strip, 1, box, 1, 1} : std::array{box, 1, W::columns, 1, 1});

  gpu::launch(wgmma_kernel<W, backward>,
              wgmma::blocks_for<W>(rows, column_tiles, split.splits * g.all_phases(), backward ? "conv_input" : "conv"), p);
  if (split.splits > 1)
    add_parts<T>(parts.data(), split.splits, to.size(), bias.as<T>(), static_cast<int>(to.dim(1)), to.as<T>());
}

}  // namespace

namespace wgmma {

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  return type_fits(x, spec) && simt::forward_fits(x, w, bias, y, spec, home) &&
         windows_fit(Gather::forward(geometry(x.dtype, x.shape, w.shape, y.shape, spec)));
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  return type_fits(g, spec) && simt::input_fits(g, w, dx, spec, home) &&
         windows_fit(Gather::backward(geometry(g.dtype, dx.shape, w.shape, g.shape, spec)));
}
void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  chosen(x.dtype, s.out_channels, [&]<class W>() { conv_wgmma<W, false>(s, x, w, bias, y, home); });
}
void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage* home) {
  const Geometry s = geometry(g.dtype, dx.shape, w.shape, g.shape, spec);
  chosen(g.dtype, s.in_channels, [&]<class W>() { conv_wgmma<W, true>(s, g, w, View(), dx, home); });
}

}  // namespace wgmma
}  // namespace cuboid::cuda
