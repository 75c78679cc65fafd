// SPDX-License-Identifier: Apache-2.0
// The backward pass of a dense block in bf16, layer by layer from the last to the first, in the order of backward.cpp. The
// input's gradient of the 3x3x3 convolution is itself a convolution here, with the weights turned round, because its points'
// outputs do not overlap: norm2's activation is taken into account as they are written.
#include "kernels/dense_block/bf16_block.h"
#if CUBOID_AVX512_BF16
#include <algorithm>

#include "core/parallel.h"
#include "core/profiler.h"
#include "kernels/conv/bf16_panels.h"
#include "kernels/dense_block/norm_math.h"

namespace cuboid::dense {
namespace {

using bf::Band, bf::Vec, bf::load, bf::store, bf::splat;
constexpr std::int64_t pairs_width = 2 * bf::panel_width;  // elements of a row of pairs in a panel

/// The slab's gradient of one layer's slice, completed.
struct Slice {
  std::int64_t channel;
  const Pending& pending;
  const bf16* slab;
  const float* gradient;

  /// Plane d of sample n, the lines a band needs, inside the band's padded form.
  void pad(const Geometry& g, const Band& b, std::int64_t n, std::int64_t d, bf16* padded) const {
    const float *offset = pending.offset.data() + channel, *factor = pending.factor.data() + channel;
    for (std::int64_t line = 0; line < b.padded_h(); ++line) {
      const std::int64_t y = 2 * b.first - 1 + line;
      if (y < 0 || y >= b.h) continue;
      const std::int64_t at = (((n * g.d + d) * g.h + y) * g.w) * g.width() + channel;
      bf16* to = padded + (line * b.padded_w() + 1) * g.growth;
      for (std::int64_t x = 0; x < g.w; ++x)
        for (std::int64_t c = 0; c < g.growth; c += bf::lanes)
          store(to + x * g.growth + c, load(gradient + at + x * g.width() + c) + load(offset + c) +
                                           load(factor + c) * load(slab + at + x * g.width() + c));
    }
  }
};

/// One unit of the 3x3x3 convolution's backward: conv2's weight gradient as points (into dw), and da behind norm2 for the unit's
/// voxels with its sums.
void convolve_backward(const Geometry& g, const Unit& u, const Slice& slice, const Norm& norm, float slope, const bf16* z,
                       const bf16* weights, bf16* da, float* dw, Sums& sums) {
  const std::vector<Band> bands = bands_of(g);
  const Band& tallest = bands.front();
  const std::int64_t samples = u.n1 - u.n0, taps = g.depth_taps, half = taps / 2, most = samples * tallest.count();
  const std::int64_t v_point = bf::point_stride(most, g.mid), y_point = bf::point_stride(most, g.growth);
  const std::int64_t y_plane = bf::points * y_point, padded_size = samples * tallest.padded_count() * g.mid;
  const std::int64_t narrow_size = samples * tallest.padded_count() * g.growth;
  const Scratch<bf16> padded(padded_size), narrow(narrow_size), v(bf::points * v_point), inputs(taps * y_plane),
      outputs(taps * y_plane);
  const Scratch<float> dv(bf::points * v_point), plane_sums(2 * g.mid);
  bool written[3] = {};  // depth taps that have a gradient in dw
  for (const Band& b : bands) {
    const std::int64_t rows = samples * b.count(), row_pairs = (rows + 1) / 2;
    std::fill_n(padded.data(), padded_size, bf16());
    std::fill_n(narrow.data(), narrow_size, bf16());
    std::int64_t next = std::max<std::int64_t>(0, u.d0 - half);  // the first plane of the gradient that is not yet in the ring
    for (std::int64_t d = u.d0; d < u.d1; ++d) {
      const std::int64_t first = std::max<std::int64_t>(0, d - half), last = std::min(g.d - 1, d + half);
      for (; next <= last; ++next) {
        for (std::int64_t n = u.n0; n < u.n1; ++n)
          slice.pad(g, b, n, next, narrow.data() + (n - u.n0) * b.padded_count() * g.growth);
        bf::input_points(b, samples, g.growth, narrow.data(), inputs.data() + next % taps * y_plane, y_point);
        bf::output_pairs_transposed(b, samples, g.growth, narrow.data(), outputs.data() + next % taps * y_plane, y_point);
      }
      for (std::int64_t n = u.n0; n < u.n1; ++n)
        activate_band(b, g.mid, z + (n * g.d + d) * g.plane() * g.mid, norm, slope,
                      padded.data() + (n - u.n0) * b.padded_count() * g.mid);
      bf::input_pairs(b, samples, g.mid, padded.data(), v.data(), v_point);
      for (std::int64_t p = 0; p < bf::points; ++p) {
        bf::Product products[3];
        std::size_t count = 0;
        for (std::int64_t o = first; o <= last; ++o) {
          const std::int64_t ring = o % taps * y_plane + p * y_point, tap = d - o + half;
          bf::gemm(g.mid, g.growth, row_pairs, {v.data() + p * v_point, 2, 2 * g.mid},
                   {outputs.data() + ring, pairs_width, 2 * g.growth}, dw + (p * taps + tap) * g.mid * g.growth, g.growth,
                   written[tap]);
          products[count++] = {
              {inputs.data() + ring, g.growth, 2},
              {weights + (p * taps + taps - 1 - tap) * g.mid * g.growth, g.growth * bf::panel_width, pairs_width}};
        }
        bf::gemm(rows, g.mid, g.growth / 2, {products, count}, dv.data() + p * v_point, g.mid, false);
      }
      for (std::int64_t o = first; o <= last; ++o) written[d - o + half] = true;
      std::fill_n(plane_sums.data(), 2 * g.mid, 0.f);
      for (std::int64_t n = u.n0; n < u.n1; ++n) {
        const std::int64_t at = (n * g.d + d) * g.plane() * g.mid;
        bf::output_band_backward(b, g.mid, dv.data() + (n - u.n0) * b.count() * g.mid, v_point,
                                 {z + at, norm.scale.data(), norm.shift.data(), norm.mean.data(), slope}, da + at,
                                 plane_sums.data());
      }
      for (std::int64_t c = 0; c < g.mid; ++c) {
        const auto k = static_cast<std::size_t>(c), mid = static_cast<std::size_t>(g.mid);
        sums[k] += static_cast<double>(plane_sums[c]);
        sums[mid + k] += static_cast<double>(plane_sums[g.mid + c] * norm.rstd[k]);
      }
    }
  }
  for (std::int64_t tap = 0; tap < taps; ++tap)
    for (std::int64_t p = 0; p < bf::points && !written[tap]; ++p)
      std::fill_n(dw + (p * taps + tap) * g.mid * g.growth, g.mid * g.growth, 0.f);
}

/// Some rows of the gradient behind conv1, as rows and as rows of pairs: zeros behind the last of an odd number.
void gradient_of_z(const Affine& to_dz, std::int64_t mid, std::int64_t rows, const bf16* da, const bf16* z, bf16* dz,
                   bf16* pairs) {
  const float *a = to_dz.a.data(), *b = to_dz.b.data(), *c = to_dz.c.data();
  for (std::int64_t i = 0; i < rows; i += 2)
    for (std::int64_t k = 0; k < mid; k += bf::lanes) {
      const auto row = [&](std::int64_t r) {
        const std::int64_t at = r * mid + k;
        return load(da + at) * load(a + k) + load(z + at) * load(b + k) + load(c + k);
      };
      const Vec first = row(i), second = i + 1 < rows ? row(i + 1) : Vec{};
      store(dz + i * mid + k, first);
      if (i + 1 < rows) store(dz + (i + 1) * mid + k, second);
      bf::store_pairs(pairs + i * mid + 2 * k, first, second);
    }
}

/// What is worked on at a time behind conv1: rows, and channels that lie side by side.
constexpr std::int64_t most_rows = 128, most_channels = 4 * bf::panel_width;

/// Channels [c0, c1) of act(norm1(x)) as panels of rows of pairs, most_rows / 2 rows each. The gradient will be wanted soon, and
/// then the x at `next`, counted like x: too little of a row at a time for the processor to notice.
void activated_pairs(const bf16* x, std::int64_t stride, std::int64_t rows, std::int64_t c0, std::int64_t c1, const Norm& norm,
                     float slope, const float* gradient, const bf16* next, bf16* to) {
  const Vec leak = splat(slope);
  for (std::int64_t i = 0; i < rows; i += 2)
    for (std::int64_t c = c0; c < c1; c += bf::lanes) {
      const Vec scale = load(norm.scale.data() + c), shift = load(norm.shift.data() + c);
      const bf16* at = x + i * stride + c;
      const Vec first = bf::activate(load(at) * scale + shift, leak);
      const Vec second = i + 1 < rows ? bf::activate(load(at + stride) * scale + shift, leak) : Vec{};
      const std::int64_t panel = (c - c0) / bf::panel_width, column = c % bf::panel_width;
      bf::store_pairs(to + (panel * most_rows + i) * bf::panel_width + 2 * column, first, second);
      __builtin_prefetch(next + i * stride + c, 0, 2);
      __builtin_prefetch(next + (i + 1) * stride + c, 0, 2);
      __builtin_prefetch(gradient + i * stride + c, 1, 2);
      __builtin_prefetch(gradient + (i + 1) * stride + c, 1, 2);
    }
}

/// da = du act'(a) for channels [c, c + count * lanes): its sums, and what it adds to the slab's gradient.
template <int count>
void through_activation(const bf16* x, std::int64_t stride, const float* du, std::int64_t rows, std::int64_t c, const Norm& norm,
                        Vec leak, float* gradient, Sums& sums) {
  Vec scale[count], shift[count], mean[count], sum[count] = {}, product[count] = {};
  for (int k = 0; k < count; ++k) {
    scale[k] = load(norm.scale.data() + c + k * bf::lanes);
    shift[k] = load(norm.shift.data() + c + k * bf::lanes);
    mean[k] = load(norm.mean.data() + c + k * bf::lanes);
  }
  for (std::int64_t i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) {
      const Vec v = load(x + i * stride + c + k * bf::lanes);
      const Vec da = bf::activate_backward(load(du + i * most_channels + k * bf::lanes), v * scale[k] + shift[k], leak);
      float* at = gradient + i * stride + c + k * bf::lanes;
      store(at, load(at) + da * scale[k]);
      sum[k] += da;
      product[k] += da * (v - mean[k]);
    }
  const std::size_t channels = sums.size() / 2;
  for (int k = 0; k < count; ++k) {
    product[k] *= load(norm.rstd.data() + c + k * bf::lanes);
    for (int lane = 0; lane < bf::lanes; ++lane) {
      const std::size_t at = static_cast<std::size_t>(c + k * bf::lanes + lane);
      sums[at] += static_cast<double>(sum[k][lane]);
      sums[channels + at] += static_cast<double>(product[k][lane]);
    }
  }
}

/// conv1 and norm1 backward.
void prefix_backward(const Geometry& g, std::int64_t index, const Layer16& layer, float slope, const Affine& to_dz,
                     const bf16* slab, const bf16* z, const bf16* da, float* gradient, const LayerGradients16& out, Sums& sums) {
  const std::int64_t channels = g.channels(index), width = g.width(), voxels = g.voxels(), panels = channels / bf::panel_width;
  const profiler::Span span(Device::cpu, "dense_block.conv1_backward", "bf16", 2 * g.flops1(index),
                            bytes16(g, 2 * g.mid + 5 * channels));  // z, its gradient; x; the slab's f32 gradient in and out
  const PrefixWork cut(g, channels);
  const Scratch<bf16> weights(channels * g.mid);
  const Scratch<float> parts(cut.row_groups * g.mid * channels);
  bf::pack_panels(layer.conv1, g.mid, channels, weights.data());
  std::vector<Sums> part_sums(static_cast<std::size_t>(cut.row_groups * cut.channel_groups),
                              Sums(static_cast<std::size_t>(2 * channels)));
  parallel_for(cut.row_groups * cut.channel_groups, [&](std::int64_t task) {
    const std::int64_t group = task % cut.row_groups, part = task / cut.row_groups;
    const std::int64_t row_end = voxels * (group + 1) / cut.row_groups;
    const std::int64_t panel_begin = panels * part / cut.channel_groups, panel_end = panels * (part + 1) / cut.channel_groups;
    float* dw = parts.data() + group * g.mid * channels;
    const Scratch<bf16> dz(most_rows * g.mid), dz_pairs(most_rows * g.mid), u(most_rows * most_channels);
    const Scratch<float> du(most_rows * most_channels);
    Sums& own = part_sums[static_cast<std::size_t>(task)];
    const Vec leak = splat(slope);
    bool add = false;
    for (std::int64_t row = voxels * group / cut.row_groups; row < row_end; row += most_rows, add = true) {
      const std::int64_t rows = std::min(most_rows, row_end - row);
      const bf16* x = slab + row * width;
      float* to = gradient + row * width;
      gradient_of_z(to_dz, g.mid, rows, da + row * g.mid, z + row * g.mid, dz.data(), dz_pairs.data());
      for (std::int64_t c0 = panel_begin * bf::panel_width; c0 < panel_end * bf::panel_width; c0 += most_channels) {
        const std::int64_t c1 = std::min(c0 + most_channels, panel_end * bf::panel_width);
        const bool last = c1 == panel_end * bf::panel_width, end = row + rows == row_end;
        const bf16* next = !last ? x + most_channels : end ? x : x + rows * width - (c0 - panel_begin * bf::panel_width);
        activated_pairs(x, width, rows, c0, c1, layer.norm1, slope, to, next, u.data());
        bf::gemm(g.mid, c1 - c0, (rows + 1) / 2, {dz_pairs.data(), 2, 2 * g.mid},
                 {u.data(), most_rows * bf::panel_width, pairs_width}, dw + c0, channels, add);
        bf::gemm(rows, c1 - c0, g.mid / 2, {dz.data(), g.mid, 2},
                 {weights.data() + c0 * g.mid, g.mid * bf::panel_width, pairs_width}, du.data(), most_channels, false);
        std::int64_t c = c0;
        for (; c + 4 * bf::lanes <= c1; c += 4 * bf::lanes)
          through_activation<4>(x, width, du.data() + c - c0, rows, c, layer.norm1, leak, to, own);
        if (c < c1) through_activation<2>(x, width, du.data() + c - c0, rows, c, layer.norm1, leak, to, own);
      }
    }
  });
  parallel_ranges(g.mid * channels, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += bf::lanes) {
      Vec sum = load(parts.data() + i);
      for (std::int64_t q = 1; q < cut.row_groups; ++q) sum += load(parts.data() + q * g.mid * channels + i);
      store(out.conv1 + i, sum);
    }
  });
  sums = added(part_sums);
}

