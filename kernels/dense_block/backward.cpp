// SPDX-License-Identifier: Apache-2.0
// The backward pass of a dense block, layer by layer from the last to the first.
//
// A norm's backward is dx = weight rstd (da - mean(da) - xhat mean(da xhat)). The slab's channels are read by every later
// layer, always with the same xhat, so the two means can wait: each layer adds weight rstd da to the slab's gradient at once,
// and the terms behind it are two sums per channel, which are applied when the channel's own gradient is used.
#include <algorithm>

#include "core/parallel.h"
#include "core/profiler.h"
#include "kernels/conv/panels.h"
#include "kernels/dense_block/block.h"
#include "kernels/dense_block/norm_math.h"
#include "kernels/simd.h"

namespace cuboid::dense {
namespace {

/// da = dv act'(a) in place with a = x * scale + shift, and the sums over the rows.
void through_activation(const float* x, std::int64_t x_stride, float* dv, std::int64_t dv_stride, std::int64_t rows,
                        const Norm& norm, std::int64_t c0, std::int64_t c1, float slope, Sums& sums) {
  const Vec leak = splat(slope);
  const std::size_t channels = sums.size() / 2;
  for (std::int64_t c = c0; c < c1; c += lanes) {
    const Vec scale = load(norm.scale.data() + c), shift = load(norm.shift.data() + c);
    const Vec mean = load(norm.mean.data() + c);
    Vec sum{}, product{};
    for (std::int64_t i = 0; i < rows; ++i) {
      const Vec v = load(x + i * x_stride + c);
      float* at = dv + i * dv_stride + c - c0;
      const Vec da = activate_backward(load(at), v * scale + shift, leak);
      store(at, da);
      sum += da;
      product += da * (v - mean);
    }
    product *= load(norm.rstd.data() + c);
    for (int lane = 0; lane < lanes; ++lane) {
      const std::size_t k = static_cast<std::size_t>(c + lane);
      sums[k] += static_cast<double>(sum[lane]);
      sums[channels + k] += static_cast<double>(product[lane]);
    }
  }
}

/// The slab's gradient of one layer's slice, completed, in a band of plane d: as the points of an output (for the weights'
/// gradient) and as those of an input (for conv2's own input's), each [point][tile][growth].
void gradient_points(const Geometry& g, const Unit& u, const Band& band, std::int64_t channel, std::int64_t d,
                     const Pending& pending, const float* slab, const float* gradient, float* padded, float* as_output,
                     float* as_input, std::int64_t point) {
  const Tiling& t = band.tiles;
  for (std::int64_t n = u.n0; n < u.n1; ++n) {
    const std::int64_t plane = (n * g.d + d) * g.plane() * g.width() + channel;
    band.pad(g.growth, padded, [&](std::int64_t line, float* to) {
      for (std::int64_t at = plane + line * g.w * g.width(), end = at + g.w * g.width(); at < end;
           at += g.width(), to += g.growth)
        for (std::int64_t c = 0; c < g.growth; c += lanes)
          store(to + c, load(gradient + at + c) + load(pending.offset.data() + channel + c) +
                            load(pending.factor.data() + channel + c) * load(slab + at + c));
    });
    const std::int64_t to = (n - u.n0) * t.count() * g.growth;
    input_points(t, g.growth, padded, as_input + to, point);
    output_plane_transposed(t, g.growth, padded + (t.padded_w() + 1) * g.growth, t.padded_w(), as_output + to, point);
  }
}

/// A band of one unit of the 3x3x3 convolution's backward: conv2's weight gradient as points (added to dw), and da behind norm2
/// for the band's voxels with its sums.
void convolve_backward(const Geometry& g, const Unit& u, const Band& band, std::int64_t channel, const Norm& norm, float slope,
                       const Pending& pending, const float* slab, const float* gradient, const float* z, const float* weights,
                       float* da, float* dw, Sums& sums) {
  const Tiling& t = band.tiles;
  const std::int64_t rows = (u.n1 - u.n0) * t.count(), taps = g.depth_taps, half = taps / 2;
  const std::int64_t v_point = point_stride(rows, g.mid), y_point = point_stride(rows, g.growth), y_plane = t.points() * y_point;
  const Scratch<float> padded(t.padded_count() * std::max(g.mid, g.growth)), v(t.points() * v_point), outputs(taps * y_plane),
      inputs(taps * y_plane);
  std::int64_t next = std::max<std::int64_t>(0, u.d0 - half);  // the first plane of the gradient that is not yet in the rings
  for (std::int64_t d = u.d0; d < u.d1; ++d) {
    const std::int64_t first = std::max<std::int64_t>(0, d - half), last = std::min(g.d - 1, d + half);
    for (; next <= last; ++next)
      gradient_points(g, u, band, channel, next, pending, slab, gradient, padded.data(), outputs.data() + next % taps * y_plane,
                      inputs.data() + next % taps * y_plane, y_point);
    for (std::int64_t n = u.n0; n < u.n1; ++n) {
      const float* plane = z + (n * g.d + d) * g.plane() * g.mid;
      band.pad(g.mid, padded.data(), [&](std::int64_t line, float* to) {
        activate_rows(plane + line * g.w * g.mid, g.w, g.mid, 0, g.mid, norm, slope, to, g.mid);
      });
      input_points(t, g.mid, padded.data(), v.data() + (n - u.n0) * t.count() * g.mid, v_point);
    }
    for (std::int64_t p = 0; p < t.points(); ++p) {
      Product products[3];
      std::size_t count = 0;
      for (std::int64_t o = first; o <= last; ++o) {
        const std::int64_t at = (p * taps + d - o + half) * g.mid * g.growth, ring = o % taps * y_plane + p * y_point;
        gemm(g.mid, g.growth, rows, {v.data() + p * v_point, 1, g.mid}, {outputs.data() + ring, panel_width, g.growth}, dw + at,
             g.growth, true);
        products[count++] = {{inputs.data() + ring, g.growth, 1}, {weights + at, g.growth * panel_width, panel_width}};
      }
      gemm(rows, g.mid, g.growth, {products, count}, v.data() + p * v_point, g.mid, false);  // over v, used up for this point
    }
    for (std::int64_t n = u.n0; n < u.n1; ++n) {
      const std::int64_t at = ((n * g.d + d) * g.plane() + band.y0 * g.w) * g.mid;
      output_plane(t, g.mid, v.data() + (n - u.n0) * t.count() * g.mid, v_point, da + at, g.mid);
      through_activation(z + at, g.mid, da + at, g.mid, t.h * t.w, norm, 0, g.mid, slope, sums);
    }
  }
}

void prefix_backward(const Geometry& g, std::int64_t index, const Layer& layer, float slope, const Affine& to_dz,
                     const float* slab, const float* z, const float* da, float* gradient, const LayerGradients& out, Sums& sums) {
  const std::int64_t channels = g.channels(index), width = g.width(), voxels = g.voxels(), panels = channels / panel_width;
  const profiler::Span span(Device::cpu, "dense_block.conv1_backward", "fused", 2 * g.flops1(index),
                            g.bytes(2 * g.mid + 3 * channels));  // z, its gradient; x, the slab's gradient in and out
  const PrefixWork cut(g, channels);
  const Scratch<float> weights(channels * g.mid), parts(cut.row_groups > 1 ? cut.row_groups * g.mid * channels : 1);
  pack_panels(layer.conv1, g.mid, channels, weights.data());
  std::vector<Sums> part_sums(static_cast<std::size_t>(cut.row_groups * cut.channel_groups),
                              Sums(static_cast<std::size_t>(2 * channels)));
  parallel_for(cut.row_groups * cut.channel_groups, [&](std::int64_t task) {
    const std::int64_t group = task % cut.row_groups, part = task / cut.row_groups;
    const std::int64_t row_end = voxels * (group + 1) / cut.row_groups;
    const std::int64_t panel_begin = panels * part / cut.channel_groups, panel_end = panels * (part + 1) / cut.channel_groups;
    float* dw = cut.row_groups > 1 ? parts.data() + group * g.mid * channels : out.conv1;
    Sums& own = part_sums[static_cast<std::size_t>(task)];
    constexpr std::int64_t most = 128;
    const Scratch<float> dz(most * g.mid), u(most * panel_width), du(most * panel_width);
    bool add = false;
    for (std::int64_t row = voxels * group / cut.row_groups; row < row_end; row += most, add = true) {
      const std::int64_t rows = std::min(most, row_end - row);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t c = 0; c < g.mid; c += lanes) {
          const std::int64_t at = (row + i) * g.mid + c;
          store(dz.data() + i * g.mid + c,
                load(da + at) * load(to_dz.a.data() + c) + load(z + at) * load(to_dz.b.data() + c) + load(to_dz.c.data() + c));
        }
      for (std::int64_t p = panel_begin; p < panel_end; ++p) {
        const std::int64_t c0 = p * panel_width, c1 = c0 + panel_width;
        const float* x = slab + row * width;
        activate_rows(x, rows, width, c0, c1, layer.norm1, slope, u.data(), panel_width);
        gemm(g.mid, panel_width, rows, {dz.data(), 1, g.mid}, {u.data(), panel_width, panel_width}, dw + c0, channels, add);
        gemm(rows, panel_width, g.mid, {dz.data(), g.mid, 1}, {weights.data() + c0 * g.mid, 0, panel_width}, du.data(),
             panel_width, false);
        through_activation(x, width, du.data(), panel_width, rows, layer.norm1, c0, c1, slope, own);
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t c = 0; c < panel_width; c += lanes) {
            float* at = gradient + (row + i) * width + c0 + c;
            store(at, load(at) + load(du.data() + i * panel_width + c) * load(layer.norm1.scale.data() + c0 + c));
          }
      }
    }
  });
  if (cut.row_groups > 1)
    parallel_ranges(g.mid * channels, 4096, [&](std::int64_t begin, std::int64_t end) {
      std::copy(parts.data() + begin, parts.data() + end, out.conv1 + begin);
      for (std::int64_t q = 1; q < cut.row_groups; ++q)
        for (std::int64_t i = begin; i < end; ++i) out.conv1[i] += parts[q * g.mid * channels + i];
    });
  sums = added(part_sums);
}

}  // namespace

