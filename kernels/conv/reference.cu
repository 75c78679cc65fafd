// SPDX-License-Identifier: Apache-2.0
// The device's reference of the convolution family: one thread per result, plain loops, any strides.
#include "core/cuda.h"
#include "core/gpu.h"
#include "kernels/conv/cuda.h"
#include "kernels/conv/walk.h"

namespace cuboid::cuda {
namespace {

constexpr int threads = 128;

template <class T, class I>
__global__ void forward_kernel(Walk<I> s, Volume<const T, I> x, Volume<const T, I> w, const T* bias, I bias_stride,
                               Volume<T, I> y, I size) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I job = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; job < size; job += step) {
    I rest = job;
    const I k = take_index(rest, s.outputs * s.groups);
    const I ow = take_index(rest, s.out[2]), oh = take_index(rest, s.out[1]), od = take_index(rest, s.out[0]), n = rest;
    const I first = k / s.outputs * s.inputs;
    Accum<T> sum = bias ? static_cast<Accum<T>>(bias[k * bias_stride]) : 0;
    for (I kd = 0; kd < s.kernel[0]; ++kd) {
      I d, h, v;
      if (!s.input_at(0, od, kd, d)) continue;
      for (I kh = 0; kh < s.kernel[1]; ++kh) {
        if (!s.input_at(1, oh, kh, h)) continue;
        for (I kw = 0; kw < s.kernel[2]; ++kw) {
          if (!s.input_at(2, ow, kw, v)) continue;
          const T* from = x.data + x.offset(n, first, d, h, v);
          const T* by = w.data + w.offset(k, 0, kd, kh, kw);
          for (I c = 0; c < s.inputs; ++c)
            sum += static_cast<Accum<T>>(from[c * x.strides[1]]) * static_cast<Accum<T>>(by[c * w.strides[1]]);
        }
      }
    }
    y.data[y.offset(n, k, od, oh, ow)] = static_cast<T>(sum);
  }
}

template <class T, class I>
__global__ void input_kernel(Walk<I> s, Volume<const T, I> g, Volume<const T, I> w, Volume<T, I> dx, I size) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I job = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; job < size; job += step) {
    I rest = job;
    const I c = take_index(rest, s.inputs * s.groups);
    const I iw = take_index(rest, s.in[2]), ih = take_index(rest, s.in[1]), id = take_index(rest, s.in[0]), n = rest;
    const I first = c / s.inputs * s.outputs;
    Accum<T> sum = 0;
    for (I kd = 0; kd < s.kernel[0]; ++kd) {
      I d, h, v;
      if (!s.output_at(0, id, kd, d)) continue;
      for (I kh = 0; kh < s.kernel[1]; ++kh) {
        if (!s.output_at(1, ih, kh, h)) continue;
        for (I kw = 0; kw < s.kernel[2]; ++kw) {
          if (!s.output_at(2, iw, kw, v)) continue;
          const T* from = g.data + g.offset(n, first, d, h, v);
          const T* by = w.data + w.offset(first, c % s.inputs, kd, kh, kw);
          for (I k = 0; k < s.outputs; ++k)
            sum += static_cast<Accum<T>>(from[k * g.strides[1]]) * static_cast<Accum<T>>(by[k * w.strides[0]]);
        }
      }
    }
    dx.data[dx.offset(n, c, id, ih, iw)] = static_cast<T>(sum);
  }
}

/// parts[piece][k][tap][c]: the sum over the output voxels of one piece.
template <class T, class I>
__global__ void weight_kernel(Walk<I> s, Volume<const T, I> g, Volume<const T, I> x, Accum<T>* parts, I count, I pieces,
                              I length) {
  const I voxels = s.samples * s.out[0] * s.out[1] * s.out[2];
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I job = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; job < count * pieces; job += step) {
    I rest = job;
    const I c = take_index(rest, s.inputs);
    const I kw = take_index(rest, s.kernel[2]), kh = take_index(rest, s.kernel[1]), kd = take_index(rest, s.kernel[0]);
    const I k = take_index(rest, s.outputs * s.groups), begin = rest * length;
    const I end = begin + length < voxels ? begin + length : voxels, channel = k / s.outputs * s.inputs + c;
    I at = begin, ow = take_index(at, s.out[2]), oh = take_index(at, s.out[1]), od = take_index(at, s.out[0]), n = at;
    Accum<T> sum = 0;
    for (I voxel = begin; voxel < end; ++voxel) {
      I d, h, v;
      if (s.input_at(0, od, kd, d) && s.input_at(1, oh, kh, h) && s.input_at(2, ow, kw, v))
        sum += static_cast<Accum<T>>(g.data[g.offset(n, k, od, oh, ow)]) *
               static_cast<Accum<T>>(x.data[x.offset(n, channel, d, h, v)]);
      if (++ow < s.out[2]) continue;
      ow = 0;
      if (++oh < s.out[1]) continue;
      oh = 0;
      if (++od < s.out[0]) continue;
      od = 0;
      ++n;
    }
    parts[job] = sum;
  }
}