/// x's own channels of the slab's gradient, completed.
void finish(const Geometry& g, const Pending& pending, const bf16* slab, float* gradient) {
  const profiler::Span span(Device::cpu, "dense_block.finish", "bf16", 0, bytes16(g, 5 * g.first));
  parallel_ranges(g.voxels(), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < g.first; c += bf::lanes) {
        float* at = gradient + i * g.width() + c;
        store(at, load(at) + load(pending.offset.data() + c) + load(pending.factor.data() + c) * load(slab + i * g.width() + c));
      }
  });
}

}  // namespace

void backward(const Geometry& g, const std::vector<Layer16>& layers, const std::vector<Tensor>& z, float slope,
              bool batch_statistics, const NormRanks* ranks, const bf16* slab, float* gradient,
              const std::vector<LayerGradients16>& out) {
  const double count = ranks ? ranks->count(g.n, g.voxels() / g.n) : static_cast<double>(g.voxels());
  const std::vector<Unit> units = units16_of(g);
  const auto width = static_cast<std::size_t>(g.width()), parts_count = units.size();
  Pending pending{std::vector<float>(width), std::vector<float>(width)};
  const Scratch<bf16> weights(point_count(g)), da(g.voxels() * g.mid);
  const Scratch<float> parts(static_cast<std::int64_t>(parts_count) * point_count(g));
  for (std::int64_t l = g.layers - 1; l >= 0; --l) {
    const auto k = static_cast<std::size_t>(l);
    const Layer16& layer = layers[k];
    const bf16* zl = z[k].data<bf16>();
    std::vector<Sums> part_sums(parts_count, Sums(static_cast<std::size_t>(2 * g.mid)));
    {
      const profiler::Span span(Device::cpu, "dense_block.conv2_backward", "bf16", 2 * g.flops2(),
                                bytes16(g, 2 * g.mid + 3 * g.growth));  // z, its gradient; the new features, theirs in f32
      bf::weight_points_turned(layer.conv2, g.growth, g.mid, g.depth_taps, weights.data());
      const Slice slice{g.channels(l), pending, slab, gradient};
      parallel_for(static_cast<std::int64_t>(parts_count), [&](std::int64_t i) {
        convolve_backward(g, units[static_cast<std::size_t>(i)], slice, layer.norm2, slope, zl, weights.data(), da.data(),
                          parts.data() + i * point_count(g), part_sums[static_cast<std::size_t>(i)]);
      });
      bf::weight_points_transposed(parts.data(), static_cast<std::int64_t>(parts_count), g.growth, g.mid, g.depth_taps,
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
  finish(g, pending, slab, gradient);
}

}  // namespace cuboid::dense
#endif
