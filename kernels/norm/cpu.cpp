// SPDX-License-Identifier: Apache-2.0
// The reference of normalisation: plain loops with sums in f64, any strides.
#include <cmath>

#include "core/parallel.h"
#include "kernels/norm/rows.h"

namespace cuboid::cpu {
namespace {

/// Calls f(offsets of the element in `a`, in `b`) for each element of channel c in the samples of a segment.
template <class F>
void each(const View& a, const View& b, std::int64_t segment, std::int64_t segments, std::int64_t c, F&& f) {
  const std::int64_t samples = a.dim(0) / segments;
  std::int64_t volume = 1;
  for (int d = 2; d < a.rank(); ++d) volume *= a.dim(d);
  for (std::int64_t n = segment * samples; n < (segment + 1) * samples; ++n)
    for (std::int64_t v = 0; v < volume; ++v) {
      std::int64_t at_a = n * a.stride(0) + c * a.stride(1), at_b = n * b.stride(0) + c * b.stride(1), rest = v;
      for (int d = a.rank() - 1; d >= 2; --d) {
        at_a += rest % a.dim(d) * a.stride(d);
        at_b += rest % a.dim(d) * b.stride(d);
        rest /= a.dim(d);
      }
      f(at_a, at_b);
    }
}

/// f(i) for each channel of each segment.
template <class F>
void each_channel(const View& x, std::int64_t segments, F&& f) {
  const std::int64_t count = segments * x.dim(1);
  parallel_ranges(count, 1 + 20000 / (x.size() / count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace

void norm_statistics(const View& x, const Out& mean, const Out& var) {
  const std::int64_t segments = mean.dim(0), channels = x.dim(1);
  const double count = static_cast<double>(x.size() / channels / segments);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    each_channel(x, segments, [&](std::int64_t i) {
      double sum = 0, squares = 0;
      each(x, x, i / channels, segments, i % channels,
           [&](auto at, auto) { sum += static_cast<double>(static_cast<A>(x.as<T>()[at])); });
      each(x, x, i / channels, segments, i % channels, [&](auto at, auto) {
        const double d = static_cast<double>(static_cast<A>(x.as<T>()[at])) - sum / count;
        squares += d * d;
      });
      mean.as<A>()[i] = static_cast<A>(sum / count);
      var.as<A>()[i] = static_cast<A>(squares / count);
    });
  });
}

void norm_finish(const View& mean, const View& var, const Out& rstd, const Out& running_mean, const Out& running_var,
                 const NormUpdate& u) {
  const auto move = [&](const Out& running, const auto* batch, double factor) {
    if (!running.data) return;
    visit_floating(running.dtype, "norm", [&]<class R>() {
      R* r = running.as<R>();
      for (std::int64_t c = 0; c < running.size(); ++c) {
        const double before = static_cast<double>(static_cast<Accum<R>>(r[c]));
        r[c] = static_cast<R>((1 - u.momentum) * before + u.momentum * factor * static_cast<double>(batch[c]));
      }
    });
  };
  visit_floating(var.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    for (std::int64_t i = 0; i < var.size(); ++i)
      rstd.as<A>()[i] = static_cast<A>(1 / std::sqrt(static_cast<double>(var.as<A>()[i]) + u.eps));
    move(running_mean, mean.as<A>(), 1);
    move(running_var, var.as<A>(), u.unbiased);
  });
}

void norm_apply(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                double slope) {
  const std::int64_t segments = mean.dim(0), channels = x.dim(1);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    each_channel(x, segments, [&](std::int64_t i) {
      const std::int64_t c = i % channels;
      const A m = mean.as<A>()[i], scale = rstd.as<A>()[i] * (weight.data ? weight.as<A>()[c] : 1);
      const A shift = bias.data ? bias.as<A>()[c] : 0;
      each(x, y, i / channels, segments, c, [&](auto at, auto to) {
        const A v = (static_cast<A>(x.as<T>()[at]) - m) * scale + shift;
        y.as<T>()[to] = static_cast<T>(v > 0 ? v : v * static_cast<A>(slope));
      });
    });
  });
}

void norm_backward(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                   const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch) {
  const std::int64_t segments = mean.dim(0), channels = x.dim(1);
  const double count = static_cast<double>(x.size() / channels / segments);
  visit_floating(x.dtype, "norm", [&]<class T>() {
    using A = Accum<T>;
    each_channel(x, segments, [&](std::int64_t i) {
      const std::int64_t segment = i / channels, c = i % channels;
      const A m = mean.as<A>()[i], r = rstd.as<A>()[i], scale = r * (weight.data ? weight.as<A>()[c] : 1);
      const A shift = bias.data ? bias.as<A>()[c] : 0;
      const auto xhat = [&](std::int64_t at) { return static_cast<double>((static_cast<A>(x.as<T>()[at]) - m) * r); };
      const auto gradient = [&](std::int64_t at_g, std::int64_t at_x) {  // before the activation
        const A v = (static_cast<A>(x.as<T>()[at_x]) - m) * scale + shift;
        return static_cast<double>(static_cast<A>(g.as<T>()[at_g])) * (v > 0 ? 1 : slope);
      };
      double sum = 0, product = 0;
      each(g, x, segment, segments, c, [&](auto at_g, auto at_x) {
        sum += gradient(at_g, at_x);
        product += gradient(at_g, at_x) * xhat(at_x);
      });
      dbias.as<A>()[i] = static_cast<A>(sum);
      dweight.as<A>()[i] = static_cast<A>(product);
      if (!dx.data) return;
      each(x, dx, segment, segments, c, [&](auto at_x, auto to) {
        const double own = gradient(at_x, at_x);
        dx.as<T>()[to] = static_cast<T>(static_cast<A>(scale * (batch ? own - sum / count - xhat(at_x) * product / count : own)));
      });
    });
  });
}

}  // namespace cuboid::cpu
