// SPDX-License-Identifier: Apache-2.0
// Sums of anything: a team of threads per output, or per share of an output's elements.
#include "kernels/reduce/cuda.h"
#include "kernels/reduce/team.h"

namespace cuboid::reduce::cuda {
namespace {

template <class T>
using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;

/// Team t sums share t % shares of output t / shares. With one share the result goes to y, else to parts[t].
template <class From, class To, class I>
__global__ void sum_kernel(Axes<2, I> axes, const From* x, To* y, Total<To>* parts, I shares, I per_share, int lanes,
                           double scale) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const I teams = team_threads / lanes, jobs = axes.outputs * shares;
  for (I first = static_cast<I>(blockIdx.x) * teams; first < jobs; first += static_cast<I>(gridDim.x) * teams) {
    const I job = first + static_cast<I>(threadIdx.x) / lanes;
    Total<To> total = 0;
    I at[2] = {};
    if (job < jobs) {
      axes.output(job / shares, at);
      const I begin = job % shares * per_share, end = min(axes.length, begin + per_share);
      for (I i = begin + lane; i < end; i += lanes) total += static_cast<Total<To>>(x[at[0] + axes.element(i)]);
    }
    total = fold(total, lanes, [](auto a, auto b) { return a + b; });
    if (lane > 0 || job >= jobs) continue;
    if (parts) parts[job] = total;
    else if constexpr (std::is_integral_v<To>) y[at[1]] = static_cast<To>(total);
    else y[at[1]] = static_cast<To>(total * scale);
  }
}

/// Of contiguous parts [outputs][shares].
Axes<2> of_parts(Axes<2> axes, std::int64_t shares) {
  std::int64_t step = shares;
  for (int d = axes.kept_rank - 1; d >= 0; --d) {
    axes.kept_strides[0][d] = step;
    step *= axes.kept[d];
  }
  axes.reduced_rank = 0;
  axes.length = 1;
  axes.add_reduced(shares, 1);
  return axes;
}

void sum_in(std::int64_t shares, const View& x, const Out& y, double scale) {
  using cuboid::cuda::with_index;
  visit(x.dtype, [&]<class T>() {
    with_index({x, y}, [&]<class I>() {
      const auto axes = Axes<2, I>::of({x, y}, Axes<2, I>::Order::memory);
      const std::int64_t per_share = (axes.length + shares - 1) / shares, jobs = axes.outputs * shares;
      const bool side_by_side = !axes.fastest_reduced && jobs >= 1 << 13;  // neighbours in memory belong to other outputs
      const int lanes = side_by_side ? 1 : lanes_for(per_share);
      const Scratch<Total<T>> parts(shares > 1 ? jobs : 0, Device::cuda);
      gpu::launch(sum_kernel<T, T, I>, teams_of(jobs, lanes, "sum"), axes, x.as<T>(), y.as<T>(),
                  shares > 1 ? parts.data() : nullptr, static_cast<I>(shares), static_cast<I>(per_share), lanes, scale);
      if (shares > 1) add_parts(of_parts(Axes<2>::of({x, y}, Axes<2>::Order::memory), shares), parts.data(), y, scale);
    });
  });
}

}  // namespace

void sum_reference(const View& x, const Out& y, const double& scale) { sum_in(1, x, y, scale); }

void sum_teams(const View& x, const Out& y, const double& scale) {
  sum_in(shares_of(y.size(), x.size() / y.size()), x, y, scale);
}

void add_parts(const Axes<2>& axes, const void* parts, const Out& y, double scale) {
  visit(y.dtype, [&]<class T>() {
    const int lanes = lanes_for(axes.length);
    gpu::launch(sum_kernel<Total<T>, T, std::int64_t>, teams_of(axes.outputs, lanes, "sum_parts"), axes,
                static_cast<const Total<T>*>(parts), y.as<T>(), static_cast<Total<T>*>(nullptr), std::int64_t{1}, axes.length,
                lanes, scale);
  });
}

}  // namespace cuboid::reduce::cuda
