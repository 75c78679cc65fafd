// SPDX-License-Identifier: Apache-2.0
// Maxima, softmax, and the plain-loop references of this room.
#include "kernels/reduce/cpu.h"

#include <cmath>
#include <limits>

#include "core/strided.h"
#include "kernels/pointwise/fast_math.h"

namespace cuboid::reduce::cpu {
namespace {

/// The reduced axes of x in row-major order, and the kept ones; nothing is merged.
struct Axes {
  Shape kept, reduced;
  Strides kept_x, kept_y, kept_z, reduced_x;
  Axes(const View& x, const View& y, const View& z) {
    for (int d = 0; d < x.rank(); ++d) {
      if (y.shape[d] == 1) {
        reduced.push_back(x.shape[d]);
        reduced_x.push_back(x.strides[d]);
      } else {
        kept.push_back(x.shape[d]);
        kept_x.push_back(x.strides[d]);
        kept_y.push_back(y.strides[d]);
        kept_z.push_back(z.strides[d]);
      }
    }
  }
};

template <class T>
struct Best {
  T value;
  std::int64_t index;
  /// NaN beats numbers; of equals the first stays.
  void meet(T other, std::int64_t at) {
    if (other > value || (other != other && value == value)) {
      value = other;
      index = at;
    }
  }
};

/// Of elements [begin, end) of the reduction that starts at `base`.
template <class T>
Best<T> best_of(const Axes& axes, const T* base, std::int64_t begin, std::int64_t end) {
  const int last = axes.reduced.rank() - 1;
  const std::int64_t length = last < 0 ? 1 : axes.reduced[last], step = last < 0 ? 0 : axes.reduced_x[last];
  const Shape outer(std::span(axes.reduced.begin(), static_cast<std::size_t>(std::max(0, last))));
  Odometer<1> row(outer, {axes.reduced_x}, begin / length);
  Best<T> best{base[row.offsets()[0] + begin % length * step], begin};
  for (std::int64_t i = begin; i < end; row.next()) {
    const std::int64_t first = i % length, n = std::min(length - first, end - i);
    const T* p = base + row.offsets()[0] + first * step;
    for (std::int64_t k = 0; k < n; ++k) best.meet(p[k * step], i + k);
    i += n;
  }
  return best;
}

}  // namespace

// ---- max ---------------------------------------------------------------------------------------

void max(const View& x, const Out& y, const Out& index) {
  constexpr std::int64_t chunk = 1 << 16;
  const Axes axes(x, y, index);
  const std::int64_t outputs = axes.kept.count(), length = axes.reduced.count(), chunks = (length + chunk - 1) / chunk;
  visit(x.dtype, [&]<class T>() {
    // Tasks are (output, chunk); short reductions share a task.
    const Scratch<Best<T>> best(outputs * chunks);
    parallel_ranges(outputs * chunks, std::max<std::int64_t>(1, chunk / std::min(chunk, length)),
                    [&](std::int64_t begin, std::int64_t end) {
                      Odometer<1> at(axes.kept, {axes.kept_x}, begin / chunks);
                      for (std::int64_t i = begin; i < end; ++i) {
                        const std::int64_t first = i % chunks * chunk;
                        best[i] = best_of(axes, x.as<T>() + at.offsets()[0], first, std::min(length, first + chunk));
                        if (i % chunks == chunks - 1) at.next();
                      }
                    });
    Odometer<2> at(axes.kept, {axes.kept_y, axes.kept_z}, 0);
    for (std::int64_t o = 0; o < outputs; ++o, at.next()) {
      Best<T> total = best[o * chunks];
      for (std::int64_t c = 1; c < chunks; ++c) total.meet(best[o * chunks + c].value, best[o * chunks + c].index);
      y.as<T>()[at.offsets()[0]] = total.value;
      index.as<std::int64_t>()[at.offsets()[1]] = total.index;
    }
  });
}

void mark(const View& index, const Out& mask) {
  const Axes axes(mask, index, index);
  const std::int64_t length = axes.reduced.count();
  visit_floating(mask.dtype, "max", [&]<class T>() {
    parallel_ranges(axes.kept.count(), std::max<std::int64_t>(1, (1 << 16) / length), [&](std::int64_t begin, std::int64_t end) {
      Odometer<2> at(axes.kept, {axes.kept_x, axes.kept_y}, begin);
      for (std::int64_t o = begin; o < end; ++o, at.next()) {
        T* base = mask.as<T>() + at.offsets()[0];
        const std::int64_t found = index.as<std::int64_t>()[at.offsets()[1]];
        Odometer<1> inner(axes.reduced, {axes.reduced_x}, 0);
        for (std::int64_t i = 0; i < length; ++i, inner.next()) base[inner.offsets()[0]] = static_cast<T>(i == found ? 1.f : 0.f);
      }
    });
  });
}

// ---- softmax -----------------------------------------------------------------------------------
namespace {

constexpr std::int64_t width = 16;  // lines handled together

/// `width` lines of n numbers, in place; number i of line k is v[i * width + k].
template <class A>
void softmax_lines(A* v, std::int64_t n, bool log) {
  A top[width], scale[width];
  double total[width] = {};
  std::copy_n(v, width, top);
  for (std::int64_t i = 1; i < n; ++i)
    for (std::int64_t k = 0; k < width; ++k) top[k] = v[i * width + k] > top[k] ? v[i * width + k] : top[k];
  for (std::int64_t i = 0; i < n; ++i) {
    A* p = v + i * width;
    A e[width];
    for (std::int64_t k = 0; k < width; ++k) {
      p[k] -= top[k];
      e[k] = pointwise::Fast::exp(p[k]);
      total[k] += static_cast<double>(e[k]);
    }
    if (!log) std::copy_n(e, width, p);
  }
  for (std::int64_t k = 0; k < width; ++k) scale[k] = static_cast<A>(log ? std::log(total[k]) : 1 / total[k]);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < width; ++k) v[i * width + k] = log ? v[i * width + k] - scale[k] : v[i * width + k] * scale[k];
}

}  // namespace

