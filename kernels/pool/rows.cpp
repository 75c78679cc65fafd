// SPDX-License-Identifier: Apache-2.0
// Pooling of channels-last activations: the inner loop runs over channels. Each voxel of the result is gathered from
// all that flows into it, so gradients need no atomics and no order of threads.
#include "kernels/pool/rows.h"

#include <vector>

#include "core/parallel.h"
#include "kernels/pool/windows.h"

namespace cuboid::cpu::rows {
namespace {

/// f(n, position, coordinates) for each voxel of `size` in each sample.
template <class F>
void each_voxel(std::int64_t samples, const Triple& size, std::int64_t channels, F&& f) {
  const std::int64_t volume = Windows::volume(size);
  parallel_ranges(samples * volume, std::max<std::int64_t>(1, 4096 / channels), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t n = begin / volume, at = begin % volume;
    Triple p = unflatten(at, size);
    for (std::int64_t i = begin; i < end; ++i) {
      f(n, at, p);
      ++at;  // to the next voxel, without divisions
      if (++p[2] < size[2]) continue;
      p[2] = 0;
      if (++p[1] < size[1]) continue;
      p[1] = 0;
      if (++p[0] < size[0]) continue;
      p[0] = at = 0;
      ++n;
    }
  });
}

/// f(input position) for the voxels of output o's window, in row-major order.
template <class F>
void each_input(const Windows& s, const Triple& o, F&& f) {
  const Span d = s.inputs(0, o[0]), h = s.inputs(1, o[1]), w = s.inputs(2, o[2]);
  for (std::int64_t i = d.begin; i < d.end; ++i)
    for (std::int64_t j = h.begin; j < h.end; ++j)
      for (std::int64_t k = w.begin; k < w.end; ++k) f(s.input_at(i, j, k));
}

/// f(output position, output coordinates) for the windows that cover input p, in row-major order.
template <class F>
void each_output(const Windows& s, const Triple& p, F&& f) {
  const Span d = s.outputs(0, p[0]), h = s.outputs(1, p[1]), w = s.outputs(2, p[2]);
  for (std::int64_t i = d.begin; i < d.end; ++i)
    for (std::int64_t j = h.begin; j < h.end; ++j)
      for (std::int64_t k = w.begin; k < w.end; ++k) f(s.output_at(i, j, k), Triple{i, j, k});
}

/// One line of sums per thread.
template <class A>
A* line(std::int64_t channels) {
  thread_local std::vector<A> sums;
  sums.assign(static_cast<std::size_t>(channels), A(0));
  return sums.data();
}

template <class T>
void store(const Accum<T>* __restrict sums, std::int64_t channels, Accum<T> factor, T* __restrict to) {
  for (std::int64_t c = 0; c < channels; ++c) to[c] = static_cast<T>(sums[c] * factor);
}

}  // namespace

void avg_pool(const View& x, const Out& y, const PoolSpec& spec) {
  const Windows s(x.shape, y.shape, spec);
  const std::int64_t inputs = Windows::volume(s.in), outputs = Windows::volume(s.out);
  visit_floating(x.dtype, "avg_pool", [&]<class T>() {
    using A = Accum<T>;
    each_voxel(s.samples, s.out, s.channels, [&](std::int64_t n, std::int64_t at, const Triple& o) {
      A* __restrict sums = line<A>(s.channels);
      each_input(s, o, [&](std::int64_t from) {
        const T* __restrict p = x.as<T>() + (n * inputs + from) * s.channels;
        for (std::int64_t c = 0; c < s.channels; ++c) sums[c] += static_cast<A>(p[c]);
      });
      store(sums, s.channels, static_cast<A>(s.share(o)), y.as<T>() + (n * outputs + at) * s.channels);
    });
  });
}

void avg_pool_backward(const View& g, const Out& dx, const PoolSpec& spec) {
  const Windows s(dx.shape, g.shape, spec);
  const std::int64_t inputs = Windows::volume(s.in), outputs = Windows::volume(s.out);
  visit_floating(g.dtype, "avg_pool", [&]<class T>() {
    using A = Accum<T>;
    each_voxel(s.samples, s.in, s.channels, [&](std::int64_t n, std::int64_t at, const Triple& i) {
      A* __restrict sums = line<A>(s.channels);
      each_output(s, i, [&](std::int64_t from, const Triple& o) {
        const T* __restrict p = g.as<T>() + (n * outputs + from) * s.channels;
        const A share = static_cast<A>(s.share(o));
        for (std::int64_t c = 0; c < s.channels; ++c) sums[c] += static_cast<A>(p[c]) * share;
      });
      store(sums, s.channels, A(1), dx.as<T>() + (n * inputs + at) * s.channels);
    });
  });
}

void max_pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) {
  const Windows s(x.shape, y.shape, spec);
  const std::int64_t inputs = Windows::volume(s.in), outputs = Windows::volume(s.out);
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    using A = Accum<T>;
    each_voxel(s.samples, s.out, s.channels, [&](std::int64_t n, std::int64_t at, const Triple& o) {
      A* __restrict best = line<A>(s.channels);
      std::int32_t* __restrict where = index.as<std::int32_t>() + (n * outputs + at) * s.channels;
      bool first = true;
      each_input(s, o, [&](std::int64_t from) {
        const T* __restrict p = x.as<T>() + (n * inputs + from) * s.channels;
        const auto position = static_cast<std::int32_t>(from);
        if (first) {
          for (std::int64_t c = 0; c < s.channels; ++c) {
            best[c] = static_cast<A>(p[c]);
            where[c] = position;
          }
          first = false;
          return;
        }
        for (std::int64_t c = 0; c < s.channels; ++c) {
          const A v = static_cast<A>(p[c]);
          const bool take = v > best[c] || v != v;  // NaN wins
          best[c] = take ? v : best[c];
          where[c] = take ? position : where[c];
        }
      });
      store(best, s.channels, A(1), y.as<T>() + (n * outputs + at) * s.channels);
    });
  });
}

void max_pool_scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  const Windows s(dx.shape, g.shape, spec);
  const std::int64_t inputs = Windows::volume(s.in), outputs = Windows::volume(s.out);
  visit_floating(g.dtype, "max_pool", [&]<class T>() {
    using A = Accum<T>;
    each_voxel(s.samples, s.in, s.channels, [&](std::int64_t n, std::int64_t at, const Triple& i) {
      A* __restrict sums = line<A>(s.channels);
      const auto position = static_cast<std::int32_t>(at);
      each_output(s, i, [&](std::int64_t from, const Triple&) {
        const T* __restrict p = g.as<T>() + (n * outputs + from) * s.channels;
        const std::int32_t* __restrict where = index.as<std::int32_t>() + (n * outputs + from) * s.channels;
        for (std::int64_t c = 0; c < s.channels; ++c) sums[c] += where[c] == position ? static_cast<A>(p[c]) : A(0);
      });
      store(sums, s.channels, A(1), dx.as<T>() + (n * inputs + at) * s.channels);
    });
  });
}

void max_pool_gather(const View& x, const View& index, const Out& y) {
  const std::int64_t channels = y.dim(1), outputs = y.size() / y.dim(0) / channels, inputs = x.size() / x.dim(0) / channels;
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    each_voxel(y.dim(0), {1, 1, outputs}, channels, [&](std::int64_t n, std::int64_t at, const Triple&) {
      const std::int32_t* where = index.as<std::int32_t>() + (n * outputs + at) * channels;
      T* to = y.as<T>() + (n * outputs + at) * channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = x.as<T>()[(n * inputs + where[c]) * channels + c];
    });
  });
}

}  // namespace cuboid::cpu::rows
