// SPDX-License-Identifier: Apache-2.0
// Pooling on the device: a thread has one packet of channels (or one channel) of one voxel of the result and reads what
// flows into it, in the order of the windows.
#include <array>

#include "core/launch.h"
#include "kernels/pool/cuda.h"
#include "kernels/pool/windows.h"
#include "kernels/voxels.h"

namespace cuboid::cuda {
namespace {

/// Positions within a volume count row-major, whatever the strides. I numbers the threads.
template <class I>
struct Windows3 {
  I samples, packets;
  WindowAxis<I> axis[3];
  bool count_include_pad;

  Windows3(const Shape& x, const Shape& y, const PoolSpec& spec, int width)
      : samples(static_cast<I>(x[0])), packets(static_cast<I>(x[1] / width)), count_include_pad(spec.count_include_pad) {
    const auto axes = window_axes<I>(x, y, spec);
    for (std::size_t a = 0; a < 3; ++a) axis[a] = axes[a];
  }
  I inputs() const { return samples * packets * axis[0].in * axis[1].in * axis[2].in; }
  I outputs() const { return samples * packets * axis[0].out * axis[1].out * axis[2].out; }
  CUBOID_HD I input_at(I d, I h, I w) const { return (d * axis[1].in + h) * axis[2].in + w; }
};

/// Sample, first channel and coordinates that thread number `rest` works on.
template <class I, int W>
struct Job {
  I n, c, d, h, w;
  __device__ Job(I rest, I packets, I depth, I height, I width) {
    c = take(rest, packets) * W;
    w = take(rest, width);
    h = take(rest, height);
    d = take(rest, depth);
    n = rest;
  }
};
template <int W, class I>
__device__ Job<I, W> output_job(I number, const Windows3<I>& s) {
  return {number, s.packets, s.axis[0].out, s.axis[1].out, s.axis[2].out};
}
template <int W, class I>
__device__ Job<I, W> input_job(I number, const Windows3<I>& s) {
  return {number, s.packets, s.axis[0].in, s.axis[1].in, s.axis[2].in};
}

/// f(d, h, w) for the inputs of the job's window, or the outputs whose windows cover the job's input, row-major.
template <class I, int W, class F>
__device__ void each_input(const Windows3<I>& s, const Job<I, W>& j, F&& f) {
  const SpanOf<I> d = s.axis[0].inputs(j.d), h = s.axis[1].inputs(j.h), w = s.axis[2].inputs(j.w);
  for (I a = d.begin; a < d.end; ++a)
    for (I b = h.begin; b < h.end; ++b)
      for (I c = w.begin; c < w.end; ++c) f(a, b, c);
}
template <class I, int W, class F>
__device__ void each_output(const Windows3<I>& s, const Job<I, W>& j, F&& f) {
  const SpanOf<I> d = s.axis[0].outputs(j.d), h = s.axis[1].outputs(j.h), w = s.axis[2].outputs(j.w);
  for (I a = d.begin; a < d.end; ++a)
    for (I b = h.begin; b < h.end; ++b)
      for (I c = w.begin; c < w.end; ++c) f(a, b, c);
}

/// 1 / the number of elements the average of output (d, h, w) is taken over.
template <class A, class I>
__device__ A share(const Windows3<I>& s, I d, I h, I w) {
  const bool pad = s.count_include_pad;
  return A(1) / static_cast<A>(s.axis[0].divisor(d, pad) * s.axis[1].divisor(h, pad) * s.axis[2].divisor(w, pad));
}

template <int W, class T>
__device__ void store(T* to, const Accum<T> (&values)[W]) {
  Packet<T, W> p;
  for (int i = 0; i < W; ++i) p.at[i] = static_cast<T>(values[i]);
  p.store(to);
}
// Indices beside a packet of elements: up to eight of them, 16 bytes at a time.
template <int W>
constexpr int index_width = W < 4 ? W : 4;
template <int W>
__device__ void store_indices(std::int32_t* to, const std::int32_t (&values)[W]) {
  for (int k = 0; k < W; k += index_width<W>) {
    Packet<std::int32_t, index_width<W>> p;
    for (int i = 0; i < index_width<W>; ++i) p.at[i] = values[k + i];
    p.store(to + k);
  }
}
template <int W>
__device__ void load_indices(const std::int32_t* from, std::int32_t (&values)[W]) {
  for (int k = 0; k < W; k += index_width<W>) {
    const auto p = Packet<std::int32_t, index_width<W>>::load(from + k);
    for (int i = 0; i < index_width<W>; ++i) values[k + i] = p.at[i];
  }
}

template <class T, int W, class I>
__global__ void avg_kernel(Windows3<I> s, Voxels<const T> x, Voxels<T> y, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    const auto j = output_job<W>(number, s);
    const T* from = x.at(j.n, j.c);
    A sum[W] = {};
    each_input(s, j, [&](I d, I h, I w) {
      const auto v = Packet<T, W>::load(from + x.offset(d, h, w));
      for (int i = 0; i < W; ++i) sum[i] += static_cast<A>(v.at[i]);
    });
    const A factor = share<A>(s, j.d, j.h, j.w);
    for (int i = 0; i < W; ++i) sum[i] *= factor;
    store<W>(y.at(j.n, j.c) + y.offset(j.d, j.h, j.w), sum);
  }
}

template <class T, int W, class I>
__global__ void avg_backward_kernel(Windows3<I> s, Voxels<const T> g, Voxels<T> dx, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    const auto j = input_job<W>(number, s);
    const T* from = g.at(j.n, j.c);
    A sum[W] = {};
    each_output(s, j, [&](I d, I h, I w) {
      const auto v = Packet<T, W>::load(from + g.offset(d, h, w));
      const A factor = share<A>(s, d, h, w);
      for (int i = 0; i < W; ++i) sum[i] += static_cast<A>(v.at[i]) * factor;
    });
    store<W>(dx.at(j.n, j.c) + dx.offset(j.d, j.h, j.w), sum);
  }
}

