// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/measurement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>

#include "data/morphology/components.h"
#include "data/morphology/dilate.h"
#include "data/morphology/distance.h"
#include "data/morphology/surface.h"

namespace cuboid::deepis {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

Tensor as_i32(const Tensor& labels) {
  const Tensor whole = morphology::as_labels(labels, "measure");
  if (whole.dtype() == DType::i32) return whole;
  Tensor wide = empty(whole.shape(), {.dtype = DType::i32});
  copy(whole, wide);
  return wide;
}

/// The widest cleft that counts as contact, when nobody says. Labels that part where a distance map is less than half a voxel
/// from zero lie 1 to 1 + sqrt(2) voxels apart, whichever way they face; a cleft of two voxels would close the wedge at the rim,
/// too.
constexpr double cleft_in_voxels = 1.5;

using Slope = std::array<double, 3>;  // of a distance along z, y, x
double dot(const Slope& a, const Slope& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/// Where a label is, and what can be summed on the way.
struct Extent {
  std::array<std::int64_t, 3> low{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::max(),
                                  std::numeric_limits<std::int64_t>::max()},
      high{-1, -1, -1};  // inclusive
  std::int64_t voxels = 0;
  std::array<double, 3> sum{};
  double values = 0;
};

/// Of every label but 0.
std::map<std::int32_t, Extent> extents_of(const Tensor& labels, const float* image) {
  std::map<std::int32_t, Extent> all;
  const auto* v = labels.data<std::int32_t>();
  std::int64_t i = 0;
  for (std::int64_t z = 0; z < labels.dim(0); ++z)
    for (std::int64_t y = 0; y < labels.dim(1); ++y)
      for (std::int64_t x = 0; x < labels.dim(2);) {
        // runs of one label
        const std::int32_t label = v[i];
        const std::int64_t begin = x;
        double values = 0;
        for (; x < labels.dim(2) && v[i] == label; ++x, ++i) values += image ? image[i] : 0;
        if (label == 0) continue;
        Extent& e = all[label];
        e.low = {std::min(e.low[0], z), std::min(e.low[1], y), std::min(e.low[2], begin)};
        e.high = {std::max(e.high[0], z), std::max(e.high[1], y), std::max(e.high[2], x - 1)};
        const auto n = static_cast<double>(x - begin);
        e.voxels += x - begin, e.values += values;
        e.sum[0] += n * static_cast<double>(z), e.sum[1] += n * static_cast<double>(y);
        e.sum[2] += n * static_cast<double>(begin + x - 1) / 2;
      }
  return all;
}

/// A window on the labels, and a copy of what is in it.
struct Window {
  Tensor labels;
  std::array<std::int64_t, 3> low{};
};
/// Around both extents, `margin_um` wider.
Window window_of(const Tensor& labels, const Extent& a, const Extent& b, const Spacing& spacing, double margin_um) {
  Window window;
  Shape size;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto margin = static_cast<std::int64_t>(std::ceil(margin_um / spacing[i])) + 2;
    window.low[i] = std::max<std::int64_t>(0, std::min(a.low[i], b.low[i]) - margin);
    size.push_back(std::min(labels.dim(static_cast<int>(i)) - 1, std::max(a.high[i], b.high[i]) + margin) - window.low[i] + 1);
  }
  const std::int64_t offset = (window.low[0] * labels.dim(1) + window.low[1]) * labels.dim(2) + window.low[2];
  window.labels = empty(size, {.dtype = DType::i32});
  copy(Tensor(labels.storage(), labels.offset() + offset, size, labels.strides(), labels.dtype()), window.labels);
  return window;
}

double default_radius(const Spacing& spacing, double asked) {
  morphology::check_spacing(spacing, "measure");
  return asked >= 0 ? asked : *std::max_element(spacing.begin(), spacing.end());
}

double volume_of_voxel(const Spacing& s) { return s[0] * s[1] * s[2]; }

}  // namespace