void softmax(const View& x, const Out& y, const int& axis, const bool& log) {
  const std::int64_t n = x.shape[axis], step_x = x.strides[axis], step_y = y.strides[axis];
  View lines_x = x, lines_y = y;
  lines_x.shape[axis] = lines_y.shape[axis] = 1;
  const StridedLoop<2> lines({lines_y, lines_x});
  const auto steps = lines.steps();
  visit_floating(x.dtype, "softmax", [&]<class T>() {
    using A = Accum<T>;
    const auto some_lines = [&](const auto& at, std::int64_t count) {
      const Scratch<A> buffer(n * width);
      for (std::int64_t l = 0; l < count; l += width) {
        const std::int64_t m = std::min(width, count - l);
        const T* from = x.as<T>() + at[1] + l * steps[1];
        T* to = y.as<T>() + at[0] + l * steps[0];
        for (std::int64_t i = 0; i < n; ++i)
          for (std::int64_t k = 0; k < width; ++k)  // lanes without a line repeat the first one
            buffer[i * width + k] = static_cast<A>(from[i * step_x + (k < m ? k : 0) * steps[1]]);
        softmax_lines(buffer.data(), n, log);
        for (std::int64_t i = 0; i < n; ++i)
          for (std::int64_t k = 0; k < m; ++k) to[i * step_y + k * steps[0]] = static_cast<T>(buffer[i * width + k]);
      }
    };
    lines.each_row(some_lines, std::max(width, (1 << 16) / n));
  });
}

// ---- references: f64 (or i64), one element after the other -------------------------------------

void sum_reference(const View& x, const Out& y, const double& scale) {
  const Axes axes(x, y, y);
  visit(x.dtype, [&]<class T>() {
    using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
    Odometer<2> kept(axes.kept, {axes.kept_x, axes.kept_y}, 0);
    for (std::int64_t o = 0; o < axes.kept.count(); ++o, kept.next()) {
      Total total = 0;
      Odometer<1> at(axes.reduced, {axes.reduced_x}, 0);
      for (std::int64_t i = 0; i < axes.reduced.count(); ++i, at.next())
        total += static_cast<Total>(x.as<T>()[kept.offsets()[0] + at.offsets()[0]]);
      if constexpr (!std::is_integral_v<T>) total *= scale;
      y.as<T>()[kept.offsets()[1]] = static_cast<T>(total);
    }
  });
}

void max_reference(const View& x, const Out& y, const Out& index) {
  const Axes axes(x, y, index);
  visit(x.dtype, [&]<class T>() {
    Odometer<3> kept(axes.kept, {axes.kept_x, axes.kept_y, axes.kept_z}, 0);
    for (std::int64_t o = 0; o < axes.kept.count(); ++o, kept.next()) {
      const Best<T> best = best_of(axes, x.as<T>() + kept.offsets()[0], 0, axes.reduced.count());
      y.as<T>()[kept.offsets()[1]] = best.value;
      index.as<std::int64_t>()[kept.offsets()[2]] = best.index;
    }
  });
}

void softmax_reference(const View& x, const Out& y, const int& axis, const bool& log) {
  View lines = x;
  lines.shape[axis] = 1;
  const Axes axes(x, lines, y);
  visit_floating(x.dtype, "softmax", [&]<class T>() {
    Odometer<2> kept(axes.kept, {axes.kept_x, axes.kept_z}, 0);
    for (std::int64_t o = 0; o < axes.kept.count(); ++o, kept.next()) {
      const T* from = x.as<T>() + kept.offsets()[0];
      T* to = y.as<T>() + kept.offsets()[1];
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (std::int64_t i = 0; i < x.shape[axis]; ++i) top = std::max(top, static_cast<double>(from[i * x.strides[axis]]));
      for (std::int64_t i = 0; i < x.shape[axis]; ++i) total += std::exp(static_cast<double>(from[i * x.strides[axis]]) - top);
      for (std::int64_t i = 0; i < x.shape[axis]; ++i) {
        const double v = static_cast<double>(from[i * x.strides[axis]]) - top;
        to[i * y.strides[axis]] = static_cast<T>(log ? v - std::log(total) : std::exp(v) / total);
      }
    }
  });
}

}  // namespace cuboid::reduce::cpu
