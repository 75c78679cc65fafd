// SPDX-License-Identifier: Apache-2.0
// Normalisation of row-major activations: the inner loop runs over the voxels of one sample's channel. Pieces of lines
// are cut by size alone and their results merged in order.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/norm/moments.h"
#include "kernels/norm/rows.h"

namespace cuboid::cpu::lines {
namespace {

constexpr std::int64_t lanes = 32;  // independent partial sums, which the compiler keeps in vector registers

struct Grid {
  std::int64_t channels, segments, samples, length, piece, pieces;  // samples per segment, pieces per line

  Grid(const View& x, const View& statistics)
      : channels(x.dim(1)),
        segments(statistics.dim(0)),
        samples(x.dim(0) / segments),
        length(x.size() / channels / x.dim(0)),
        piece(std::min<std::int64_t>(length, 8192)),
        pieces((length + piece - 1) / piece) {}

  std::int64_t parts() const { return segments * samples * channels * pieces; }
  /// f(part index, statistics index, channel, offset, elements)
  template <class F>
  void each_piece(F&& f) const {
    parallel_ranges(parts(), std::max<std::int64_t>(1, 16384 / piece), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t line = i / pieces, start = i % pieces * piece, c = line % channels;
        f(i, line / channels / samples * channels + c, c, line * length + start, std::min(piece, length - start));
      }
    });
  }
  /// f(statistics index, g) where g(h) calls h(part index, elements) for the parts of that statistic in order.
  template <class F>
  void each_statistic(F&& f) const {
    parallel_ranges(segments * channels, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        f(i, [&, i](auto&& h) {
          for (std::int64_t n = i / channels * samples; n < (i / channels + 1) * samples; ++n)
            for (std::int64_t k = 0; k < pieces; ++k)
              h((n * channels + i % channels) * pieces + k, std::min(piece, length - k * piece));
        });
    });
  }
};

/// Sums two numbers over [0, n): f(i) returns the pair to add.
template <class A, class F>
std::pair<A, A> sum_two(std::int64_t n, F&& f) {
  A a[lanes] = {}, b[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (std::int64_t l = 0; l < lanes; ++l) {
      const auto [u, v] = f(i + l);
      a[l] += u;
      b[l] += v;
    }
  for (std::int64_t l = 0; i < n; ++i, ++l) {
    const auto [u, v] = f(i);
    a[l] += u;
    b[l] += v;
  }
  for (std::int64_t width = lanes / 2; width > 0; width /= 2)
    for (std::int64_t l = 0; l < width; ++l) {
      a[l] += a[l + width];
      b[l] += b[l + width];
    }
  return {a[0], b[0]};
}

template <class A>
struct Two {
  A first, second;
};

/// v = (x - mean) * scale + shift
template <class A>
struct Affine {
  A mean, rstd, scale, shift;
  Affine(const View& means, const View& rstds, const View& weight, const View& bias, std::int64_t i, std::int64_t c)
      : mean(means.as<A>()[i]),
        rstd(rstds.as<A>()[i]),
        scale(rstd * (weight.data ? weight.as<A>()[c] : 1)),
        shift(bias.data ? bias.as<A>()[c] : 0) {}
};

// Functions of their own: with every number in a parameter the compiler sees that nothing overlaps, and vectorises.

template <class T, class A>
void apply_line(const T* __restrict x, std::int64_t n, A mean, A scale, A shift, A leak, T* __restrict y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const A v = (static_cast<A>(x[i]) - mean) * scale + shift;
    y[i] = static_cast<T>(v > 0 ? v : v * leak);
  }
}

template <class T, class A>
void backward_line(const T* __restrict g, const T* __restrict x, std::int64_t n, A mean, A scale, A shift, A leak,
                   A per_deviation, A constant, T* __restrict dx) {
  for (std::int64_t i = 0; i < n; ++i) {
    const A d = static_cast<A>(x[i]) - mean;
    const A own = static_cast<A>(g[i]) * (d * scale + shift > 0 ? A(1) : leak);
    dx[i] = static_cast<T>(scale * own + per_deviation * d + constant);
  }
}

}  // namespace

