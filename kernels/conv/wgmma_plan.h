// SPDX-License-Identifier: Apache-2.0
// Where wgmma applies, and how TMA is to read for it.
#pragma once
#include "core/cuda.h"
#include "kernels/conv/plan.h"
#include "kernels/conv/wgmma.h"

namespace cuboid::cuda::wgmma {

/// The device knows the instruction: those of compute capability 9.0 alone do.
inline bool device_fits() {
  static const bool hopper = device_info().major == 9;
  return hopper;
}
/// bf16 or f16 in whole packets, no groups.
inline bool type_fits(const View& x, const ConvSpec& spec) {
  return device_fits() && (x.dtype == DType::bf16 || x.dtype == DType::f16) && spec.groups == 1 && whole_packets(x, spec, 8);
}

constexpr int most_phases = 8;

/// What the results of a phase read along an axis: positions from `lower` on, in steps, one for each, to which a tap adds up
/// to `reach`. `upper` ends them as im2col_map (core/tensor_map.h) wants it.
struct Window {
  int lower, upper, reach;
};
inline Window window_of(const Gather& g, int axis, int phase) {
  const AxisPhase& p = g.axis[axis][phase];
  const int last = p.first_offset + std::max(0, p.taps - 1) * g.offset_step[axis], lower = std::min(p.first_offset, last);
  return {lower, lower + (p.size - 1) * g.source_step[axis] + 1 - g.source[axis], std::max(p.first_offset, last) - lower};
}

/// TMA holds the corners of five-dimensional tensors in five bits, a tap's distance too, and knows steps up to 8.
inline bool windows_fit(const Gather& g) {
  if (!g.fits() || g.all_phases() > most_phases) return false;
  for (int a = 0; a < 3; ++a)
    for (int r = 0; r < g.phases[a]; ++r) {
      const Window w = window_of(g, a, r);
      if (g.source_step[a] > 8) return false;
      if (g.axis[a][r].size > 0 && (w.lower < -16 || w.upper < -16 || w.lower > 15 || w.upper > 15 || w.reach > 31)) return false;
    }
  return true;
}

/// The largest boxes that waste least.
inline tiles::BoxSize box_for(std::int64_t channels) {
  tiles::BoxSize best{2};
  for (const int log : {1, 0}) {
    const tiles::BoxSize box{log};
    if (ceil_div(channels, box.channels()) * box.channels() < ceil_div(channels, best.channels()) * best.channels()) best = box;
  }
  return best;
}

/// A dense N, D, H, W, C tensor, innermost dimension first, read in boxes.
inline gpu::TensorLayout channels_last(const View& v, std::int64_t channels, const std::array<std::int64_t, 4>& whd_n,
                                       tiles::BoxSize box) {
  gpu::TensorLayout t{v.data, v.dtype, 5, {channels, whd_n[0], whd_n[1], whd_n[2], whd_n[3]}, {1}, box.swizzle()};
  for (std::size_t d = 1; d < 5; ++d) t.strides[d] = t.strides[d - 1] * t.dims[d - 1];
  return t;
}

/// f.operator()<W>() for an element type and the width of the result.
template <class F>
void chosen(DType dtype, std::int64_t columns, F&& f) {
  const auto with = [&]<class T>() {
    if (columns <= 32) f.template operator()<tiles::Wgmma<T, 32>>();
    else if (columns <= 64) f.template operator()<tiles::Wgmma<T, 64>>();
    else f.template operator()<tiles::Wgmma<T, 128>>();
  };
  if (dtype == DType::bf16) with.template operator()<bf16>();
  else with.template operator()<f16>();
}

template <class W>
gpu::LaunchCfg blocks_for(std::int64_t x, std::int64_t y, std::int64_t z, const char* name) {
  return {.grid = grid_of(x, y, z),
          .block = dim3(W::all_threads),
          .smem = W::shared_bytes,
          .stream = static_cast<gpu::stream_t>(stream()),
          .name = name};
}

}  // namespace cuboid::cuda::wgmma
