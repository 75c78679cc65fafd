// SPDX-License-Identifier: Apache-2.0
// Normalisation of channels-last activations: x is a matrix of voxels by channels, the inner loop runs over channels.
// Chunks of rows are cut by size alone and their results merged in order.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/norm/moments.h"
#include "kernels/norm/rows.h"

namespace cuboid::cpu::rows {
namespace {

struct Matrix {
  std::int64_t channels, segments, rows, chunk, chunks;  // rows and chunks per segment

  Matrix(const View& x, const View& statistics)
      : channels(x.dim(1)),
        segments(statistics.dim(0)),
        rows(x.size() / channels / segments),
        chunk(std::clamp<std::int64_t>(32768 / channels, 16, 1024)),
        chunks((rows + chunk - 1) / chunk) {}

  /// f(chunk index over all segments, segment, offset of its first element, rows)
  template <class F>
  void each_chunk(F&& f) const {
    parallel_for(segments * chunks, [&](std::int64_t i) {
      const std::int64_t segment = i / chunks, begin = i % chunks * chunk;
      f(i, segment, (segment * rows + begin) * channels, std::min(chunk, rows - begin));
    });
  }
  /// f(index into [segments, channels], segment, channel), in parallel over channels.
  template <class F>
  void each_channel(F&& f) const {
    parallel_ranges(segments * channels, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) f(i, i / channels, i % channels);
    });
  }
};

}  // namespace

void norm_statistics(const View& x, const Out& mean, const Out& var) {
  const Matrix m(x, mean);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const Scratch<A> parts(m.segments * m.chunks * 2 * m.channels);  // per chunk: means, then squared deviations
    m.each_chunk([&](std::int64_t i, std::int64_t, std::int64_t offset, std::int64_t rows) {
      const T* __restrict p = x.as<T>() + offset;
      A* __restrict sum = parts.data() + i * 2 * m.channels;
      A* __restrict squares = sum + m.channels;
      std::fill_n(sum, 2 * m.channels, A(0));
      // Deviations from the chunk's first row: sound however far the mean is from zero.
      for (std::int64_t r = 1; r < rows; ++r)
        for (std::int64_t c = 0; c < m.channels; ++c) {
          const A d = static_cast<A>(p[r * m.channels + c]) - static_cast<A>(p[c]);
          sum[c] += d;
          squares[c] += d * d;
        }
      for (std::int64_t c = 0; c < m.channels; ++c) {
        squares[c] -= sum[c] * sum[c] / static_cast<A>(rows);
        sum[c] = static_cast<A>(p[c]) + sum[c] / static_cast<A>(rows);
      }
    });
    m.each_channel([&](std::int64_t i, std::int64_t segment, std::int64_t c) {
      Moments all;
      for (std::int64_t k = 0; k < m.chunks; ++k) {
        const A* part = parts.data() + (segment * m.chunks + k) * 2 * m.channels + c;
        all.merge(static_cast<double>(std::min(m.chunk, m.rows - k * m.chunk)), static_cast<double>(part[0]),
                  static_cast<double>(part[m.channels]));
      }
      mean.as<A>()[i] = static_cast<A>(all.mean);
      var.as<A>()[i] = static_cast<A>(std::max(0., all.m2 / all.count));
    });
  });
}

namespace {

/// v = (x - mean) * scale + shift, per channel.
template <class A>
struct Affine {
  Scratch<A> mean, scale, shift;
  Affine(const Matrix& m, const View& means, const View& rstd, const View& weight, const View& bias)
      : mean(m.segments * m.channels), scale(m.segments * m.channels), shift(m.segments * m.channels) {
    for (std::int64_t i = 0; i < m.segments * m.channels; ++i) {
      const std::int64_t c = i % m.channels;
      mean[i] = means.as<A>()[i];
      scale[i] = rstd.as<A>()[i] * (weight.data ? weight.as<A>()[c] : 1);
      shift[i] = bias.data ? bias.as<A>()[c] : 0;
    }
  }
};

}  // namespace

void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  const Matrix m(x, mean);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const Affine<A> affine(m, mean, rstd, weight, bias);
    const A leak = static_cast<A>(slope);
    m.each_chunk([&](std::int64_t, std::int64_t segment, std::int64_t offset, std::int64_t rows) {
      const A own_leak = leak;  // a copy the stores below cannot reach, so that the loops become vector code
      const A* __restrict mu = affine.mean.data() + segment * m.channels;
      const A* __restrict scale = affine.scale.data() + segment * m.channels;
      const A* __restrict shift = affine.shift.data() + segment * m.channels;
      for (std::int64_t r = 0; r < rows; ++r) {
        const T* __restrict from = x.as<T>() + offset + r * m.channels;
        T* __restrict to = y.as<T>() + offset + r * m.channels;
        for (std::int64_t c = 0; c < m.channels; ++c) {
          const A v = (static_cast<A>(from[c]) - mu[c]) * scale[c] + shift[c], low = v * own_leak;
          to[c] = static_cast<T>(v > low ? v : low);  // a maximum, not a branch: slopes lie in [0, 1]
        }
      }
    });
  });
}

