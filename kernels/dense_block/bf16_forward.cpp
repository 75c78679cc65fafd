// SPDX-License-Identifier: Apache-2.0
// The two passes of a dense layer in bf16.
#include "kernels/dense_block/bf16_block.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

#include "core/parallel.h"
#include "core/profiler.h"
#include "kernels/conv/bf16_panels.h"
#include "kernels/dense_block/norm_math.h"

namespace cuboid::dense {

std::vector<Unit> units16_of(const Geometry& g) {
  const std::int64_t tiles = bf::Band{g.h, g.w, 0, (g.h + 1) / 2}.count();
  // Few tiles: several samples together, so that the weights are read for more than a handful of rows.
  const std::int64_t samples = std::clamp<std::int64_t>(16 / tiles, 1, std::max<std::int64_t>(1, g.n / 2));
  const std::int64_t groups = (g.n + samples - 1) / samples, wanted = std::clamp<std::int64_t>(tiles / 8, 2, 8);
  const std::int64_t slabs = std::clamp<std::int64_t>((wanted + groups - 1) / groups, 1, std::max<std::int64_t>(1, g.d / 2));
  std::vector<Unit> units;
  for (std::int64_t n = 0; n < g.n; n += samples)
    for (std::int64_t s = 0; s < slabs; ++s)
      units.push_back({n, std::min(g.n, n + samples), g.d * s / slabs, g.d * (s + 1) / slabs});
  return units;
}

std::vector<bf::Band> bands_of(const Geometry& g) { return bf::bands_of(g.h, g.w, g.depth_taps == 1 ? 128 : 64); }

void activate_rows(const bf16* x, std::int64_t rows, std::int64_t stride, std::int64_t c0, std::int64_t c1, const Norm& norm,
                   float slope, bf16* to, std::int64_t to_stride) {
  const bf::Vec leak = bf::splat(slope);
  const float *scale = norm.scale.data(), *shift = norm.shift.data();
  const auto at = [&](const bf16* from, std::int64_t c) {
    return bf::activate(bf::load(from + c) * bf::load(scale + c) + bf::load(shift + c), leak);
  };
  for (std::int64_t i = 0; i < rows; ++i, x += stride, to += to_stride)
    for (std::int64_t c = c0; c < c1; c += 2 * bf::lanes) {
      __builtin_prefetch(x + 8 * stride + c, 0, 2);  // a prefix of rows is no stream to the processor
      bf::store(to + c - c0, at(x, c), at(x, c + bf::lanes));
    }
}

void activate_band(const bf::Band& b, std::int64_t channels, const bf16* z, const Norm& norm, float slope, bf16* padded) {
  for (std::int64_t line = 0; line < b.padded_h(); ++line) {
    const std::int64_t y = 2 * b.first - 1 + line;
    if (y < 0 || y >= b.h) continue;
    activate_rows(z + y * b.w * channels, b.w, channels, 0, channels, norm, slope, padded + (line * b.padded_w() + 1) * channels,
                  channels);
  }
}

void add_rows(Moments& moments, std::int64_t channels, const bf16* rows, std::int64_t count, std::int64_t stride) {
  constexpr std::int64_t most = 256;
  const Scratch<float> wide(std::min(most, count) * channels);
  for (std::int64_t first = 0; first < count; first += most) {
    const std::int64_t n = std::min(most, count - first);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < channels; c += bf::lanes)
        bf::store(wide.data() + i * channels + c, bf::load(rows + (first + i) * stride + c));
    moments.add(wide.data(), n, channels);
  }
}

