// SPDX-License-Identifier: Apache-2.0
#include "kernels/dense_block/block.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/simd.h"

namespace cuboid::dense {

std::vector<Unit> units_of(const Geometry& g, bool apart) {
  const std::int64_t tiles = g.tiling().count();
  // Few tiles: several samples together, so that the weights are read for more than a handful of rows.
  const std::int64_t samples =
      std::clamp<std::int64_t>((g.tiling().down == 4 ? 32 : 16) / tiles, 1, std::max<std::int64_t>(1, g.n / 2));
  const std::int64_t groups = (g.n + samples - 1) / samples, wanted = std::clamp<std::int64_t>(g.plane() / 32, 2, 8);
  const std::int64_t slabs = std::clamp<std::int64_t>((wanted + groups - 1) / groups, 1, std::max<std::int64_t>(1, g.d / 2));
  const std::int64_t parts =
      apart ? g.bands() : std::clamp<std::int64_t>((wanted + groups * slabs - 1) / (groups * slabs), 1, g.bands());
  std::vector<Unit> units;
  for (std::int64_t n = 0; n < g.n; n += samples)
    for (std::int64_t s = 0; s < slabs; ++s)
      for (std::int64_t p = 0; p < parts; ++p)
        units.push_back({n, std::min(g.n, n + samples), g.d * s / slabs, g.d * (s + 1) / slabs, g.bands() * p / parts,
                         g.bands() * (p + 1) / parts});
  return units;
}

void Norm::fold() {
  scale.resize(mean.size());
  shift.resize(mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    scale[c] = weight[c] * rstd[c];
    shift[c] = bias[c] - mean[c] * scale[c];
  }
}

void Moments::add(const float* rows, std::int64_t count, std::int64_t stride) {
  if (count == 0) return;
  for (std::size_t c = 0; c < mean_.size(); c += lanes) {
    const Vec origin = load(rows + c);  // sums of differences from some row: no cancellation
    Vec sum{}, squares{};
    for (std::int64_t i = 0; i < count; ++i) {
      const Vec x = load(rows + i * stride + static_cast<std::int64_t>(c)) - origin;
      sum += x;
      squares += x * x;
    }
    const double n = static_cast<double>(count);
    for (int lane = 0; lane < lanes; ++lane) {
      const double s = static_cast<double>(sum[lane]);
      merge(c + static_cast<std::size_t>(lane), n, static_cast<double>(origin[lane]) + s / n,
            std::max(0., static_cast<double>(squares[lane]) - s * s / n));
    }
  }
  count_ += static_cast<double>(count);
}

void Moments::merge(const Moments& other) {
  if (other.count_ == 0) return;
  for (std::size_t c = 0; c < mean_.size(); ++c) merge(c, other.count_, other.mean_[c], other.m2_[c]);
  count_ += other.count_;
}

void activate_rows(const float* x, std::int64_t rows, std::int64_t stride, std::int64_t c0, std::int64_t c1, const Norm& norm,
                   float slope, float* to, std::int64_t to_stride) {
  const Vec leak = splat(slope);
  for (std::int64_t i = 0; i < rows; ++i, x += stride, to += to_stride)
    for (std::int64_t c = c0; c < c1; c += lanes)
      store(to + c - c0, activate(load(x + c) * load(norm.scale.data() + c) + load(norm.shift.data() + c), leak));
}

void pack_panels(const float* m, std::int64_t rows, std::int64_t cols, float* to) {
  parallel_ranges(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = 0; j < cols; j += panel_width)
      for (std::int64_t i = begin; i < end; ++i) std::copy_n(m + i * cols + j, panel_width, to + (j * rows + i * panel_width));
  });
}

void pack_conv1(const Geometry& g, std::int64_t index, const float* conv1, float* to) {
  const std::int64_t rows = g.mid, cols = g.channels(index);  // panels of 32 rows: [rows / 32][cols][32]
  parallel_ranges(cols, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < rows; i += panel_width)
      for (std::int64_t j = begin; j < end; ++j)
        for (std::int64_t k = 0; k < panel_width; ++k) to[i * cols + j * panel_width + k] = conv1[(i + k) * cols + j];
  });
}

void pack_conv2(const Geometry& g, const float* conv2, float* to) {
  weight_points(g.tiling(), conv2, g.growth, g.mid, g.depth_taps, to);
}

}  // namespace cuboid::dense
