// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution (one input and one output channel per group), dense channels-last. A thread owns a packet of
// channels; the weights of a block's channels lie in shared memory as f32, one row per tap.
#include "core/cuda.h"
#include "core/gpu.h"
#include "core/packet.h"
#include "kernels/conv/cuda.h"
#include "kernels/conv/walk.h"

namespace cuboid::cuda {
namespace {

constexpr int threads = 128;
constexpr int strip = 4;                 // outputs of a line that a thread computes together
constexpr int most_weights = 48 * 1024;  // bytes of shared memory, of f32

template <class T, int V>
__device__ void load(const T* from, float (&to)[V]) {
  const auto p = Packet<T, V>::load(from);
  for (int i = 0; i < V; ++i) to[i] = static_cast<float>(p.at[i]);
}
template <class T, int V>
__device__ void store(const float (&from)[V], T* to) {
  Packet<T, V> p;
  for (int i = 0; i < V; ++i) p.at[i] = static_cast<T>(from[i]);
  p.store(to);
}

/// How a block's threads share out its channels: `packets` of them side by side, as many columns as fit.
struct Chunk {
  int packets, chunks, columns;
  Chunk(std::int64_t all, std::int64_t most) {
    chunks = static_cast<int>((all + most - 1) / most);
    packets = static_cast<int>((all + chunks - 1) / chunks);
    columns = threads / packets;
  }
};

/// to[tap][channel] = the weights of `width` channels from `first`, taps backwards where `flip`.
template <class T>
__device__ void stage_weights(const T* w, int channels, int first, int width, int taps, bool flip, float* to) {
  for (int i = threadIdx.x; i < width * taps; i += threads) {
    const int c = i / taps, tap = i % taps;
    to[(flip ? taps - 1 - tap : tap) * width + c] =
        first + c < channels ? static_cast<float>(w[static_cast<std::int64_t>(first + c) * taps + tap]) : 0.f;
  }
}

/// Lines of outputs in strips; KW taps along the line at stride SW, no dilation along it. Serves the gradient of the input
/// too where the stride is 1: then `flip`.
template <class T, int V, int KW, int SW>
__global__ void __launch_bounds__(threads, 3)
    strip_kernel(Walk<int> s, Chunk chunk, const T* x, const T* w, const T* bias, T* y, bool flip, int strips) {
  gpu::SmemAlloc shared;
  const int channels = s.groups, width = chunk.packets * V, taps = s.kernel[0] * s.kernel[1] * KW;
  float* weights = shared.take<float>(width * taps);
  const int first = blockIdx.y * width;
  stage_weights(w, channels, first, width, taps, flip, weights);
  __syncthreads();
  const int packet = threadIdx.x % chunk.packets, column = threadIdx.x / chunk.packets, c = first + packet * V;
  int rest = blockIdx.x * chunk.columns + column;
  if (column >= chunk.columns || rest >= strips || c >= channels) return;
  const int ow = take_index(rest, (s.out[2] + strip - 1) / strip) * strip;
  const int oh = take_index(rest, s.out[1]), od = take_index(rest, s.out[0]), n = rest;
  float sum[strip][V];
  for (int o = 0; o < strip; ++o)
    for (int i = 0; i < V; ++i) sum[o][i] = bias ? static_cast<float>(bias[c + i]) : 0.f;
  for (int kd = 0; kd < s.kernel[0]; ++kd) {
    int d, h;
    if (!s.input_at(0, od, kd, d)) continue;
    for (int kh = 0; kh < s.kernel[1]; ++kh) {
      if (!s.input_at(1, oh, kh, h)) continue;
      float row[KW][V];
#pragma unroll
      for (int kw = 0; kw < KW; ++kw)
        for (int i = 0; i < V; ++i) row[kw][i] = weights[((kd * s.kernel[1] + kh) * KW + kw) * width + packet * V + i];
      const T* line = x + (static_cast<std::int64_t>((n * s.in[0] + d) * s.in[1] + h) * s.in[2]) * channels + c;
#pragma unroll
      for (int j = 0; j < (strip - 1) * SW + KW; ++j) {
        const int iw = ow * SW - s.pad[2] + j;
        if (iw < 0 || iw >= s.in[2]) continue;
        float v[V];
        load(line + static_cast<std::int64_t>(iw) * channels, v);
#pragma unroll
        for (int o = 0; o < strip; ++o) {
          const int kw = j - o * SW;
          if (kw < 0 || kw >= KW) continue;
          for (int i = 0; i < V; ++i) sum[o][i] += v[i] * row[kw][i];
        }
      }
    }
  }
  T* to = y + (static_cast<std::int64_t>((n * s.out[0] + od) * s.out[1] + oh) * s.out[2] + ow) * channels + c;
#pragma unroll
  for (int o = 0; o < strip; ++o)
    if (ow + o < s.out[2]) store(sum[o], to + static_cast<std::int64_t>(o) * channels);
}

/// Voxel by voxel, any stride and dilation: of the outputs, or (`backward`) of the inputs.
template <class T, int V, bool backward>
__global__ void __launch_bounds__(threads, 3)
    gather_kernel(Walk<int> s, Chunk chunk, const T* from, const T* w, const T* bias, T* to, int voxels) {
  gpu::SmemAlloc shared;
  const int channels = s.groups, width = chunk.packets * V, taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  float* weights = shared.take<float>(width * taps);
  const int first = blockIdx.y * width;
  stage_weights(w, channels, first, width, taps, false, weights);
  __syncthreads();
  const int packet = threadIdx.x % chunk.packets, column = threadIdx.x / chunk.packets, c = first + packet * V;
  const int voxel = blockIdx.x * chunk.columns + column;
  if (column >= chunk.columns || voxel >= voxels || c >= channels) return;
  const int(&size)[3] = backward ? s.in : s.out;
  const int(&other)[3] = backward ? s.out : s.in;
  int n = voxel, at[3];
  for (int a = 2; a >= 0; --a) at[a] = take_index(n, size[a]);
  const auto source = [&](int axis, int tap, int& i) {
    return backward ? s.output_at(axis, at[axis], tap, i) : s.input_at(axis, at[axis], tap, i);
  };
  float sum[V];
  for (int i = 0; i < V; ++i) sum[i] = bias ? static_cast<float>(bias[c + i]) : 0.f;
  for (int kd = 0; kd < s.kernel[0]; ++kd) {
    int d, h, v;
    if (!source(0, kd, d)) continue;
    for (int kh = 0; kh < s.kernel[1]; ++kh) {
      if (!source(1, kh, h)) continue;
      for (int kw = 0; kw < s.kernel[2]; ++kw) {
        if (!source(2, kw, v)) continue;
        float x[V];
        load(from + static_cast<std::int64_t>(((n * other[0] + d) * other[1] + h) * other[2] + v) * channels + c, x);
        const float* row = weights + ((kd * s.kernel[1] + kh) * s.kernel[2] + kw) * width + packet * V;
        for (int i = 0; i < V; ++i) sum[i] += x[i] * row[i];
      }
    }
  }
  store(sum, to + static_cast<std::int64_t>(voxel) * channels + c);
}

/// parts[piece][tap][channel]: the sums over one piece of the output lines. blockIdx: piece, channels, a run of KW taps.
template <class T, int V, int KW>
__global__ void __launch_bounds__(threads, 3)
    weight_kernel(Walk<int> s, Chunk chunk, const T* dy, const T* x, float* parts, int lines, int length) {
  gpu::SmemAlloc shared;
  const int channels = s.groups, width = chunk.packets * V, taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  float* sums = shared.take<float>(chunk.columns * KW * width);  // [column][tap][channel]
  const int packet = threadIdx.x % chunk.packets, column = threadIdx.x / chunk.packets;
  const int first = blockIdx.y * width, c = first + packet * V;
  int kd = blockIdx.z * KW, kw0 = take_index(kd, s.kernel[2]), kh = take_index(kd, s.kernel[1]);
  float sum[KW][V];
  for (int kw = 0; kw < KW; ++kw)
    for (int i = 0; i < V; ++i) sum[kw][i] = 0.f;
  const int begin = blockIdx.x * length, end = begin + length < lines ? begin + length : lines;
  for (int line = column < chunk.columns && c < channels ? begin + column : end; line < end; line += chunk.columns) {
    int n = line, d, h;
    const int oh = take_index(n, s.out[1]), od = take_index(n, s.out[0]);
    if (!s.input_at(0, od, kd, d) || !s.input_at(1, oh, kh, h)) continue;
    const T* from = x + static_cast<std::int64_t>((n * s.in[0] + d) * s.in[1] + h) * s.in[2] * channels + c;
    const T* g = dy + static_cast<std::int64_t>(line) * s.out[2] * channels + c;
    for (int ow = 0; ow < s.out[2]; ++ow) {
      float by[V];
      load(g + static_cast<std::int64_t>(ow) * channels, by);
#pragma unroll
      for (int kw = 0; kw < KW; ++kw) {
        int iw;
        if (!s.input_at(2, ow, kw0 + kw, iw)) continue;
        float v[V];
        load(from + static_cast<std::int64_t>(iw) * channels, v);
        for (int i = 0; i < V; ++i) sum[kw][i] += v[i] * by[i];
      }
    }
  }
  if (column < chunk.columns)
    for (int kw = 0; kw < KW; ++kw)
      for (int i = 0; i < V; ++i) sums[(column * KW + kw) * width + packet * V + i] = sum[kw][i];
  __syncthreads();
  for (int i = threadIdx.x; i < KW * width; i += threads) {
    const int kw = i / width, channel = first + i % width;
    float all = 0;
    for (int k = 0; k < chunk.columns; ++k) all += sums[k * KW * width + i];
    const std::int64_t tap = static_cast<std::int64_t>(blockIdx.x) * taps + blockIdx.z * KW + kw;
    if (channel < channels) parts[tap * channels + channel] = all;
  }
}

/// dw[channel][tap] = the parts, added in their order.
template <class T>
__global__ void add_parts_kernel(const float* parts, T* dw, int taps, int channels, int pieces) {
  const int i = blockIdx.x * threads + threadIdx.x, count = taps * channels;
  if (i >= count) return;
  float sum = 0;
  for (int p = 0; p < pieces; ++p) sum += parts[static_cast<std::int64_t>(p) * count + i];
  dw[static_cast<std::int64_t>(i % channels) * taps + i / channels] = static_cast<T>(sum);
}

int ceil_div(std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); }

gpu::LaunchCfg grid(dim3 blocks, std::size_t shared, const char* name) {
  return {.grid = blocks, .block = dim3(threads), .smem = shared, .stream = static_cast<gpu::stream_t>(stream()), .name = name};
}
dim3 blocks(std::int64_t x, int y = 1, int z = 1) {
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

/// f.operator()<T, V>(): packets of 16 bytes where the channels allow it.
template <class F>
void typed(const Geometry& g, std::initializer_list<const void*> pointers, F&& f) {
  bool whole = true;
  for (const void* p : pointers) whole = whole && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  const auto with = [&]<class T>() {
    constexpr int width = packet_width<T>;
    if (whole && g.in_channels % width == 0) f.template operator()<T, width>();
    else f.template operator()<T, 1>();
  };
  if (g.dtype == DType::f32) with.template operator()<float>();
  else if (g.dtype == DType::bf16) with.template operator()<bf16>();
  else with.template operator()<f16>();
}

/// f.operator()<KW>(): compiled for the usual widths; 1 otherwise.
template <class F>
void wide(std::int64_t taps, F&& f) {
  if (taps == 3) f.template operator()<3>();
  else if (taps == 5) f.template operator()<5>();
  else if (taps == 7) f.template operator()<7>();
  else f.template operator()<1>();
}

template <int V>
Chunk weights_chunk(const Geometry& g) {
  const std::int64_t most = most_weights / (Geometry::volume(g.kernel) * V * 4);
  return {ceil_div(g.in_channels, V), std::clamp<std::int64_t>(most, 1, 16)};
}
template <int V>
std::size_t weights_bytes(const Geometry& g, const Chunk& chunk) {
  return static_cast<std::size_t>(Geometry::volume(g.kernel) * chunk.packets * V * 4);
}

/// Lines in strips when their taps are of a usual width; `flip`: see strip_kernel. False when they are not.
bool strips(const Geometry& g, const void* x, const void* w, const void* bias, void* y, bool flip) {
  const bool usual = g.kernel[2] == 3 || g.kernel[2] == 5 || g.kernel[2] == 7;
  if (!usual || g.dilation[2] != 1 || g.stride[2] > 2) return false;
  typed(g, {x, y}, [&]<class T, int V>() {
    const Chunk chunk = weights_chunk<V>(g);
    const std::int64_t count = g.samples * g.out[0] * g.out[1] * ceil_div(g.out[2], strip);
    const auto launch = [&](auto kernel) {
      gpu::launch(kernel, grid(blocks(ceil_div(count, chunk.columns), chunk.chunks), weights_bytes<V>(g, chunk), "depthwise"),
                  Walk<int>(g), chunk, static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
                  static_cast<T*>(y), flip, static_cast<int>(count));
    };
    wide(g.kernel[2], [&]<int KW>() {
      if (g.stride[2] == 1) launch(strip_kernel<T, V, KW, 1>);
      else launch(strip_kernel<T, V, KW, 2>);
    });
  });
  return true;
}

template <bool backward>
void gather(const Geometry& g, const void* from, const void* w, const void* bias, void* to) {
  typed(g, {from, to}, [&]<class T, int V>() {
    const Chunk chunk = weights_chunk<V>(g);
    const std::int64_t voxels = g.samples * Geometry::volume(backward ? g.in : g.out);
    gpu::launch(gather_kernel<T, V, backward>,
                grid(blocks(ceil_div(voxels, chunk.columns), chunk.chunks), weights_bytes<V>(g, chunk), "depthwise"),
                Walk<int>(g), chunk, static_cast<const T*>(from), static_cast<const T*>(w), static_cast<const T*>(bias),
                static_cast<T*>(to), static_cast<int>(voxels));
  });
}

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  return is_floating(x.dtype) && x.dtype != DType::f64 && spec.groups > 1 && x.dim(1) == spec.groups && y.dim(1) == spec.groups &&
         x.is(Layout::channels_last) && y.is(Layout::channels_last) && w.is(Layout::contiguous) &&
         w.size() / w.dim(0) <= most_weights / 32 && x.size() / x.dim(1) < 1 << 30 && y.size() / y.dim(1) < 1 << 30;
}

}  // namespace

