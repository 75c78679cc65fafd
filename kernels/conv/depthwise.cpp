// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution (one input and one output channel per group), channels-last: the inner loop runs over channels.
// oneDNN has fast kernels for 2D only, and none for the weights' gradient.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/rows.h"

namespace cuboid::depthwise {
namespace {

Triple unflatten(std::int64_t v, const Triple& size) { return {v / (size[1] * size[2]), v / size[2] % size[1], v % size[2]}; }

/// The offset in voxels of the input that output o reads through tap t; -1 in the padding.
std::int64_t input_of(const Geometry& g, const Triple& o, const Triple& t) {
  std::int64_t at = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t i = o[a] * g.stride[a] - g.pad_lo[a] + t[a] * g.dilation[a];
    if (i < 0 || i >= g.in[a]) return -1;
    at = at * g.in[a] + i;
  }
  return at;
}

/// The offset in voxels of the output that reads input i through tap t; -1 when there is none.
std::int64_t output_of(const Geometry& g, const Triple& i, const Triple& t) {
  std::int64_t at = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t reach = i[a] + g.pad_lo[a] - t[a] * g.dilation[a];
    if (reach < 0 || reach % g.stride[a] != 0 || reach / g.stride[a] >= g.out[a]) return -1;
    at = at * g.out[a] + reach / g.stride[a];
  }
  return at;
}

/// Weights as f32 rows of channels, one row per tap.
template <class T>
std::vector<float> by_tap(const View& w, std::int64_t channels, std::int64_t taps) {
  std::vector<float> rows(static_cast<std::size_t>(channels * taps));
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t t = 0; t < taps; ++t)
      rows[static_cast<std::size_t>(t * channels + c)] = static_cast<float>(w.as<T>()[c * taps + t]);
  return rows;
}

template <class T>
void multiply_add(const T* __restrict x, const float* __restrict w, std::int64_t n, float* __restrict sum) {
  for (std::int64_t c = 0; c < n; ++c) sum[c] += static_cast<float>(x[c]) * w[c];
}

/// to[v] = sum over taps of from[source(v, tap)] * w[tap], for every voxel v of every sample; `start` is added (or null).
template <class T, class Source>
void gather(const Geometry& g, const T* from, const Triple& from_size, const std::vector<float>& w, const T* start, T* to,
            const Triple& to_size, Source&& source) {
  const std::int64_t channels = g.in_channels, taps = Geometry::volume(g.kernel), voxels = Geometry::volume(to_size);
  std::vector<Triple> tap(static_cast<std::size_t>(taps));
  for (std::int64_t t = 0; t < taps; ++t) tap[static_cast<std::size_t>(t)] = unflatten(t, g.kernel);
  parallel_ranges(g.samples * voxels, std::max<std::int64_t>(1, 8192 / channels), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> sum(static_cast<std::size_t>(channels));
    for (std::int64_t v = begin; v < end; ++v) {
      const Triple at = unflatten(v % voxels, to_size);
      const T* sample = from + v / voxels * Geometry::volume(from_size) * channels;
      for (std::size_t c = 0; c < sum.size(); ++c) sum[c] = start ? static_cast<float>(start[c]) : 0.f;
      for (std::int64_t t = 0; t < taps; ++t)
        if (const std::int64_t s = source(g, at, tap[static_cast<std::size_t>(t)]); s >= 0)
          multiply_add(sample + s * channels, w.data() + t * channels, channels, sum.data());
      T* result = to + v * channels;
      for (std::size_t c = 0; c < sum.size(); ++c) result[c] = static_cast<T>(sum[c]);
    }
  });
}

template <class T>
void multiply_add_both(const T* __restrict x, const T* __restrict g, std::int64_t n, float* __restrict sum) {
  for (std::int64_t c = 0; c < n; ++c) sum[c] += static_cast<float>(x[c]) * static_cast<float>(g[c]);
}

template <class T>
void weights(const Geometry& g, const T* x, const T* dy, T* dw) {
  const std::int64_t channels = g.in_channels, taps = Geometry::volume(g.kernel), count = channels * taps;
  const std::int64_t voxels = Geometry::volume(g.out), all = g.samples * voxels;
  const std::int64_t length = std::max<std::int64_t>(256, (all + 31) / 32), pieces = (all + length - 1) / length;
  const Scratch<float> parts(pieces * count);
  parallel_for(pieces, [&](std::int64_t piece) {
    float* part = parts.data() + piece * count;
    std::fill_n(part, count, 0.f);
    for (std::int64_t t = 0; t < taps; ++t) {
      const Triple tap = unflatten(t, g.kernel);
      for (std::int64_t v = piece * length; v < std::min(all, (piece + 1) * length); ++v)
        if (const std::int64_t s = input_of(g, unflatten(v % voxels, g.out), tap); s >= 0)
          multiply_add_both(x + (v / voxels * Geometry::volume(g.in) + s) * channels, dy + v * channels, channels,
                            part + t * channels);
    }
  });
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t t = 0; t < taps; ++t) {
      float sum = 0;
      for (std::int64_t p = 0; p < pieces; ++p) sum += parts[p * count + t * channels + c];
      dw[c * taps + t] = static_cast<T>(sum);
    }
}

bool fits(const View& x, const View& w, const View& y, const ConvSpec& spec) {
  return (x.dtype == DType::f32 || x.dtype == DType::bf16) && spec.groups > 1 && x.dim(1) == spec.groups &&
         y.dim(1) == spec.groups && x.is(Layout::channels_last) && y.is(Layout::channels_last) && w.is(Layout::contiguous);
}
bool three_dimensional(const View& w) { return w.rank() == 5 && w.dim(2) > 1; }

template <class F>
void visit_type(DType t, F&& f) {
  if (t == DType::bf16) f.template operator()<bf16>();
  else f.template operator()<float>();
}

}  // namespace

bool forward_fits(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  return three_dimensional(w) && fits(x, w, y, spec) && (!bias.data || bias.is(Layout::contiguous));
}
bool input_fits(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  return three_dimensional(w) && fits(dx, w, g, spec);
}
bool weight_fits(const View& g, const View& x, const Out& dw, const ConvSpec& spec) { return fits(x, dw, g, spec); }

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  visit_type(x.dtype, [&]<class T>() {
    gather(g, static_cast<const T*>(x.as<T>()), g.in, by_tap<T>(w, g.in_channels, Geometry::volume(g.kernel)),
           static_cast<const T*>(bias.as<T>()), y.as<T>(), g.out, input_of);
  });
}
void conv_input(const View& dy, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Geometry g = geometry(dy.dtype, dx.shape, w.shape, dy.shape, spec);
  visit_type(dy.dtype, [&]<class T>() {
    gather(g, static_cast<const T*>(dy.as<T>()), g.out, by_tap<T>(w, g.in_channels, Geometry::volume(g.kernel)),
           static_cast<const T*>(nullptr), dx.as<T>(), g.in, output_of);
  });
}
void conv_weight(const View& dy, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry g = geometry(x.dtype, x.shape, dw.shape, dy.shape, spec);
  visit_type(x.dtype, [&]<class T>() { weights<T>(g, x.as<T>(), dy.as<T>(), dw.as<T>()); });
}

}  // namespace cuboid::depthwise
