// SPDX-License-Identifier: Apache-2.0
// Resampling on the device: a thread has one packet of channels (or one channel) of one voxel of the result. Forward it
// reads the voxel's up to eight neighbours, backward all outputs that read the voxel.
#include "core/launch.h"
#include "kernels/resize/cuda.h"
#include "kernels/resize/source.h"
#include "kernels/voxels.h"

namespace cuboid::cuda {
namespace {

/// I numbers the threads.
template <class A, class I>
struct Resampling {
  I samples, packets;
  SourceAxis<A, I> axis[3];

  Resampling(const View& x, const View& y, const ResizeOptions& options, int width)
      : samples(static_cast<I>(x.dim(0))), packets(static_cast<I>(x.dim(1) / width)) {
    for (int a = 0; a < 3; ++a) {
      const int d = x.rank() - 3 + a;
      if (d >= 2) axis[a] = {x.dim(d), y.dim(d), options};
    }
  }
};

template <int W, class T, class A>
__device__ void add(A (&sum)[W], A weight, const T* from) {
  const auto v = Packet<T, W>::load(from);
  for (int i = 0; i < W; ++i) sum[i] += weight * static_cast<A>(v.at[i]);
}
template <int W, class T, class A>
__device__ void store(T* to, const A (&sum)[W]) {
  Packet<T, W> p;
  for (int i = 0; i < W; ++i) p.at[i] = static_cast<T>(sum[i]);
  p.store(to);
}

template <class T, int W, class I>
__global__ void forward_kernel(Resampling<Accum<T>, I> s, Voxels<const T> x, Voxels<T> y, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    I n = number;
    const I c = take(n, s.packets) * W, w = take(n, s.axis[2].out()), h = take(n, s.axis[1].out()), d = take(n, s.axis[0].out());
    const Source<A, I> sources[3] = {s.axis[0].source(d), s.axis[1].source(h), s.axis[2].source(w)};
    const T* from = x.at(n, c);
    A sum[W] = {};
    for (int corner = 0; corner < 8; ++corner) {
      I at[3];
      A weight = 1;
      for (int a = 0; a < 3; ++a) {
        const bool second = corner >> (2 - a) & 1;
        at[a] = second ? sources[a].second : sources[a].first;
        weight *= second ? sources[a].share : 1 - sources[a].share;
      }
      if (weight != 0) add(sum, weight, from + x.offset(at[0], at[1], at[2]));
    }
    store(y.at(n, c) + y.offset(d, h, w), sum);
  }
}

template <class T, int W, class I>
__global__ void backward_kernel(Resampling<Accum<T>, I> s, Voxels<const T> g, Voxels<T> dx, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    I n = number;
    const I c = take(n, s.packets) * W, w = take(n, s.axis[2].in()), h = take(n, s.axis[1].in()), d = take(n, s.axis[0].in());
    I begin[3], end[3];
    s.axis[0].readers(d, begin[0], end[0]);
    s.axis[1].readers(h, begin[1], end[1]);
    s.axis[2].readers(w, begin[2], end[2]);
    const T* from = g.at(n, c);
    A sum[W] = {};
    for (I i = begin[0]; i < end[0]; ++i) {
      const A deep = s.axis[0].source(i).weight(d);
      for (I j = begin[1]; j < end[1]; ++j) {
        const A high = deep * s.axis[1].source(j).weight(h);
        for (I k = begin[2]; k < end[2]; ++k) {
          const A weight = high * s.axis[2].source(k).weight(w);
          if (weight != 0) add(sum, weight, from + g.offset(i, j, k));
        }
      }
    }
    store(dx.at(n, c) + dx.offset(d, h, w), sum);
  }
}

template <class Row>
void forward(const View& x, const Out& y, const ResizeOptions& options) {
  visit_floating(x.dtype, "resize", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const auto jobs = static_cast<I>(y.size() / W);
    gpu::launch(forward_kernel<T, W, I>, over(jobs, "resize"), Resampling<Accum<T>, I>(x, y, options, W), Voxels<const T>(x),
                Voxels<T>(y), jobs);
  });
}
template <class Row>
void backward(const View& g, const Out& dx, const ResizeOptions& options) {
  visit_floating(g.dtype, "resize", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const auto jobs = static_cast<I>(dx.size() / W);
    gpu::launch(backward_kernel<T, W, I>, over(jobs, "resize_backward"), Resampling<Accum<T>, I>(dx, g, options, W),
                Voxels<const T>(g), Voxels<T>(dx), jobs);
  });
}

}  // namespace

void resize(const View& x, const Out& y, const ResizeOptions& options) { forward<OneByOne>(x, y, options); }
void resize_backward(const View& g, const Out& dx, const ResizeOptions& options) { backward<OneByOne>(g, dx, options); }

namespace packets {
bool resize_fits(const View& from, const Out& to, const ResizeOptions&) { return packets_fit(from, to); }
void resize(const View& x, const Out& y, const ResizeOptions& options) { forward<InPackets>(x, y, options); }
void resize_backward(const View& g, const Out& dx, const ResizeOptions& options) { backward<InPackets>(g, dx, options); }
}  // namespace packets

}  // namespace cuboid::cuda