namespace depthwise {

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return fits(x, w, y, spec) && (!bias.data || bias.is(Layout::contiguous));
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) { return fits(dx, w, g, spec); }
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  if (!strips(g, x.data, w.data, bias.data, y.data, false)) gather<false>(g, x.data, w.data, bias.data, y.data);
}

void conv_input(const View& dy, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(dy.dtype, dx.shape, w.shape, dy.shape, spec);
  Geometry turned = g;  // at stride 1: the convolution of dy with the taps backwards
  std::swap(turned.in, turned.out);
  for (std::size_t a = 0; a < 3; ++a) turned.pad_lo[a] = g.extent(a) - 1 - g.pad_lo[a];
  const bool plain = g.stride == Triple{1, 1, 1};
  if (!plain || !strips(turned, dy.data, w.data, nullptr, dx.data, true)) gather<true>(g, dy.data, w.data, nullptr, dx.data);
}

void conv_weight(const View& dy, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, dw.shape, dy.shape, spec);
  typed(g, {x.data, dy.data}, [&]<class T, int V>() {
    wide(g.kernel[2], [&]<int KW>() {
      const std::int64_t taps = Geometry::volume(g.kernel);
      const Chunk chunk(ceil_div(g.in_channels, V), 16);
      const std::int64_t lines = g.samples * g.out[0] * g.out[1];
      // Some thousand blocks, none with fewer than four lines per column.
      const std::int64_t wanted = std::clamp<std::int64_t>(2048 * KW / (taps * chunk.chunks), 1, 256);
      const int length = std::max(ceil_div(lines, wanted), 4 * chunk.columns), pieces = ceil_div(lines, length);
      const Scratch<float> parts(pieces * taps * g.in_channels, Device::cuda);
      gpu::launch(weight_kernel<T, V, KW>,
                  grid(blocks(pieces, chunk.chunks, static_cast<int>(taps / KW)),
                       static_cast<std::size_t>(chunk.columns * KW * chunk.packets * V * 4), "depthwise_weight"),
                  Walk<int>(g), chunk, dy.as<T>(), x.as<T>(), parts.data(), static_cast<int>(lines), length);
      gpu::launch(add_parts_kernel<T>, grid(blocks(ceil_div(taps * g.in_channels, threads)), 0, "depthwise_parts"), parts.data(),
                  dw.as<T>(), static_cast<int>(taps), static_cast<int>(g.in_channels), pieces);
    });
  });
}

}  // namespace depthwise
}  // namespace cuboid::cuda