void norm_statistics(const View& x, const Out& mean, const Out& var) {
  const Grid grid(x, mean);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const Scratch<Two<A>> parts(grid.parts());  // mean and squared deviations
    grid.each_piece([&](std::int64_t part, std::int64_t, std::int64_t, std::int64_t offset, std::int64_t n) {
      const T* p = x.as<T>() + offset;
      const A first = static_cast<A>(p[0]);  // deviations from it: sound however far the mean is from zero
      const auto [sum, squares] = sum_two<A>(n, [&](std::int64_t i) {
        const A d = static_cast<A>(p[i]) - first;
        return Two<A>{d, d * d};
      });
      parts[part] = {first + sum / static_cast<A>(n), squares - sum * sum / static_cast<A>(n)};
    });
    grid.each_statistic([&](std::int64_t i, auto&& each_part) {
      Moments all;
      each_part([&](std::int64_t part, std::int64_t n) {
        all.merge(static_cast<double>(n), static_cast<double>(parts[part].first), static_cast<double>(parts[part].second));
      });
      mean.as<A>()[i] = static_cast<A>(all.mean);
      var.as<A>()[i] = static_cast<A>(std::max(0., all.m2 / all.count));
    });
  });
}

void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  const Grid grid(x, mean);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const A leak = static_cast<A>(slope);
    grid.each_piece([&](std::int64_t, std::int64_t i, std::int64_t c, std::int64_t offset, std::int64_t n) {
      const Affine<A> a(mean, rstd, weight, bias, i, c);
      apply_line(x.as<T>() + offset, n, a.mean, a.scale, a.shift, leak, y.as<T>() + offset);
    });
  });
}

void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  const Grid grid(x, mean);
  const double count = static_cast<double>(grid.samples * grid.length);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    const A leak = static_cast<A>(slope);
    const Scratch<Two<A>> parts(grid.parts());  // sums of g and of g * (x - mean)
    grid.each_piece([&](std::int64_t part, std::int64_t s, std::int64_t c, std::int64_t offset, std::int64_t n) {
      const Affine<A> a(mean, rstd, weight, bias, s, c);
      const auto [sum, product] = sum_two<A>(n, [px = x.as<T>() + offset, pg = g.as<T>() + offset, a, leak](std::int64_t i) {
        const A d = static_cast<A>(px[i]) - a.mean;
        const A own = static_cast<A>(pg[i]) * (d * a.scale + a.shift > 0 ? A(1) : leak);
        return Two<A>{own, own * d};
      });
      parts[part] = {sum, product};
    });
    const Scratch<Two<A>> terms(grid.segments * grid.channels);  // dx = scale * g + first * (x - mean) + second
    grid.each_statistic([&](std::int64_t i, auto&& each_part) {
      double sum = 0, product = 0;
      each_part([&](std::int64_t part, std::int64_t) {
        sum += static_cast<double>(parts[part].first);
        product += static_cast<double>(parts[part].second);
      });
      const Affine<A> a(mean, rstd, weight, bias, i, i % grid.channels);
      const double r = static_cast<double>(a.rstd), scale = static_cast<double>(a.scale);
      dbias.as<A>()[i] = static_cast<A>(sum);
      dweight.as<A>()[i] = static_cast<A>(product * r);
      terms[i] =
          batch ? Two<A>{static_cast<A>(-scale * r * r * product / count), static_cast<A>(-scale * sum / count)} : Two<A>{};
    });
    if (!dx.data) return;
    grid.each_piece([&](std::int64_t, std::int64_t s, std::int64_t c, std::int64_t offset, std::int64_t n) {
      const Affine<A> a(mean, rstd, weight, bias, s, c);
      const Two<A> term = terms[s];
      backward_line(g.as<T>() + offset, x.as<T>() + offset, n, a.mean, a.scale, a.shift, leak, term.first, term.second,
                    dx.as<T>() + offset);
    });
  });
}

}  // namespace cuboid::cpu::lines