void backward(const Geometry& g, const std::vector<Layer>& layers, const std::vector<Tensor>& z, float slope,
              bool batch_statistics, const NormRanks* ranks, const float* slab, float* gradient,
              const std::vector<LayerGradients>& out) {
  const double count = ranks ? ranks->count(g.n, g.voxels() / g.n) : static_cast<double>(g.voxels());
  const std::vector<Unit> units = units_of(g, false);
  const auto width = static_cast<std::size_t>(g.width());
  Pending pending{std::vector<float>(width), std::vector<float>(width)};
  const Scratch<float> weights(g.point_floats()), da(g.voxels() * g.mid);
  const Scratch<float> parts(static_cast<std::int64_t>(units.size()) * g.point_floats());
  for (std::int64_t l = g.layers - 1; l >= 0; --l) {
    const auto k = static_cast<std::size_t>(l);
    const Layer& layer = layers[k];
    const float* zl = z[k].data<float>();
    std::vector<Sums> part_sums(units.size(), Sums(static_cast<std::size_t>(2 * g.mid)));
    {
      const profiler::Span span(Device::cpu, "dense_block.conv2_backward", "fused", 2 * g.flops2(),
                                g.bytes(2 * g.mid + 2 * g.growth));  // z, its gradient; the new features, theirs
      weight_points_turned(g.tiling(), layer.conv2, g.growth, g.mid, g.depth_taps, weights.data());
      parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t i) {
        const Unit& u = units[static_cast<std::size_t>(i)];
        float* part = parts.data() + i * g.point_floats();
        std::fill_n(part, g.point_floats(), 0.f);
        for (std::int64_t b = u.b0; b < u.b1; ++b)
          convolve_backward(g, u, Band(g, b), g.channels(l), layer.norm2, slope, pending, slab, gradient, zl, weights.data(),
                            da.data(), part, part_sums[static_cast<std::size_t>(i)]);
      });
      weight_points_transposed(g.tiling(), parts.data(), static_cast<std::int64_t>(units.size()), g.growth, g.mid, g.depth_taps,
                               out[k].conv2);
    }
    const Sums sums2 = added(part_sums);
    give(sums2, out[k].bias2, out[k].weight2);
    Sums sums1;
    prefix_backward(g, l, layer, slope, through_norm(layer.norm2, of_all(sums2, ranks), count, batch_statistics), slab, zl,
                    da.data(), gradient, out[k], sums1);
    give(sums1, out[k].bias1, out[k].weight1);
    const Affine rest = through_norm(layer.norm1, of_all(sums1, ranks), count, batch_statistics);
    for (std::size_t c = 0; c < rest.b.size(); ++c) {
      pending.factor[c] += rest.b[c];
      pending.offset[c] += rest.c[c];
    }
  }
  const profiler::Span span(Device::cpu, "dense_block.finish", "fused", 0, g.bytes(3 * g.first));
  parallel_ranges(g.voxels(), 256, [&](std::int64_t begin, std::int64_t end) {  // x's own channels, completed
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < g.first; c += lanes) {
        float* at = gradient + i * g.width() + c;
        store(at, load(at) + load(pending.offset.data() + c) + load(pending.factor.data() + c) * load(slab + i * g.width() + c));
      }
  });
}

}  // namespace cuboid::dense