/// dw = the parts, added in their order.
template <class T, class I>
__global__ void add_parts_kernel(Walk<I> s, const Accum<T>* parts, Volume<T, I> dw, I count, I pieces) {
  const I step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I job = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; job < count; job += step) {
    Accum<T> sum = 0;
    for (I piece = 0; piece < pieces; ++piece) sum += parts[piece * count + job];
    I rest = job;
    const I c = take_index(rest, s.inputs);
    const I kw = take_index(rest, s.kernel[2]), kh = take_index(rest, s.kernel[1]), kd = take_index(rest, s.kernel[0]);
    dw.data[dw.offset(rest, c, kd, kh, kw)] = static_cast<T>(sum);
  }
}

gpu::LaunchCfg over(std::int64_t jobs, const char* name) {
  const std::int64_t blocks = std::min<std::int64_t>((jobs + threads - 1) / threads, 1 << 13);  // index + step still fits an int
  return {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(threads),
          .stream = static_cast<gpu::stream_t>(stream()),
          .name = name};
}

/// f.operator()<T, I>() with the element type and the narrowest index that reaches all of the views.
template <class F>
void typed(DType dtype, const char* op, std::initializer_list<View> views, F&& f) {
  const bool small = fits_int(views);
  visit_floating(dtype, op, [&]<class T>() {
    if (small) f.template operator()<T, int>();
    else f.template operator()<T, std::int64_t>();
  });
}

}  // namespace

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  typed(x.dtype, "conv", {x, w, y, bias}, [&]<class T, class I>() {
    gpu::launch(forward_kernel<T, I>, over(g.y_size(), "conv"), Walk<I>(g), Volume<const T, I>(x), Volume<const T, I>(w),
                static_cast<const T*>(bias.as<T>()), static_cast<I>(bias.data ? bias.stride(0) : 0), Volume<T, I>(y),
                static_cast<I>(g.y_size()));
  });
}

void conv_input(const View& dy, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(dy.dtype, dx.shape, w.shape, dy.shape, spec);
  typed(dy.dtype, "conv_input", {dy, w, dx}, [&]<class T, class I>() {
    gpu::launch(input_kernel<T, I>, over(g.x_size(), "conv_input"), Walk<I>(g), Volume<const T, I>(dy), Volume<const T, I>(w),
                Volume<T, I>(dx), static_cast<I>(g.x_size()));
  });
}

void conv_weight(const View& dy, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, dw.shape, dy.shape, spec);
  // Enough pieces to fill a device, none shorter than 64 voxels.
  const std::int64_t voxels = g.samples * Geometry::volume(g.out), count = g.w_size();
  const std::int64_t wanted = std::clamp<std::int64_t>((1 << 18) / count, 1, std::max<std::int64_t>(1, voxels / 64));
  const std::int64_t length = (voxels + wanted - 1) / wanted, pieces = (voxels + length - 1) / length;
  typed(x.dtype, "conv_weight", {dy, x, dw}, [&]<class T, class I>() {
    const Scratch<Accum<T>> parts(count * pieces, Device::cuda);
    gpu::launch(weight_kernel<T, I>, over(count * pieces, "conv_weight"), Walk<I>(g), Volume<const T, I>(dy),
                Volume<const T, I>(x), parts.data(), static_cast<I>(count), static_cast<I>(pieces), static_cast<I>(length));
    gpu::launch(add_parts_kernel<T, I>, over(count, "conv_weight_parts"), Walk<I>(g), static_cast<const Accum<T>*>(parts.data()),
                Volume<T, I>(dw), static_cast<I>(count), static_cast<I>(pieces));
  });
}

}  // namespace cuboid::cuda
