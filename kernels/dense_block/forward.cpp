// SPDX-License-Identifier: Apache-2.0
// The two passes of a dense layer.
#include <algorithm>

#include "core/parallel.h"
#include "core/profiler.h"
#include "kernels/conv/panels.h"
#include "kernels/dense_block/block.h"
#include "kernels/dense_block/norm_math.h"
#include "kernels/simd.h"

namespace cuboid::dense {
namespace {

/// One band of a unit of new_features. Input planes pass by one after the other; each is multiplied with the weights of all depth
/// taps at once and added to the (up to three) output planes it reaches, which wait in a ring as points.
void convolve(const Geometry& g, const Unit& u, const Band& band, const Norm& norm, float slope, const float* z,
              const float* weights, float* out, Moments* moments) {
  const Tiling& t = band.tiles;
  const std::int64_t rows = (u.n1 - u.n0) * t.count(), taps = g.depth_taps, half = taps / 2, width = g.width();
  const std::int64_t v_point = point_stride(rows, g.mid), y_point = point_stride(rows, g.growth), y_plane = t.points() * y_point;
  const Scratch<float> padded(t.padded_count() * g.mid), v(t.points() * v_point), y(taps * y_plane);
  for (std::int64_t d = std::max<std::int64_t>(0, u.d0 - half); d < std::min(g.d, u.d1 + half); ++d) {
    for (std::int64_t n = u.n0; n < u.n1; ++n) {
      const float* plane = z + (n * g.d + d) * g.plane() * g.mid;
      band.pad(g.mid, padded.data(), [&](std::int64_t line, float* to) {
        activate_rows(plane + line * g.w * g.mid, g.w, g.mid, 0, g.mid, norm, slope, to, g.mid);
      });
      input_points(t, g.mid, padded.data(), v.data() + (n - u.n0) * t.count() * g.mid, v_point);
    }
    const std::int64_t first = std::max(u.d0, d - half), last = std::min(u.d1 - 1, d + half);  // output planes d reaches
    for (std::int64_t p = 0; p < t.points(); ++p)
      for (std::int64_t o = first; o <= last; ++o) {
        const std::int64_t tap = d - o + half;
        const bool fresh = d == std::max<std::int64_t>(0, o - half);
        gemm(rows, g.growth, g.mid, {v.data() + p * v_point, g.mid, 1},
             {weights + (p * taps + tap) * g.mid * g.growth, g.mid * panel_width, panel_width},
             y.data() + o % taps * y_plane + p * y_point, g.growth, !fresh);
      }
    for (std::int64_t o = first; o <= last; ++o) {
      if (std::min(g.d - 1, o + half) != d) continue;  // complete only when its last input plane has passed
      for (std::int64_t n = u.n0; n < u.n1; ++n) {
        float* lines = out + ((n * g.d + o) * g.plane() + band.y0 * g.w) * width;
        output_plane(t, g.growth, y.data() + o % taps * y_plane + (n - u.n0) * t.count() * g.growth, y_point, lines, width);
        if (moments) moments->add(lines, t.h * t.w, width);
      }
    }
  }
}

}  // namespace

Moments bottleneck(const Geometry& g, std::int64_t index, const Layer& layer, float slope, const float* slab, float* z,
                   bool statistics) {
  const std::int64_t channels = g.channels(index), width = g.width(), voxels = g.voxels();
  const profiler::Span span(Device::cpu, "dense_block.conv1", "fused", g.flops1(index), g.bytes(channels + g.mid));
  const std::int64_t rows = statistics ? std::clamp<std::int64_t>(voxels / 32 / 8 * 8, 32, 256)  // fewer parts to merge
                                       : std::clamp<std::int64_t>(voxels / 64 / 8 * 8, 32, 128);
  std::vector<Moments> parts(static_cast<std::size_t>((voxels + rows - 1) / rows), Moments(statistics ? g.mid : 0));
  parallel_ranges(voxels, rows, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<float> u((end - begin) * channels);
    activate_rows(slab + begin * width, end - begin, width, 0, channels, layer.norm1, slope, u.data(), channels);
    gemm(end - begin, g.mid, channels, {u.data(), channels, 1}, {layer.panels, channels * panel_width, panel_width},
         z + begin * g.mid, g.mid, false);
    if (statistics) parts[static_cast<std::size_t>(begin / rows)].add(z + begin * g.mid, end - begin, g.mid);
  });
  return merged(parts, statistics ? g.mid : 0);
}

Moments new_features(const Geometry& g, std::int64_t index, const Layer& layer, float slope, const float* z, float* slab,
                     bool statistics) {
  const profiler::Span span(Device::cpu, "dense_block.conv2", "fused", g.flops2(), g.bytes(g.mid + g.growth));
  const std::vector<Unit> units = units_of(g, true);
  std::vector<Moments> parts(units.size(), Moments(statistics ? g.growth : 0));
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t i) {
    const auto k = static_cast<std::size_t>(i);
    for (std::int64_t b = units[k].b0; b < units[k].b1; ++b)
      convolve(g, units[k], Band(g, b), layer.norm2, slope, z, layer.points, slab + g.channels(index),
               statistics ? &parts[k] : nullptr);
  });
  return merged(parts, statistics ? g.growth : 0);
}

}  // namespace cuboid::dense