template <class T, int W, class I>
__global__ void max_kernel(Windows3<I> s, Voxels<const T> x, Voxels<T> y, Voxels<std::int32_t> index, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    const auto j = output_job<W>(number, s);
    const T* from = x.at(j.n, j.c);
    A best[W] = {};
    std::int32_t where[W];
    for (int i = 0; i < W; ++i) where[i] = -1;
    each_input(s, j, [&](I d, I h, I w) {
      const auto v = Packet<T, W>::load(from + x.offset(d, h, w));
      const auto position = static_cast<std::int32_t>(s.input_at(d, h, w));
      for (int i = 0; i < W; ++i) {
        const A value = static_cast<A>(v.at[i]);
        if (!(where[i] < 0 || value > best[i] || value != value)) continue;  // NaN wins
        best[i] = value;
        where[i] = position;
      }
    });
    store<W>(y.at(j.n, j.c) + y.offset(j.d, j.h, j.w), best);
    store_indices(index.at(j.n, j.c) + index.offset(j.d, j.h, j.w), where);
  }
}

template <class T, int W, class I>
__global__ void scatter_kernel(Windows3<I> s, Voxels<const T> g, Voxels<const std::int32_t> index, Voxels<T> dx, I jobs) {
  using A = Accum<T>;
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    const auto j = input_job<W>(number, s);
    const auto own = static_cast<std::int32_t>(s.input_at(j.d, j.h, j.w));
    const T* from = g.at(j.n, j.c);
    const std::int32_t* chosen = index.at(j.n, j.c);
    A sum[W] = {};
    each_output(s, j, [&](I d, I h, I w) {
      const auto v = Packet<T, W>::load(from + g.offset(d, h, w));
      std::int32_t where[W];
      load_indices(chosen + index.offset(d, h, w), where);
      for (int i = 0; i < W; ++i) sum[i] += where[i] == own ? static_cast<A>(v.at[i]) : A(0);
    });
    store<W>(dx.at(j.n, j.c) + dx.offset(j.d, j.h, j.w), sum);
  }
}

/// in_height and in_width are x's, the others y's.
template <class T, int W, class I>
__global__ void gather_kernel(Voxels<const T> x, Voxels<const std::int32_t> index, Voxels<T> y, I packets, I in_height,
                              I in_width, I depth, I height, I width, I jobs) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I number = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; number < jobs; number += step) {
    const Job<I, W> j(number, packets, depth, height, width);
    std::int32_t where[W];
    load_indices(index.at(j.n, j.c) + index.offset(j.d, j.h, j.w), where);
    Packet<T, W> p;
    for (int i = 0; i < W; ++i) {
      I rest = where[i];
      const I w = take(rest, in_width), h = take(rest, in_height);
      p.at[i] = x.at(j.n, j.c + i)[x.offset(rest, h, w)];
    }
    p.store(y.at(j.n, j.c) + y.offset(j.d, j.h, j.w));
  }
}

