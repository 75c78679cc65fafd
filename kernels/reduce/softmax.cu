// SPDX-License-Identifier: Apache-2.0
// Softmax: a team of threads per line, or one thread where neighbours in memory belong to other lines.
#include <cmath>
#include <limits>

#include "kernels/reduce/cuda.h"
#include "kernels/reduce/team.h"

namespace cuboid::reduce::cuda {
namespace {

/// `lines` numbers the lines (nothing is reduced); A is the type of the computation.
template <class T, class A, class I>
__global__ void softmax_kernel(Axes<2, I> lines, const T* x, T* y, I n, I step_x, I step_y, int lanes, bool log) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const I teams = team_threads / lanes;
  for (I first = static_cast<I>(blockIdx.x) * teams; first < lines.outputs; first += static_cast<I>(gridDim.x) * teams) {
    const I line = first + static_cast<I>(threadIdx.x) / lanes;
    const bool inside = line < lines.outputs;
    I at[2] = {};
    if (inside) lines.output(line, at);
    const T* from = x + at[0];
    A top = -std::numeric_limits<A>::infinity(), total = 0;
    for (I i = lane; inside && i < n; i += lanes) top = max(top, static_cast<A>(from[i * step_x]));
    top = fold(top, lanes, [](A a, A b) { return max(a, b); });
    for (I i = lane; inside && i < n; i += lanes) total += std::exp(static_cast<A>(from[i * step_x]) - top);
    total = fold(total, lanes, [](A a, A b) { return a + b; });
    const A log_total = std::log(total);
    for (I i = lane; inside && i < n; i += lanes) {
      const A v = static_cast<A>(from[i * step_x]) - top;
      y[at[1] + i * step_y] = static_cast<T>(log ? v - log_total : std::exp(v) / total);
    }
  }
}

template <class T, class A>
void softmax_in(const View& x, const Out& y, int axis, bool log, bool teams_only) {
  View lines_x = x, lines_y = y;
  lines_x.shape[axis] = lines_y.shape[axis] = 1;
  cuboid::cuda::with_index({x, y}, [&]<class I>() {
    const auto lines = Axes<2, I>::of({lines_x, lines_y}, Axes<2, I>::Order::memory);
    const bool side_by_side = lines.kept_rank > 0 && lines.kept_strides[0][lines.kept_rank - 1] < x.strides[axis];
    const int lanes = side_by_side && !teams_only && lines.outputs >= 1 << 13 ? 1 : lanes_for(x.shape[axis]);
    gpu::launch(softmax_kernel<T, A, I>, teams_of(lines.outputs, lanes, "softmax"), lines, x.as<T>(), y.as<T>(),
                static_cast<I>(x.shape[axis]), static_cast<I>(x.strides[axis]), static_cast<I>(y.strides[axis]), lanes, log);
  });
}

}  // namespace

void softmax_reference(const View& x, const Out& y, const int& axis, const bool& log) {
  visit_floating(x.dtype, "softmax", [&]<class T>() { softmax_in<T, double>(x, y, axis, log, true); });
}

void softmax_teams(const View& x, const Out& y, const int& axis, const bool& log) {
  visit_floating(x.dtype, "softmax", [&]<class T>() { softmax_in<T, Accum<T>>(x, y, axis, log, false); });
}

}  // namespace cuboid::reduce::cuda