namespace {

/// One unit of new_features, band by band. Input planes pass by one after the other; each is multiplied with the weights of all
/// depth taps at once and added to the (up to three) output planes it reaches, which wait in a ring as points.
void convolve(const Geometry& g, const Unit& u, const Norm& norm, float slope, const bf16* z, const bf16* weights, bf16* out,
              Moments* moments) {
  const std::vector<bf::Band> bands = bands_of(g);
  const std::int64_t samples = u.n1 - u.n0, taps = g.depth_taps, half = taps / 2, width = g.width();
  const std::int64_t most = samples * bands.front().count();
  const std::int64_t v_point = bf::point_stride(most, g.mid), y_point = bf::point_stride(most, g.growth);
  const std::int64_t y_plane = bf::points * y_point, padded_size = samples * bands.front().padded_count() * g.mid;
  const Scratch<bf16> padded(padded_size), v(bf::points * v_point);
  const Scratch<float> y(taps * y_plane);
  for (const bf::Band& b : bands) {
    const std::int64_t rows = samples * b.count();
    std::fill_n(padded.data(), padded_size, bf16());
    for (std::int64_t d = std::max<std::int64_t>(0, u.d0 - half); d < std::min(g.d, u.d1 + half); ++d) {
      for (std::int64_t n = u.n0; n < u.n1; ++n)
        activate_band(b, g.mid, z + (n * g.d + d) * g.plane() * g.mid, norm, slope,
                      padded.data() + (n - u.n0) * b.padded_count() * g.mid);
      bf::input_points(b, samples, g.mid, padded.data(), v.data(), v_point);
      const std::int64_t first = std::max(u.d0, d - half), last = std::min(u.d1 - 1, d + half);  // output planes d reaches
      for (std::int64_t p = 0; p < bf::points; ++p)
        for (std::int64_t o = first; o <= last; ++o) {
          const std::int64_t tap = d - o + half;
          const bool fresh = d == std::max<std::int64_t>(0, o - half);
          bf::gemm(rows, g.growth, g.mid / 2, {v.data() + p * v_point, g.mid, 2},
                   {weights + (p * taps + tap) * g.mid * g.growth, g.mid * bf::panel_width, 2 * bf::panel_width},
                   y.data() + o % taps * y_plane + p * y_point, g.growth, !fresh);
        }
      for (std::int64_t o = first; o <= last; ++o) {
        if (std::min(g.d - 1, o + half) != d) continue;  // complete only when its last input plane has passed
        for (std::int64_t n = u.n0; n < u.n1; ++n) {
          bf16* plane = out + (n * g.d + o) * g.plane() * width;
          bf::output_band(b, g.growth, y.data() + o % taps * y_plane + (n - u.n0) * b.count() * g.growth, y_point, plane, width);
          const std::int64_t begin = 2 * b.first * g.w, end = std::min(g.h, 2 * (b.first + b.tall)) * g.w;
          if (moments) add_rows(*moments, g.growth, plane + begin * width, end - begin, width);
        }
      }
    }
  }
}

}  // namespace

Moments bottleneck(const Geometry& g, std::int64_t index, const Layer16& layer, float slope, const bf16* slab, bf16* z,
                   bool statistics) {
  const std::int64_t channels = g.channels(index), width = g.width(), voxels = g.voxels();
  const profiler::Span span(Device::cpu, "dense_block.conv1", "bf16", g.flops1(index), bytes16(g, channels + g.mid));
  const Scratch<bf16> weights(channels * g.mid);
  bf::pack_panels_transposed(layer.conv1, g.mid, channels, weights.data());
  const std::int64_t grain = std::clamp<std::int64_t>(voxels / 32 / 8 * 8, 32, 256);
  std::vector<Moments> parts(static_cast<std::size_t>((voxels + grain - 1) / grain), Moments(statistics ? g.mid : 0));
  parallel_ranges(voxels, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    const Scratch<bf16> u(rows * channels);
    const Scratch<float> wide(rows * g.mid);
    activate_rows(slab + begin * width, rows, width, 0, channels, layer.norm1, slope, u.data(), channels);
    bf::gemm(rows, g.mid, channels / 2, {u.data(), channels, 2},
             {weights.data(), channels * bf::panel_width, 2 * bf::panel_width}, wide.data(), g.mid, false);
    for (std::int64_t i = 0; i < rows * g.mid; i += 2 * bf::lanes) {
      const bf::Vec low = bf::rounded(bf::load(wide.data() + i)), high = bf::rounded(bf::load(wide.data() + i + bf::lanes));
      bf::store(z + begin * g.mid + i, low, high);
      if (!statistics) continue;
      bf::store(wide.data() + i, low);
      bf::store(wide.data() + i + bf::lanes, high);
    }
    if (statistics) parts[static_cast<std::size_t>(begin / grain)].add(wide.data(), rows, g.mid);
  });
  return merged(parts, statistics ? g.mid : 0);
}

Moments new_features(const Geometry& g, std::int64_t index, const Layer16& layer, float slope, const bf16* z, bf16* slab,
                     bool statistics) {
  const profiler::Span span(Device::cpu, "dense_block.conv2", "bf16", g.flops2(), bytes16(g, g.mid + g.growth));
  const Scratch<bf16> weights(point_count(g));
  bf::weight_points(layer.conv2, g.growth, g.mid, g.depth_taps, weights.data());
  const std::vector<Unit> units = units16_of(g);
  std::vector<Moments> parts(units.size(), Moments(statistics ? g.growth : 0));
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t i) {
    const auto k = static_cast<std::size_t>(i);
    convolve(g, units[k], layer.norm2, slope, z, weights.data(), slab + g.channels(index), statistics ? &parts[k] : nullptr);
  });
  return merged(parts, statistics ? g.growth : 0);
}

}  // namespace cuboid::dense
#endif