namespace {

/// One row's share of the sums of g and g * (x - mean). A function of its own, because the compiler believes __restrict of
/// parameters only and would otherwise not make vector code of it.
template <class T, class A>
void add_row(std::int64_t channels, const T* __restrict x, const T* __restrict g, const A* __restrict mean,
             const A* __restrict scale, const A* __restrict shift, A leak, A* __restrict sum, A* __restrict product) {
  for (std::int64_t c = 0; c < channels; ++c) {
    const A d = static_cast<A>(x[c]) - mean[c], v = d * scale[c] + shift[c];
    const A own = static_cast<A>(g[c]) * (v > 0 ? A(1) : leak);
    sum[c] += own;
    product[c] += own * d;
  }
}

}  // namespace

void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  const Matrix m(x, mean);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const Affine<A> affine(m, mean, rstd, weight, bias);
    const A leak = static_cast<A>(slope);
    const Scratch<A> parts(m.segments * m.chunks * 2 * m.channels);  // per chunk: sums of g, then of g * (x - mean)
    m.each_chunk([&](std::int64_t i, std::int64_t segment, std::int64_t offset, std::int64_t rows) {
      const A own_leak = leak;  // a copy the stores below cannot reach, so that the loops become vector code
      const A* __restrict mu = affine.mean.data() + segment * m.channels;
      const A* __restrict scale = affine.scale.data() + segment * m.channels;
      const A* __restrict shift = affine.shift.data() + segment * m.channels;
      A* __restrict sum = parts.data() + i * 2 * m.channels;
      A* __restrict product = sum + m.channels;
      std::fill_n(sum, 2 * m.channels, A(0));
      for (std::int64_t r = 0; r < rows; ++r) {
        const T* __restrict px = x.as<T>() + offset + r * m.channels;
        const T* __restrict pg = g.as<T>() + offset + r * m.channels;
        add_row(m.channels, px, pg, mu, scale, shift, own_leak, sum, product);
      }
    });
    // dx = scale * g + per_deviation * (x - mean) + constant
    const Scratch<A> per_deviation(m.segments * m.channels), constant(m.segments * m.channels);
    m.each_channel([&](std::int64_t i, std::int64_t segment, std::int64_t c) {
      double sum = 0, product = 0;
      for (std::int64_t k = 0; k < m.chunks; ++k) {
        const A* part = parts.data() + (segment * m.chunks + k) * 2 * m.channels + c;
        sum += static_cast<double>(part[0]);
        product += static_cast<double>(part[m.channels]);
      }
      const double r = static_cast<double>(rstd.as<A>()[i]), scale = static_cast<double>(affine.scale[i]);
      dbias.as<A>()[i] = static_cast<A>(sum);
      dweight.as<A>()[i] = static_cast<A>(product * r);
      per_deviation[i] = static_cast<A>(batch ? -scale * r * r * product / static_cast<double>(m.rows) : 0);
      constant[i] = static_cast<A>(batch ? -scale * sum / static_cast<double>(m.rows) : 0);
    });
    if (!dx.data) return;
    m.each_chunk([&](std::int64_t, std::int64_t segment, std::int64_t offset, std::int64_t rows) {
      const A own_leak = leak;  // a copy the stores below cannot reach, so that the loops become vector code
      const A* __restrict mu = affine.mean.data() + segment * m.channels;
      const A* __restrict scale = affine.scale.data() + segment * m.channels;
      const A* __restrict shift = affine.shift.data() + segment * m.channels;
      const A* __restrict deviation = per_deviation.data() + segment * m.channels;
      const A* __restrict offsets = constant.data() + segment * m.channels;
      for (std::int64_t r = 0; r < rows; ++r) {
        const T* __restrict px = x.as<T>() + offset + r * m.channels;
        const T* __restrict pg = g.as<T>() + offset + r * m.channels;
        T* __restrict to = dx.as<T>() + offset + r * m.channels;
        for (std::int64_t c = 0; c < m.channels; ++c) {
          const A d = static_cast<A>(px[c]) - mu[c], v = d * scale[c] + shift[c];
          const A own = static_cast<A>(pg[c]) * (v > 0 ? A(1) : own_leak);
          to[c] = static_cast<T>(scale[c] * own + deviation[c] * d + offsets[c]);
        }
      }
    });
  });
}

}  // namespace cuboid::cpu::rows
