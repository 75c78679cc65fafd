// SPDX-License-Identifier: Apache-2.0
// Maxima and where they are: a team of threads per share of an output's elements, then the shares of each output.
#include "kernels/reduce/cuda.h"
#include "kernels/reduce/team.h"

namespace cuboid::reduce::cuda {
namespace {

/// An element and its number in row-major order; none yet when the number is negative.
template <class T>
struct Best {
  T value;
  std::int64_t index;

  /// NaN beats numbers; of equals the first stays, in whatever order they meet.
  __device__ static Best of(const Best& a, const Best& b) {
    if (a.index < 0 || b.index < 0) return a.index < 0 ? b : a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.value != b.value) return b.value > a.value ? b : a;
    return b.index < a.index ? b : a;
  }
};

template <class T, class I>
__global__ void max_kernel(Axes<3, I> axes, const T* x, Best<T>* parts, I shares, I per_share, int lanes) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const I teams = team_threads / lanes, jobs = axes.outputs * shares;
  for (I first = static_cast<I>(blockIdx.x) * teams; first < jobs; first += static_cast<I>(gridDim.x) * teams) {
    const I job = first + static_cast<I>(threadIdx.x) / lanes;
    Best<T> best{T(0), -1};
    if (job < jobs) {
      I at[3];
      axes.output(job / shares, at);
      const I begin = job % shares * per_share, end = min(axes.length, begin + per_share);
      for (I i = begin + lane; i < end; i += lanes) best = Best<T>::of(best, {x[at[0] + axes.element(i)], i});
    }
    best = fold(best, lanes, [](const auto& a, const auto& b) { return Best<T>::of(a, b); });
    if (lane == 0 && job < jobs) parts[job] = best;
  }
}

template <class T, class I>
__global__ void best_kernel(Axes<3, I> axes, const Best<T>* parts, I shares, T* y, std::int64_t* index, int lanes) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const I teams = team_threads / lanes;
  for (I first = static_cast<I>(blockIdx.x) * teams; first < axes.outputs; first += static_cast<I>(gridDim.x) * teams) {
    const I o = first + static_cast<I>(threadIdx.x) / lanes;
    Best<T> best{T(0), -1};
    if (o < axes.outputs)
      for (I i = lane; i < shares; i += lanes) best = Best<T>::of(best, parts[o * shares + i]);
    best = fold(best, lanes, [](const auto& a, const auto& b) { return Best<T>::of(a, b); });
    if (lane > 0 || o >= axes.outputs) continue;
    I at[3];
    axes.output(o, at);
    y[at[1]] = best.value;
    index[at[2]] = best.index;
  }
}

void max_in(std::int64_t shares, const View& x, const Out& y, const Out& index) {
  visit(x.dtype, [&]<class T>() {
    cuboid::cuda::with_index({x, y, index}, [&]<class I>() {
      const auto axes = Axes<3, I>::of({x, y, index}, Axes<3, I>::Order::row_major);
      const std::int64_t per_share = (axes.length + shares - 1) / shares, jobs = axes.outputs * shares;
      const int lanes = lanes_for(per_share), last_lanes = lanes_for(shares);
      const Scratch<Best<T>> parts(jobs, Device::cuda);
      gpu::launch(max_kernel<T, I>, teams_of(jobs, lanes, "max"), axes, x.as<T>(), parts.data(), static_cast<I>(shares),
                  static_cast<I>(per_share), lanes);
      gpu::launch(best_kernel<T, I>, teams_of(axes.outputs, last_lanes, "max_parts"), axes, parts.data(), static_cast<I>(shares),
                  y.as<T>(), index.as<std::int64_t>(), last_lanes);
    });
  });
}

template <class T, class I>
__global__ void mark_kernel(Axes<2, I> axes, T* mask, const std::int64_t* index) {
  const I elements = axes.outputs * axes.length, step = static_cast<I>(gridDim.x) * blockDim.x;
  for (I k = static_cast<I>(blockIdx.x) * blockDim.x + threadIdx.x; k < elements; k += step) {
    const I o = k / axes.length, i = k - o * axes.length;
    I at[2];
    axes.output(o, at);
    mask[at[0] + axes.element(i)] = static_cast<T>(i == index[at[1]] ? 1.f : 0.f);
  }
}

}  // namespace

void max_reference(const View& x, const Out& y, const Out& index) { max_in(1, x, y, index); }
void max_teams(const View& x, const Out& y, const Out& index) { max_in(shares_of(y.size(), x.size() / y.size()), x, y, index); }

void mark(const View& index, const Out& mask) {
  visit_floating(mask.dtype, "max", [&]<class T>() {
    cuboid::cuda::with_index({mask, index}, [&]<class I>() {
      gpu::launch(mark_kernel<T, I>, cuboid::cuda::over(mask.size(), "max_mark"),
                  Axes<2, I>::of({mask, index}, Axes<2, I>::Order::row_major), mask.as<T>(), index.as<std::int64_t>());
    });
  });
}

}  // namespace cuboid::reduce::cuda