std::optional<RiScale> ri_scale_of(const Tensor& image) {
  Tensor values = image;
  if (values.dtype() != DType::f32) {
    values = empty(image.shape(), {.dtype = DType::f32});
    copy(image, values);
  }
  const float* v = values.data<float>();
  const auto [low, high] = std::minmax_element(v, v + values.size());
  if (*low >= 1 && *high <= 2 && *high > *low) return RiScale{};
  if (*low >= 10000 && *high <= 20000) return RiScale{.slope = 1e-4};
  return std::nullopt;
}

RiScale ri_window(double low, double high) { return {.offset = low, .slope = (high - low) / 255}; }

Tensor synapse_mask(const Tensor& given, std::int32_t a, std::int32_t b, const Spacing& spacing, double radius_um) {
  const double r = default_radius(spacing, radius_um);
  const Tensor labels = as_i32(given);
  Tensor mask = zeros(labels.shape(), {.dtype = DType::u8});
  const auto extents = extents_of(labels, nullptr);
  const auto first = extents.find(a), second = extents.find(b);
  if (first == extents.end() || second == extents.end()) return mask;
  const Window window = window_of(labels, first->second, second->second, spacing, r);
  const Tensor near_a = dilate_ball(mask_of(window.labels, a), r, spacing),
               near_b = dilate_ball(mask_of(window.labels, b), r, spacing);
  const auto *p = near_a.data<std::uint8_t>(), *q = near_b.data<std::uint8_t>();
  auto* m = mask.mutable_data<std::uint8_t>();
  for (std::int64_t z = 0; z < window.labels.dim(0); ++z)
    for (std::int64_t y = 0; y < window.labels.dim(1); ++y) {
      auto* row = m + ((window.low[0] + z) * labels.dim(1) + window.low[1] + y) * labels.dim(2) + window.low[2];
      for (std::int64_t x = 0; x < window.labels.dim(2); ++x, ++p, ++q) row[x] = *p && *q;
    }
  return mask;
}

double contact_between(const Tensor& given, std::int32_t a, std::int32_t b, const Spacing& spacing, double cleft_um) {
  morphology::check_spacing(spacing, "measure");
  // between the centres of the voxels on either side; `voxel` is the extent of one across the cleft
  const auto widest = [&](double voxel) { return ((cleft_um < 0 ? cleft_in_voxels * voxel : cleft_um) + voxel) * (1 + 1e-6); };
  const double farthest = widest(*std::max_element(spacing.begin(), spacing.end()));
  const Tensor whole = as_i32(given);
  const auto extents = extents_of(whole, nullptr);
  const auto first = extents.find(a), second = extents.find(b);
  if (first == extents.end() || second == extents.end()) return 0;
  const Tensor labels = window_of(whole, first->second, second->second, spacing, farthest).labels;
  auto* v = labels.mutable_data<std::int32_t>();
  const DistanceOptions near{.limit = 4 * farthest};
  const Tensor to_a = distance_to(mask_of(labels, a), spacing, near), to_b = distance_to(mask_of(labels, b), spacing, near);
  const auto *da = to_a.data<float>(), *db = to_b.data<float>();
  const Shape& n = labels.shape();
  const auto slopes = [&](const float* d, const std::array<std::int64_t, 3>& at) {
    const std::array<std::int64_t, 3> stride = {n[1] * n[2], n[2], 1};
    const std::int64_t i = at[0] * stride[0] + at[1] * stride[1] + at[2];
    Slope slope{};
    for (std::size_t k = 0; k < 3; ++k) {
      const std::int64_t low = at[k] > 0 ? i - stride[k] : i, high = at[k] + 1 < n[static_cast<int>(k)] ? i + stride[k] : i;
      if (low != high) slope[k] = (d[high] - d[low]) / (spacing[k] * static_cast<double>((high - low) / stride[k]));
    }
    return slope;
  };
  std::vector<std::pair<std::int64_t, std::int32_t>> cleft;
  std::int64_t i = 0;
  for (std::int64_t z = 0; z < n[0]; ++z)
    for (std::int64_t y = 0; y < n[1]; ++y)
      for (std::int64_t x = 0; x < n[2]; ++x, ++i) {
        if (v[i] != 0 || da[i] + db[i] > farthest) continue;
        // between the two: away from one is towards the other, by more than 134 degrees
        const Slope p = slopes(da, {z, y, x}), q = slopes(db, {z, y, x});
        if (dot(p, q) >= -0.7 * std::sqrt(dot(p, p) * dot(q, q))) continue;
        const Slope across = {p[0] - q[0], p[1] - q[1], p[2] - q[2]};
        const Slope voxels = {across[0] * spacing[0], across[1] * spacing[1], across[2] * spacing[2]};
        if (da[i] + db[i] <= widest(std::sqrt(dot(voxels, voxels) / dot(across, across))))
          cleft.emplace_back(i, da[i] <= db[i] ? a : b);
      }
  for (const auto& [at, label] : cleft) v[at] = label;
  return contact_area(labels, a, b, spacing);
}

