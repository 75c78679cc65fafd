// SPDX-License-Identifier: Apache-2.0
// The reference of the convolution family: one plain loop nest each, any floating dtype, any strides.
#include "core/parallel.h"
#include "kernels/conv/geometry.h"
#include "kernels/conv/rows.h"

namespace cuboid::cpu {
namespace {

/// Elements of a 3 to 5 dimensional View by five indices; what is missing in front of the spatial ones has stride 0.
template <class T>
struct Grid {
  explicit Grid(const View& v) : data(v.as<T>()) {
    strides[0] = v.stride(0);
    strides[1] = v.stride(1);
    for (int i = 1; i <= v.rank() - 2; ++i) strides[static_cast<std::size_t>(5 - i)] = v.strides[-i];
  }
  T& at(std::int64_t n, std::int64_t c, const Triple& p) const {
    return data[n * strides[0] + c * strides[1] + p[0] * strides[2] + p[1] * strides[3] + p[2] * strides[4]];
  }
  T* data;
  std::array<std::int64_t, 5> strides{};
};

template <class F>
void each(const Triple& size, F&& f) {
  Triple p;
  for (p[0] = 0; p[0] < size[0]; ++p[0])
    for (p[1] = 0; p[1] < size[1]; ++p[1])
      for (p[2] = 0; p[2] < size[2]; ++p[2]) f(p);
}

/// The input voxel that output voxel `o` reads through `tap`; false when it lies in the padding.
bool input_at(const Geometry& s, const Triple& o, const Triple& tap, Triple& i) {
  for (std::size_t a = 0; a < 3; ++a) {
    i[a] = o[a] * s.stride[a] - s.pad_lo[a] + tap[a] * s.dilation[a];
    if (i[a] < 0 || i[a] >= s.in[a]) return false;
  }
  return true;
}

/// The output voxel that reads input voxel `i` through `tap`; false when there is none.
bool output_at(const Geometry& s, const Triple& i, const Triple& tap, Triple& o) {
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t at = i[a] + s.pad_lo[a] - tap[a] * s.dilation[a];
    o[a] = at / s.stride[a];
    if (at < 0 || at % s.stride[a] != 0 || o[a] >= s.out[a]) return false;
  }
  return true;
}

/// f(job) for each of `jobs` equal parts of the work; small problems stay on one thread.
template <class F>
void each_job(const Geometry& s, std::int64_t jobs, F&& f) {
  const auto work = static_cast<std::int64_t>(s.flops()) / jobs;
  parallel_ranges(jobs, 1 + 50000 / (1 + work), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t job = begin; job < end; ++job) f(job);
  });
}

}  // namespace

void conv_forward(const View& x, const View& w, const View& bias, const Out& y, const ConvSpec& spec, Storage*) {
  const Geometry s = geometry(x.dtype, x.shape, w.shape, y.shape, spec);
  const std::int64_t inputs = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  visit_floating(x.dtype, "conv", [&]<class T>() {
    const Grid<T> gx(x), gw(w), gy(y);
    each_job(s, s.samples * s.out_channels, [&](std::int64_t job) {
      const std::int64_t n = job / s.out_channels, k = job % s.out_channels, first = k / outputs * inputs;
      each(s.out, [&](const Triple& o) {
        Accum<T> sum = bias.data ? static_cast<Accum<T>>(bias.as<T>()[k * bias.stride(0)]) : 0;
        Triple i;
        each(s.kernel, [&](const Triple& tap) {
          if (!input_at(s, o, tap, i)) return;
          for (std::int64_t c = 0; c < inputs; ++c)
            sum += static_cast<Accum<T>>(gx.at(n, first + c, i)) * static_cast<Accum<T>>(gw.at(k, c, tap));
        });
        gy.at(n, k, o) = static_cast<T>(sum);
      });
    });
  });
}

void conv_input(const View& g, const View& w, const Out& dx, const ConvSpec& spec, Storage*) {
  const Geometry s = geometry(g.dtype, dx.shape, w.shape, g.shape, spec);
  const std::int64_t inputs = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  visit_floating(g.dtype, "conv_input", [&]<class T>() {
    const Grid<T> gg(g), gw(w), gx(dx);
    each_job(s, s.samples * s.in_channels, [&](std::int64_t job) {
      const std::int64_t n = job / s.in_channels, c = job % s.in_channels, first = c / inputs * outputs;
      each(s.in, [&](const Triple& i) {
        Accum<T> sum = 0;
        Triple o;
        each(s.kernel, [&](const Triple& tap) {
          if (!output_at(s, i, tap, o)) return;
          for (std::int64_t k = 0; k < outputs; ++k)
            sum += static_cast<Accum<T>>(gg.at(n, first + k, o)) * static_cast<Accum<T>>(gw.at(first + k, c % inputs, tap));
        });
        gx.at(n, c, i) = static_cast<T>(sum);
      });
    });
  });
}

void conv_weight(const View& g, const View& x, const Out& dw, const ConvSpec& spec) {
  const Geometry s = geometry(x.dtype, x.shape, dw.shape, g.shape, spec);
  const std::int64_t inputs = s.in_channels / s.groups, outputs = s.out_channels / s.groups;
  visit_floating(x.dtype, "conv_weight", [&]<class T>() {
    const Grid<T> gg(g), gx(x), gw(dw);
    each_job(s, s.out_channels * inputs, [&](std::int64_t job) {
      const std::int64_t k = job / inputs, c = job % inputs, first = k / outputs * inputs;
      each(s.kernel, [&](const Triple& tap) {
        Accum<T> sum = 0;
        Triple i;
        for (std::int64_t n = 0; n < s.samples; ++n)
          each(s.out, [&](const Triple& o) {
            if (input_at(s, o, tap, i))
              sum += static_cast<Accum<T>>(gg.at(n, k, o)) * static_cast<Accum<T>>(gx.at(n, first + c, i));
          });
        gw.at(k, c, tap) = static_cast<T>(sum);
      });
    });
  });
}

}  // namespace cuboid::cpu
