// SPDX-License-Identifier: Apache-2.0
// The reference of resampling: every neighbour of every output voxel, any strides, one channel of one sample at a time.
#include <array>

#include "core/parallel.h"
#include "kernels/resize/rows.h"
#include "kernels/resize/source.h"

namespace cuboid::cpu {
namespace {

/// f(offset of the input, of the output, weight) for each (input, output) pair of one channel.
template <class A, class F>
void each_pair(const View& x, const View& y, const ResizeOptions& options, F&& f) {
  const int rank = x.rank() - 2;
  std::int64_t volume = 1;
  for (int d = 2; d < y.rank(); ++d) volume *= y.dim(d);
  for (std::int64_t v = 0; v < volume; ++v) {
    std::array<Source<A>, 3> sources;
    std::int64_t at_y = 0, rest = v;
    for (int d = rank - 1; d >= 0; --d) {
      const std::int64_t at = rest % y.dim(2 + d);
      rest /= y.dim(2 + d);
      at_y += at * y.stride(2 + d);
      sources[static_cast<std::size_t>(d)] = SourceAxis<A>(x.dim(2 + d), y.dim(2 + d), options).source(at);
    }
    for (int corner = 0; corner < 1 << rank; ++corner) {
      std::int64_t at_x = 0;
      A weight = 1;
      for (int d = 0; d < rank; ++d) {
        const auto& s = sources[static_cast<std::size_t>(d)];
        const bool second = corner >> d & 1;
        at_x += (second ? s.second : s.first) * x.stride(2 + d);
        weight *= second ? s.share : 1 - s.share;
      }
      if (weight != 0) f(at_x, at_y, weight);
    }
  }
}

/// f(n, c) for each channel of each sample.
template <class F>
void each_plane(const View& x, const View& y, F&& f) {
  const std::int64_t planes = x.dim(0) * x.dim(1), work = (x.size() + 8 * y.size()) / planes;
  parallel_ranges(planes, 1 + 20000 / work, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i / x.dim(1), i % x.dim(1));
  });
}

}  // namespace

void resize(const View& x, const Out& y, const ResizeOptions& options) {
  visit_floating(x.dtype, "resize", [&]<class T>() {
    using A = Accum<T>;
    each_plane(x, y, [&](std::int64_t n, std::int64_t c) {
      const T* from = x.as<T>() + n * x.stride(0) + c * x.stride(1);
      T* to = y.as<T>() + n * y.stride(0) + c * y.stride(1);
      std::int64_t last = -1;
      A sum = 0;
      each_pair<A>(x, y, options, [&](std::int64_t at_x, std::int64_t at_y, A weight) {
        sum = at_y == last ? sum : 0;  // the pairs of one output come one after the other
        last = at_y;
        sum += weight * static_cast<A>(from[at_x]);
        to[at_y] = static_cast<T>(sum);
      });
    });
  });
}

void resize_backward(const View& g, const Out& dx, const ResizeOptions& options) {
  std::int64_t volume = 1;
  View dense = dx;  // one channel's sums, row-major
  for (int d = dx.rank() - 1; d >= 2; --d) {
    dense.strides[d] = volume;
    volume *= dx.dim(d);
  }
  visit_floating(g.dtype, "resize", [&]<class T>() {
    using A = Accum<T>;
    each_plane(dx, g, [&](std::int64_t n, std::int64_t c) {
      const T* from = g.as<T>() + n * g.stride(0) + c * g.stride(1);
      T* to = dx.as<T>() + n * dx.stride(0) + c * dx.stride(1);
      const Scratch<A> sums(volume);
      std::fill_n(sums.data(), volume, A(0));
      each_pair<A>(dense, g, options,
                   [&](std::int64_t at_x, std::int64_t at_y, A weight) { sums[at_x] += weight * static_cast<A>(from[at_y]); });
      for (std::int64_t v = 0; v < volume; ++v) {
        std::int64_t at = 0, rest = v;
        for (int d = dx.rank() - 1; d >= 2; --d) {
          at += rest % dx.dim(d) * dx.stride(d);
          rest /= dx.dim(d);
        }
        to[at] = static_cast<T>(sums[v]);
      }
    });
  });
}

}  // namespace cuboid::cpu
