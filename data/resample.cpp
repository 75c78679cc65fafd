// SPDX-License-Identifier: Apache-2.0
#include "data/resample.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

namespace cuboid {
std::vector<Taps> resample_taps(std::int64_t from, std::int64_t to, Resampling how) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), reach = std::max(1.0, scale);
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    Taps& t = all[static_cast<std::size_t>(i)];
    const double centre = (static_cast<double>(i) + 0.5) * scale - 0.5;  // in old voxels
    if (how == Resampling::nearest) {
      t.first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(centre + 0.5)), 0, from - 1);
      t.weight = {1};
      continue;
    }
    const auto low = static_cast<std::int64_t>(std::ceil(centre - reach)), high = static_cast<std::int64_t>(centre + reach);
    t.first = std::clamp<std::int64_t>(low, 0, from - 1);
    const std::int64_t last = std::clamp<std::int64_t>(high, t.first, from - 1);
    double sum = 0;
    for (std::int64_t k = t.first; k <= last; ++k) {
      t.weight.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(k) - centre) / reach));
      sum += t.weight.back();
    }
    if (sum == 0) t.weight.assign(1, 1), sum = 1;
    for (double& w : t.weight) w /= sum;
  }
  return all;
}

namespace {

/// Along one axis of x, which is dense: seen as [before, n, after].
template <class T>
Tensor along(const Tensor& x, int axis, std::int64_t size, Resampling how) {
  Shape shape = x.shape();
  std::int64_t before = 1, after = 1;
  for (int a = 0; a < x.rank(); ++a) (a < axis ? before : after) *= a == axis ? 1 : x.dim(a);
  const std::int64_t n = x.dim(axis);
  shape[axis] = size;
  const Tensor y = empty(shape, {.dtype = x.dtype()});
  const T* in = x.data<T>();
  T* out = y.mutable_data<T>();
  const std::vector<Taps> table = resample_taps(n, size, how);
  parallel_for(before * size, [&](std::int64_t row) {
    const Taps& t = table[static_cast<std::size_t>(row % size)];
    const T* from = in + (row / size * n + t.first) * after;
    T* to = out + row * after;
    for (std::int64_t i = 0; i < after; ++i) {
      if constexpr (std::is_floating_point_v<T>) {
        double sum = 0;
        for (std::size_t k = 0; k < t.weight.size(); ++k)
          sum += t.weight[k] * static_cast<double>(from[static_cast<std::int64_t>(k) * after + i]);
        to[i] = static_cast<T>(sum);
      } else {
        to[i] = from[i];
      }
    }
  });
  return y;
}

}  // namespace

Tensor resample(const Tensor& x, const Shape& size, Resampling how) {
  check((x.rank() == 3 || x.rank() == 4) && size.rank() == 3 && size.count() > 0, "resample: ", x.shape(), " to ", size);
  const DType type = how == Resampling::linear ? DType::f32 : x.dtype();
  Tensor y = x;
  if (y.dtype() != type || !y.is(Layout::contiguous)) {
    y = empty(x.shape(), {.dtype = type});
    copy(x, y);
  }
  visit(type, [&]<class T>() {
    for (int a = 0; a < 3; ++a) {
      const int axis = x.rank() - 3 + a;
      if (y.dim(axis) != size[a]) y = along<T>(y, axis, size[a], how);
    }
  });
  return y;
}

}  // namespace cuboid
