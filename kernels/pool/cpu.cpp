// SPDX-License-Identifier: Apache-2.0
// The reference of pooling: plain loops, any strides; gradients are scattered, one channel of one sample at a time.
#include <cmath>

#include "core/parallel.h"
#include "kernels/pool/rows.h"
#include "kernels/pool/windows.h"

namespace cuboid::cpu {
namespace {

/// One channel of one sample, by row-major position.
template <class T>
struct Plane {
  Plane(const View& v, std::int64_t n, std::int64_t c) : data(v.as<T>() + n * v.stride(0) + c * v.stride(1)), view(v) {}
  T& operator[](std::int64_t position) const {
    std::int64_t at = 0;
    for (int d = view.rank() - 1; d >= 2; --d) {
      at += position % view.dim(d) * view.stride(d);
      position /= view.dim(d);
    }
    return data[at];
  }
  T* data;
  const View& view;
};

/// f(n, c) for each channel of each sample.
template <class F>
void each_plane(const Windows& s, F&& f) {
  const std::int64_t work = Windows::volume(s.in) + Windows::volume(s.out) * Windows::volume(s.size);
  parallel_ranges(s.samples * s.channels, 1 + 20000 / work, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i / s.channels, i % s.channels);
  });
}

/// f(output position, output coordinates, input position) for each pair that meets.
template <class F>
void each_pair(const Windows& s, F&& f) {
  for (std::int64_t v = 0; v < Windows::volume(s.out); ++v) {
    const Triple o = unflatten(v, s.out);
    const Span d = s.inputs(0, o[0]), h = s.inputs(1, o[1]), w = s.inputs(2, o[2]);
    for (std::int64_t i = d.begin; i < d.end; ++i)
      for (std::int64_t j = h.begin; j < h.end; ++j)
        for (std::int64_t k = w.begin; k < w.end; ++k) f(v, o, s.input_at(i, j, k));
  }
}

}  // namespace

void avg_pool(const View& x, const Out& y, const PoolSpec& spec) {
  const Windows s(x.shape, y.shape, spec);
  visit_floating(x.dtype, "avg_pool", [&]<class T>() {
    using A = Accum<T>;
    each_plane(s, [&](std::int64_t n, std::int64_t c) {
      const Plane<T> from(x, n, c), to(y, n, c);
      const Scratch<A> sums(Windows::volume(s.out));
      std::fill_n(sums.data(), Windows::volume(s.out), A(0));
      each_pair(s, [&](std::int64_t v, const Triple&, std::int64_t at) { sums[v] += static_cast<A>(from[at]); });
      for (std::int64_t v = 0; v < Windows::volume(s.out); ++v)
        to[v] = static_cast<T>(sums[v] * static_cast<A>(s.share(unflatten(v, s.out))));
    });
  });
}

void avg_pool_backward(const View& g, const Out& dx, const PoolSpec& spec) {
  const Windows s(dx.shape, g.shape, spec);
  visit_floating(g.dtype, "avg_pool", [&]<class T>() {
    using A = Accum<T>;
    each_plane(s, [&](std::int64_t n, std::int64_t c) {
      const Plane<T> from(g, n, c), to(dx, n, c);
      const Scratch<A> sums(Windows::volume(s.in));
      std::fill_n(sums.data(), Windows::volume(s.in), A(0));
      each_pair(s, [&](std::int64_t v, const Triple& o, std::int64_t at) {
        sums[at] += static_cast<A>(from[v]) * static_cast<A>(s.share(o));
      });
      for (std::int64_t v = 0; v < Windows::volume(s.in); ++v) to[v] = static_cast<T>(sums[v]);
    });
  });
}

void max_pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) {
  const Windows s(x.shape, y.shape, spec);
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    using A = Accum<T>;
    each_plane(s, [&](std::int64_t n, std::int64_t c) {
      const Plane<T> from(x, n, c), to(y, n, c);
      const Plane<std::int32_t> where(index, n, c);
      std::int64_t last = -1;
      each_pair(s, [&](std::int64_t v, const Triple&, std::int64_t at) {
        const A value = static_cast<A>(from[at]);
        if (v == last && !(value > static_cast<A>(to[v])) && !std::isnan(value)) return;
        last = v;
        to[v] = from[at];
        where[v] = static_cast<std::int32_t>(at);
      });
    });
  });
}

void max_pool_scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  const Windows s(dx.shape, g.shape, spec);
  visit_floating(g.dtype, "max_pool", [&]<class T>() {
    using A = Accum<T>;
    each_plane(s, [&](std::int64_t n, std::int64_t c) {
      const Plane<T> from(g, n, c), to(dx, n, c);
      const Plane<std::int32_t> where(index, n, c);
      const Scratch<A> sums(Windows::volume(s.in));
      std::fill_n(sums.data(), Windows::volume(s.in), A(0));
      for (std::int64_t v = 0; v < Windows::volume(s.out); ++v) sums[where[v]] += static_cast<A>(from[v]);
      for (std::int64_t v = 0; v < Windows::volume(s.in); ++v) to[v] = static_cast<T>(sums[v]);
    });
  });
}

void max_pool_gather(const View& x, const View& index, const Out& y) {
  std::int64_t volume = 1;
  for (int d = 2; d < y.rank(); ++d) volume *= y.dim(d);
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    for (std::int64_t n = 0; n < y.dim(0); ++n)
      for (std::int64_t c = 0; c < y.dim(1); ++c) {
        const Plane<T> from(x, n, c), to(y, n, c);
        const Plane<std::int32_t> where(index, n, c);
        for (std::int64_t v = 0; v < volume; ++v) to[v] = from[where[v]];
      }
  });
}

}  // namespace cuboid::cpu
