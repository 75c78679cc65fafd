// SPDX-License-Identifier: Apache-2.0
// From a convolution's sizes to launches of `contract`, for any Math; and where that is possible at all.
#pragma once
#include "core/launch.h"
#include "kernels/conv/cuda.h"
#include "kernels/conv/pack.h"
#include "kernels/conv/tasks.h"

namespace cuboid::cuda {

inline int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

/// k is cut when there are too few tiles to fill a device (132 multiprocessors, two blocks each), by shape alone. No part
/// has fewer than eight steps.
struct Split {
  int splits, steps;  // steps of each
  Split(std::int64_t tiles, std::int64_t all_steps) {
    const std::int64_t wanted = tiles >= 132 ? 1 : std::min<std::int64_t>({(264 + tiles - 1) / tiles, all_steps / 8, 64});
    steps = ceil_div(std::max<std::int64_t>(1, all_steps), std::max<std::int64_t>(1, wanted));
    splits = ceil_div(std::max<std::int64_t>(1, all_steps), steps);
  }
};

template <class Math, class Task>
void launch_tiles(const typename Task::Params& p, dim3 grid, const char* name) {
  gpu::launch(tiles::contract<Math, Task>,
              {.grid = grid,
               .block = dim3(Math::threads),
               .smem = tiles::shared_bytes<Math, Task>(),
               .stream = static_cast<gpu::stream_t>(stream()),
               .name = name},
              p);
}
inline dim3 grid_of(std::int64_t x, std::int64_t y, std::int64_t z) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

/// The forward pass (source x, result y) or the gradient of the input (source dy, result dx).
template <class Math, int packet, bool backward>
void conv_tiles(const Geometry& s, const View& source, const View& w, const View& bias, const Out& to, Storage* home) {
  using T = typename Math::T;
  using Task = tiles::ConvTask<Math, packet, backward>;
  const Gather g = backward ? Gather::backward(s) : Gather::forward(s);
  const int pitch = ceil_div(s.in_channels / s.groups, packet) * packet, column_tiles = ceil_div(g.results, Math::columns);
  const std::int64_t rows = ceil_div(g.rows(), Math::rows), tiles = rows * column_tiles * g.groups * g.all_phases();
  const Split split(tiles, ceil_div(g.depth(), Math::depth));
  const auto weights = packed_weights(w, pitch, home);
  const Scratch<Accum<T>> parts(split.splits > 1 ? split.splits * to.size() : 0, Device::cuda);
  typename Task::Params p{.g = g,
                          .source = source.as<T>(),
                          .weights = static_cast<const T*>(weights.get()),
                          .part = to.size(),
                          .weight_pitch = pitch,
                          .column_tiles = column_tiles,
                          .splits = split.splits,
                          .split_steps = split.steps,
                          .by_channels = Divisor(g.channels)};
  p.result = tiles::Result<T>{.to = to.as<T>(),
                              .parts = split.splits > 1 ? parts.data() : nullptr,
                              .bias = bias.as<T>(),
                              .packets = g.results % packet_width<T> == 0};
  launch_tiles<Math, Task>(p, grid_of(rows, column_tiles * g.groups, split.splits * g.all_phases()),
                           backward ? "conv_input" : "conv");
  if (split.splits > 1)
    add_parts<T>(parts.data(), split.splits, to.size(), bias.as<T>(), static_cast<int>(to.dim(1)), to.as<T>());
}

template <class Math, int packet>
void weight_tiles(const Geometry& s, const View& dy, const View& x, const Out& dw) {
  using T = typename Math::T;
  using Task = tiles::WeightTask<Math, packet>;
  const int inputs = static_cast<int>(s.in_channels / s.groups), outputs = static_cast<int>(s.out_channels / s.groups);
  const int taps = static_cast<int>(Geometry::volume(s.kernel)), voxels = static_cast<int>(s.samples * Geometry::volume(s.out));
  const int rows = ceil_div(taps * inputs, Math::rows), column_tiles = ceil_div(outputs, Math::columns);
  const Split split(rows * column_tiles * s.groups, ceil_div(voxels, Math::depth));
  const Scratch<Accum<T>> parts(split.splits * dw.size(), Device::cuda);
  typename Task::Params p{.x = x.as<T>(),
                          .dy = dy.as<T>(),
                          .part = dw.size(),
                          .groups = static_cast<int>(s.groups),
                          .channels = inputs,
                          .results = outputs,
                          .voxels = voxels,
                          .column_tiles = column_tiles,
                          .split_steps = split.steps,
                          .by_channels = Divisor(inputs)};
  p.result = tiles::Result<T>{.parts = parts.data(), .packets = outputs % packet_width<T> == 0};
  for (int a = 0; a < 3; ++a) {
    const auto at = static_cast<std::size_t>(a);
    p.in[a] = static_cast<int>(s.in[at]);
    p.kernel[a] = static_cast<int>(s.kernel[at]);
    p.stride[a] = static_cast<int>(s.stride[at]);
    p.dilation[a] = static_cast<int>(s.dilation[at]);
    p.pad[a] = static_cast<int>(s.pad_lo[at]);
    p.by_out[a] = Divisor(s.out[at]);
  }
  launch_tiles<Math, Task>(p, grid_of(rows, column_tiles * s.groups, split.splits), "conv_weight");
  add_weight_parts<T>(parts.data(), split.splits, taps, inputs, static_cast<int>(s.out_channels), dw.as<T>());
}

/// Dense channels-last activations, contiguous weights, offsets that the kernels' integers hold.
inline bool tiles_fit(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  constexpr std::int64_t most = 1 << 30;
  const auto small = [](const View& v) { return v.size() / v.dim(1) < most && v.size() / v.dim(0) < most; };
  return is_floating(x.dtype) && x.is(Layout::channels_last) && y.is(Layout::channels_last) && w.is(Layout::contiguous) &&
         small(x) && small(y) && w.size() < most && spec.groups < 60000;
}
/// Every packet of channels, from `v.data` on, is whole.
inline bool whole_packets(const View& v, const ConvSpec& spec, int packet) {
  return v.dim(1) / spec.groups % packet == 0 && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
}

}  // namespace cuboid::cuda