FrameMeasure measure(const Tensor& given, const Tensor& image, const std::optional<RiScale>& scale, const Spacing& spacing,
                     const std::vector<std::int32_t>& of, const std::optional<std::array<std::int32_t, 2>>& pair,
                     const MeasureOptions& options) {
  const double radius = default_radius(spacing, options.dilate_um);
  const Tensor labels = as_i32(given);
  Tensor values;
  if (image.defined() && scale) {
    check<DataError>(image.shape() == labels.shape(), "measure: image of shape ", image.shape(), ", labels of shape ",
                     labels.shape());
    values = image;
    if (values.dtype() != DType::f32 || !values.is(Layout::contiguous)) {
      values = empty(image.shape(), {.dtype = DType::f32});
      copy(image, values);
    }
  }
  const float* v = values.defined() ? values.data<float>() : nullptr;
  const double voxel = volume_of_voxel(spacing);
  const auto ri = [&](double sum, std::int64_t n) {
    return v && n ? scale->offset + scale->slope * sum / static_cast<double>(n) : undefined;
  };
  const auto extents = extents_of(labels, v);
  FrameMeasure frame;
  for (const std::int32_t label : of) {
    const auto found = extents.find(label);
    const Extent e = found == extents.end() ? Extent{} : found->second;
    CellMeasure cell;
    cell.label = label, cell.voxels = e.voxels;
    cell.volume_um3 = static_cast<double>(e.voxels) * voxel;
    cell.mean_ri = ri(e.values, e.voxels);
    cell.density = (cell.mean_ri - options.medium_ri) / options.increment;
    cell.dry_mass_pg = cell.density * cell.volume_um3;
    if (e.voxels) {
      const Tensor mask = mask_of(window_of(labels, e, e, spacing, 0).labels, label);
      cell.surface_um2 = surface_area(mask, spacing);
      cell.parts = connected_components(mask, Connectivity::corners).count();
      cell.sphericity = std::cbrt(36 * std::numbers::pi * cell.volume_um3 * cell.volume_um3) / cell.surface_um2;
      for (std::size_t a = 0; a < 3; ++a) {
        cell.centre_um[a] = spacing[a] * e.sum[a] / static_cast<double>(e.voxels);
        cell.cut = cell.cut || e.low[a] == 0 || e.high[a] == labels.dim(static_cast<int>(a)) - 1;
      }
    } else {
      cell.surface_um2 = 0;
      cell.sphericity = undefined, cell.centre_um = {undefined, undefined, undefined};
    }
    frame.cells.push_back(cell);
  }
  if (pair) {
    Synapse synapse;
    const auto [a, b] = *pair;
    const Tensor mask = synapse_mask(labels, a, b, spacing, radius);
    const auto* m = mask.data<std::uint8_t>();
    double sum = 0;
    for (std::int64_t i = 0; i < mask.size(); ++i)
      if (m[i]) ++synapse.voxels, sum += v ? v[i] : 0;
    synapse.volume_um3 = static_cast<double>(synapse.voxels) * voxel;
    synapse.mean_ri = ri(sum, synapse.voxels);
    synapse.area_um2 = contact_between(labels, a, b, spacing, options.cleft_um);
    frame.synapse = synapse;
  }
  return frame;
}

}  // namespace cuboid::deepis
