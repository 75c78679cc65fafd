// SPDX-License-Identifier: Apache-2.0
#include "data/crop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace cuboid {
namespace {

/// Row-major f32 data of `volume`: itself, or a copy.
Tensor dense_f32(const Tensor& volume) {
  if (volume.dtype() == DType::f32 && volume.is(Layout::contiguous)) return volume;
  Tensor dense = empty(volume.shape());
  copy(volume, dense);
  return dense;
}

}  // namespace

double median_of(const Tensor& volume) {
  const Tensor dense = dense_f32(volume);
  check(dense.size() > 0, "median: of no voxels");
  const float* p = dense.data<float>();
  std::vector<float> values(p, p + dense.size());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return static_cast<double>(*middle);
  return (static_cast<double>(*middle) + static_cast<double>(*std::max_element(values.begin(), middle))) / 2;
}

VoxelStats voxel_stats(const Tensor& volume) {
  const Tensor dense = dense_f32(volume);
  VoxelStats stats{0, std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), 0};
  const float* p = dense.data<float>();
  double sum = 0;
  for (std::int64_t i = 0; i < dense.size(); ++i) {
    const double v = static_cast<double>(p[i]);
    if (!std::isfinite(v)) {
      ++stats.not_finite;
      continue;
    }
    sum += v;
    stats.min = std::min(stats.min, v);
    stats.max = std::max(stats.max, v);
  }
  const std::int64_t finite = dense.size() - stats.not_finite;
  if (finite == 0) return {0, 0, 0, stats.not_finite};
  stats.mean = sum / static_cast<double>(finite);
  return stats;
}

void rescale_minmax(const Tensor& volume) {
  check(volume.dtype() == DType::f32 && volume.is(Layout::contiguous), "rescale_minmax: needs contiguous f32, got ",
        volume.dtype());
  float* p = volume.mutable_data<float>();
  const std::int64_t n = volume.size();
  if (n == 0) return;
  const auto [low, high] = std::minmax_element(p, p + n);
  const float from = *low, range = *high - *low;
  if (range == 0) std::fill(p, p + n, 0.0f);
  else
    for (std::int64_t i = 0; i < n; ++i) p[i] = (p[i] - from) / range;
}

Crop crop_cube(const Tensor& volume, std::array<std::int64_t, 3> centre, std::int64_t size, CropPadding padding) {
  check<DataError>(volume.rank() == 3, "crop: needs a volume (z,y,x), got shape ", volume.shape());
  check(size >= 2 && size <= 4096 && size % 2 == 0, "crop: size ", size, " is not an even number from 2 to 4096");
  std::array<std::int64_t, 3> start{}, length{}, offset{};
  Crop crop;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t extent = volume.dim(static_cast<int>(a));
    check<DataError>(centre[a] >= 0 && centre[a] < extent, "crop: centre ", "zyx"[a], "=", centre[a],
                     " lies outside the volume (", extent, " voxels along ", "zyx"[a], ")");
    start[a] = std::max<std::int64_t>(0, centre[a] - size / 2);
    length[a] = std::min(extent, centre[a] + size / 2) - start[a];
    crop.missing[a] = size - length[a];
    offset[a] = padding == CropPadding::centred ? crop.missing[a] / 2 : 0;
  }
  crop.voxels = empty({size, size, size});
  if (crop.clipped()) fill(crop.voxels, median_of(volume));
  const auto window = [](const Tensor& t, const std::array<std::int64_t, 3>& at, const std::array<std::int64_t, 3>& count) {
    std::int64_t first = t.offset();
    for (int a = 0; a < 3; ++a) first += at[static_cast<std::size_t>(a)] * t.strides()[a];
    return Tensor(t.storage(), first, Shape(std::span<const std::int64_t>(count)), t.strides(), t.dtype());
  };
  copy(window(volume, start, length), window(crop.voxels, offset, length));
  return crop;
}

}  // namespace cuboid