// ---- launchers ---------------------------------------------------------------------------------

template <class Row>
void avg(const View& x, const Out& y, const PoolSpec& spec) {
  visit_floating(x.dtype, "avg_pool", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const Windows3<I> s(x.shape, y.shape, spec, W);
    gpu::launch(avg_kernel<T, W, I>, over(s.outputs(), "avg_pool"), s, Voxels<const T>(x), Voxels<T>(y), s.outputs());
  });
}
template <class Row>
void avg_backward(const View& g, const Out& dx, const PoolSpec& spec) {
  visit_floating(g.dtype, "avg_pool", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const Windows3<I> s(dx.shape, g.shape, spec, W);
    gpu::launch(avg_backward_kernel<T, W, I>, over(s.inputs(), "avg_pool_backward"), s, Voxels<const T>(g), Voxels<T>(dx),
                s.inputs());
  });
}
template <class Row>
void max(const View& x, const Out& y, const Out& index, const PoolSpec& spec) {
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const Windows3<I> s(x.shape, y.shape, spec, W);
    gpu::launch(max_kernel<T, W, I>, over(s.outputs(), "max_pool"), s, Voxels<const T>(x), Voxels<T>(y),
                Voxels<std::int32_t>(index), s.outputs());
  });
}
template <class Row>
void scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  visit_floating(g.dtype, "max_pool", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const Windows3<I> s(dx.shape, g.shape, spec, W);
    gpu::launch(scatter_kernel<T, W, I>, over(s.inputs(), "max_pool_backward"), s, Voxels<const T>(g),
                Voxels<const std::int32_t>(index), Voxels<T>(dx), s.inputs());
  });
}
template <class Row>
void gather(const View& x, const View& index, const Out& y) {
  visit_floating(x.dtype, "max_pool", [&]<class T>() {
    constexpr int W = Row::template width<T>();
    using I = typename Row::Index;
    const auto axis = [](const View& v, int i) { return static_cast<I>(v.rank() - i >= 2 ? v.dim(v.rank() - i) : 1); };
    const I jobs = static_cast<I>(y.size() / W);
    gpu::launch(gather_kernel<T, W, I>, over(jobs, "max_pool_gather"), Voxels<const T>(x), Voxels<const std::int32_t>(index),
                Voxels<T>(y), static_cast<I>(y.dim(1) / W), axis(x, 2), axis(x, 1), axis(y, 3), axis(y, 2), axis(y, 1), jobs);
  });
}

}  // namespace

void avg_pool(const View& x, const Out& y, const PoolSpec& spec) { avg<OneByOne>(x, y, spec); }
void avg_pool_backward(const View& g, const Out& dx, const PoolSpec& spec) { avg_backward<OneByOne>(g, dx, spec); }
void max_pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) { max<OneByOne>(x, y, index, spec); }
void max_pool_scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  scatter<OneByOne>(g, index, dx, spec);
}
void max_pool_gather(const View& x, const View& index, const Out& y) { gather<OneByOne>(x, index, y); }

namespace packets {

bool avg_pool_fits(const View& x, const Out& y, const PoolSpec&) { return packets_fit(x, y); }
bool avg_pool_backward_fits(const View& g, const Out& dx, const PoolSpec&) { return packets_fit(g, dx); }
bool max_pool_fits(const View& x, const Out& y, const Out& index, const PoolSpec&) {
  return packets_fit(x, y) && channels_in_packets(index);
}
bool max_pool_scatter_fits(const View& g, const View& index, const Out& dx, const PoolSpec&) {
  return packets_fit(g, dx) && channels_in_packets(index);
}
bool max_pool_gather_fits(const View& x, const View& index, const Out& y) {
  return packets_fit(x, y) && channels_in_packets(index);
}

void avg_pool(const View& x, const Out& y, const PoolSpec& spec) { avg<InPackets>(x, y, spec); }
void avg_pool_backward(const View& g, const Out& dx, const PoolSpec& spec) { avg_backward<InPackets>(g, dx, spec); }
void max_pool(const View& x, const Out& y, const Out& index, const PoolSpec& spec) { max<InPackets>(x, y, index, spec); }
void max_pool_scatter(const View& g, const View& index, const Out& dx, const PoolSpec& spec) {
  scatter<InPackets>(g, index, dx, spec);
}
void max_pool_gather(const View& x, const View& index, const Out& y) { gather<InPackets>(x, index, y); }

}  // namespace packets
}  // namespace cuboid::cuda
