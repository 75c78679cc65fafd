// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/dilate.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "data/morphology/distance.h"

namespace cuboid {
namespace {

using morphology::Grid;

void check_radius(double radius, const char* who) {
  check<DataError>(std::isfinite(radius) && radius >= 0, who, ": radius ", radius, "; it must be 0 or more");
}

Tensor copy_of(const Tensor& mask) {
  const Tensor copied = empty(mask.shape(), {.dtype = DType::u8});
  copy(mask, copied);
  return copied;
}

/// u8: where keep(distance).
template <class Keep>
Tensor where(const Tensor& distance, Keep&& keep) {
  const Tensor mask = empty(distance.shape(), {.dtype = DType::u8});
  const float* in = distance.data<float>();
  auto* out = mask.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < distance.size(); ++i) out[i] = keep(in[i]);
  return mask;
}

/// Distances are rounded to f32; a radius that should reach a voxel exactly does.
float reaching(double radius) { return static_cast<float>(radius * (1 + 1e-6)); }

/// Each voxel becomes `grow` where one of the voxels within `reach` along the axis is.
void spread(std::uint8_t* mask, const Grid& g, int axis, std::int64_t reach, std::uint8_t grow) {
  const std::int64_t n = g.dim(axis), stride = g.stride(axis), lines = g.size() / n;
  if (reach <= 0) return;
  parallel_ranges(lines, 256, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> line(static_cast<std::size_t>(n));
    for (std::int64_t l = begin; l < end; ++l) {
      std::uint8_t* p = mask + l / stride * stride * n + l % stride;
      std::int64_t last = -reach - 1;  // the latest `grow` so far, looking up to `reach` ahead
      for (std::int64_t i = 0; i < std::min(reach, n); ++i)
        if (p[i * stride] == grow) last = i;
      for (std::int64_t i = 0; i < n; ++i) {
        if (i + reach < n && p[(i + reach) * stride] == grow) last = i + reach;
        line[static_cast<std::size_t>(i)] = last >= i - reach ? grow : static_cast<std::uint8_t>(1 - grow);
      }
      for (std::int64_t i = 0; i < n; ++i) p[i * stride] = line[static_cast<std::size_t>(i)];
    }
  });
}

Tensor spread_box(const Tensor& volume, const Reach& reach, std::uint8_t grow, const char* who) {
  for (const auto r : reach) check<DataError>(r >= 0, who, ": a reach of ", r, " voxels");
  const Tensor mask = copy_of(morphology::as_mask(volume, who));
  const Grid g(mask.shape());
  for (int axis = 0; axis < 3; ++axis)
    spread(mask.mutable_data<std::uint8_t>(), g, axis, reach[static_cast<std::size_t>(axis)], grow);
  return mask;
}

}  // namespace

Tensor dilate_ball(const Tensor& volume, double radius, const Spacing& spacing) {
  check_radius(radius, "dilation");
  const Tensor mask = morphology::as_mask(volume, "dilation");
  // The limit makes an empty mask as far away as all that is beyond the radius.
  const Tensor distance = distance_to(mask, spacing, {.limit = 2 * radius + 1});
  return where(distance, [r = reaching(radius)](float d) { return d <= r; });
}

Tensor erode_ball(const Tensor& volume, double radius, const Spacing& spacing) {
  check_radius(radius, "erosion");
  const Tensor mask = morphology::as_mask(volume, "erosion");
  const Tensor distance = distance_transform(mask, spacing, {.limit = 2 * radius + 1});
  return where(distance, [r = reaching(radius)](float d) { return d > r; });
}

Tensor open_ball(const Tensor& mask, double radius, const Spacing& spacing) {
  return dilate_ball(erode_ball(mask, radius, spacing), radius, spacing);
}

Tensor close_ball(const Tensor& mask, double radius, const Spacing& spacing) {
  return erode_ball(dilate_ball(mask, radius, spacing), radius, spacing);
}

Tensor dilate_box(const Tensor& mask, const Reach& reach) { return spread_box(mask, reach, 1, "dilation"); }
Tensor erode_box(const Tensor& mask, const Reach& reach) { return spread_box(mask, reach, 0, "erosion"); }

}  // namespace cuboid
