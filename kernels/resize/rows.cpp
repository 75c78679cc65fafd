// SPDX-License-Identifier: Apache-2.0
// Resampling of channels-last activations, one axis after the other: along an axis it is a sparse matrix, forward as it
// stands and backward transposed. Every element is gathered, so the gradient needs no atomics and no order of threads.
#include "kernels/resize/rows.h"

#include <memory>
#include <vector>

#include "core/parallel.h"
#include "kernels/resize/source.h"

namespace cuboid::cpu::rows {
namespace {

/// A sparse matrix by rows: result[j] = sum of weight * x[from] over row j.
template <class A>
struct Taps {
  struct Tap {
    std::int64_t from;
    A weight;
  };
  std::vector<std::vector<Tap>> rows;

  Taps(std::int64_t in, std::int64_t out, const ResizeOptions& options, bool transposed)
      : rows(static_cast<std::size_t>(transposed ? in : out)) {
    const SourceAxis<A> axis(in, out, options);
    for (std::int64_t at = 0; at < out; ++at) {
      const Source<A> s = axis.source(at);
      for (const auto& [input, weight] : {std::pair{s.first, 1 - s.share}, {s.second, s.share}}) {
        if (weight == 0) continue;
        rows[static_cast<std::size_t>(transposed ? input : at)].push_back({transposed ? at : input, weight});
      }
    }
  }
};

/// sum = the weighted sum of lines of x; the usual two of them in one pass.
template <class A, class From>
void combine(const std::vector<typename Taps<A>::Tap>& taps, const From* x, std::int64_t n, A* __restrict sum) {
  std::size_t done = 0;
  if (taps.size() >= 2) {
    const From* __restrict p = x + taps[0].from * n;
    const From* __restrict q = x + taps[1].from * n;
    const A u = taps[0].weight, v = taps[1].weight;
    for (std::int64_t k = 0; k < n; ++k) sum[k] = u * static_cast<A>(p[k]) + v * static_cast<A>(q[k]);
    done = 2;
  } else if (taps.size() == 1) {
    const From* __restrict p = x + taps[0].from * n;
    const A u = taps[0].weight;
    for (std::int64_t k = 0; k < n; ++k) sum[k] = u * static_cast<A>(p[k]);
    done = 1;
  } else {
    std::fill_n(sum, n, A(0));
  }
  for (; done < taps.size(); ++done) {
    const From* __restrict p = x + taps[done].from * n;
    const A u = taps[done].weight;
    for (std::int64_t k = 0; k < n; ++k) sum[k] += u * static_cast<A>(p[k]);
  }
}

/// x [outer, *, inner] -> y [outer, rows, inner].
template <class A, class From, class To>
void apply(const Taps<A>& taps, const From* x, To* y, std::int64_t outer, std::int64_t in, std::int64_t inner) {
  const auto out = static_cast<std::int64_t>(taps.rows.size());
  parallel_ranges(outer * out, std::max<std::int64_t>(1, 8192 / inner), [&](std::int64_t begin, std::int64_t end) {
    std::vector<A> sums(std::is_same_v<To, A> ? 0 : static_cast<std::size_t>(inner));
    std::int64_t o = begin / out, j = begin % out;
    for (std::int64_t i = begin; i < end; ++i) {
      To* to = y + i * inner;
      A* sum = nullptr;
      if constexpr (std::is_same_v<To, A>) sum = to;
      else sum = sums.data();
      combine(taps.rows[static_cast<std::size_t>(j)], x + o * in * inner, inner, sum);
      if constexpr (!std::is_same_v<To, A>)
        for (std::int64_t k = 0; k < inner; ++k) to[k] = static_cast<To>(sum[k]);
      if (++j == out) {
        j = 0;
        ++o;
      }
    }
  });
}

template <class T>
void along_all_axes(const View& x, const Out& y, const ResizeOptions& options, bool backward) {
  using A = Accum<T>;
  std::vector<int> axes;
  for (int d = 2; d < x.rank(); ++d)
    if (x.dim(d) != y.dim(d)) axes.push_back(d);
  // Shrinking axes first: less is left to do for the others.
  std::stable_sort(axes.begin(), axes.end(), [&](int a, int b) { return y.dim(a) * x.dim(b) < y.dim(b) * x.dim(a); });
  if (axes.empty()) {
    std::copy_n(x.as<T>(), x.size(), y.as<T>());
    return;
  }
  Shape shape = x.shape;
  std::unique_ptr<Scratch<A>> between;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int d = axes[i];
    const bool last = i + 1 == axes.size();
    const Taps<A> taps(backward ? y.dim(d) : x.dim(d), backward ? x.dim(d) : y.dim(d), options, backward);
    std::int64_t outer = shape[0], inner = shape[1];
    for (int k = 2; k < d; ++k) outer *= shape[k];
    for (int k = d + 1; k < shape.rank(); ++k) inner *= shape[k];
    const std::int64_t in = shape[d];
    shape[d] = y.dim(d);
    auto next = last ? nullptr : std::make_unique<Scratch<A>>(shape.count());
    const auto write = [&](const auto* from) {
      if (last) apply(taps, from, y.as<T>(), outer, in, inner);
      else apply(taps, from, next->data(), outer, in, inner);
    };
    if (between) write(static_cast<const A*>(between->data()));
    else write(static_cast<const T*>(x.as<T>()));
    between = std::move(next);
  }
}

}  // namespace

void resize(const View& x, const Out& y, const ResizeOptions& options) {
  visit_floating(x.dtype, "resize", [&]<class T>() { along_all_axes<T>(x, y, options, false); });
}
void resize_backward(const View& g, const Out& dx, const ResizeOptions& options) {
  visit_floating(g.dtype, "resize", [&]<class T>() { along_all_axes<T>(g, dx, options, true); });
}

}  // namespace cuboid::cpu::rows
