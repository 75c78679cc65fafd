// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/postprocess.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "apps/text.h"
#include "data/morphology/components.h"
#include "data/morphology/watershed.h"

namespace cuboid::deepis {
namespace {

std::int64_t voxels_of(double volume_um3, const Spacing& spacing) {
  return static_cast<std::int64_t>(std::ceil(volume_um3 / (spacing[0] * spacing[1] * spacing[2]) - 1e-9));
}

const float* field_of(const Tensor& x, int rank, const char* who) {
  check(x.rank() == rank && x.dtype() == DType::f32 && x.is(Layout::contiguous), who, ": expects f32 with ", rank,
        " dimensions in row-major order, got ", name_of(x.dtype()), " ", x.shape());
  return x.data<float>();
}

struct Box {
  std::array<std::int64_t, 3> low{}, size{};  // no voxels: all sizes 0
};

/// The boxes of classes 1 ... count of voxels, one voxel wider where the volume goes on. class_of(i): 0 is in none.
template <class ClassOf>
std::vector<Box> boxes_of(const Shape& shape, std::int64_t count, ClassOf class_of) {
  std::vector<std::array<std::int64_t, 6>> ends(static_cast<std::size_t>(count) + 1, {shape[0], shape[1], shape[2], -1, -1, -1});
  std::int64_t i = 0;
  for (std::int64_t z = 0; z < shape[0]; ++z)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x, ++i) {
        const auto c = static_cast<std::size_t>(class_of(i));
        if (c == 0) continue;
        auto& e = ends[c];
        e = {std::min(e[0], z), std::min(e[1], y), std::min(e[2], x), std::max(e[3], z), std::max(e[4], y), std::max(e[5], x)};
      }
  std::vector<Box> boxes(ends.size());
  for (std::size_t c = 1; c < ends.size(); ++c)
    for (std::size_t a = 0; a < 3 && ends[c][3] >= 0; ++a) {
      boxes[c].low[a] = std::max<std::int64_t>(0, ends[c][a] - 1);
      boxes[c].size[a] = std::min(shape[static_cast<int>(a)] - 1, ends[c][a + 3] + 1) - boxes[c].low[a] + 1;
    }
  return boxes;
}

/// f(place in the whole, place in the box) for each voxel of the box.
template <class F>
void for_each(const Box& box, const Shape& shape, F f) {
  std::int64_t j = 0;
  for (std::int64_t z = 0; z < box.size[0]; ++z)
    for (std::int64_t y = 0; y < box.size[1]; ++y)
      for (std::int64_t x = 0; x < box.size[2]; ++x, ++j)
        f(((box.low[0] + z) * shape[1] + box.low[1] + y) * shape[2] + box.low[2] + x, j);
}

Shape shape_of(const Box& box) { return {box.size[0], box.size[1], box.size[2]}; }

/// Background that one label alone encloses becomes that label.
template <class Label>
void fill_holes_within(const Tensor& labels, std::int64_t count) {
  auto* v = labels.mutable_data<Label>();
  const auto boxes = boxes_of(labels.shape(), count, [&](std::int64_t i) { return v[i]; });
  for (std::int64_t label = 1; label <= count; ++label) {
    const Box& box = boxes[static_cast<std::size_t>(label)];
    if (box.size[0] == 0) continue;
    Tensor mask = empty(shape_of(box), {.dtype = DType::u8});
    auto* m = mask.mutable_data<std::uint8_t>();
    for_each(box, labels.shape(), [&](std::int64_t i, std::int64_t j) { m[j] = v[i] == static_cast<Label>(label); });
    const Tensor filled = fill_holes(mask);
    const auto* f = filled.data<std::uint8_t>();
    for_each(box, labels.shape(), [&](std::int64_t i, std::int64_t j) {
      if (f[j] && v[i] == 0) v[i] = static_cast<Label>(label);
    });
  }
}

}  // namespace

PostprocessOptions resolved(PostprocessOptions o, const Spacing& spacing) {
  morphology::check_spacing(spacing, "post-processing");
  const double least = *std::min_element(spacing.begin(), spacing.end());
  if (o.threshold_um < 0) o.threshold_um = 0.5 * least;
  if (o.prominence_um < 0) o.prominence_um = least;
  if (o.peak_distance_um < 0) o.peak_distance_um = 3 * least;
  return o;
}

Json to_json(const PostprocessOptions& o) {
  return Json::object({{"threshold_um", o.threshold_um},
                       {"keep_largest", o.keep_largest},
                       {"min_volume_um3", o.min_volume_um3},
                       {"fill_holes", o.fill_holes},
                       {"prominence_um", o.prominence_um},
                       {"peak_distance_um", o.peak_distance_um}});
}

PostprocessOptions postprocess_of(const Json& json) {
  PostprocessOptions o;
  const Json known = to_json(o);
  std::vector<std::string> names;
  for (const auto& [name, _] : known.as_object()) names.push_back(name);
  for (const auto& [name, _] : json.as_object())
    check<DataError>(known.contains(name), "post-processing: no value is called '", name, "'", app::did_you_mean(name, names));
  o.threshold_um = json.get("threshold_um", o.threshold_um);
  o.keep_largest = json.get("keep_largest", o.keep_largest);
  o.min_volume_um3 = json.get("min_volume_um3", o.min_volume_um3);
  o.fill_holes = json.get("fill_holes", o.fill_holes);
  o.prominence_um = json.get("prominence_um", o.prominence_um);
  o.peak_distance_um = json.get("peak_distance_um", o.peak_distance_um);
  return o;
}

void clean_classes(const Tensor& labels, const Spacing& spacing, const PostprocessOptions& given) {
  check(labels.rank() == 3 && labels.dtype() == DType::u8 && labels.is(Layout::contiguous),
        "post-processing: expects u8 labels D,H,W, got ", name_of(labels.dtype()), " ", labels.shape());
  const PostprocessOptions o = resolved(given, spacing);
  const std::int64_t least = voxels_of(o.min_volume_um3, spacing);
  if (o.keep_largest || least > 1) {
    auto* v = labels.mutable_data<std::uint8_t>();
    const Box box = boxes_of(labels.shape(), 1, [&](std::int64_t i) { return v[i] != 0; })[1];
    if (box.size[0] == 0) return;
    Tensor inner = empty(shape_of(box), {.dtype = DType::u8});
    auto* p = inner.mutable_data<std::uint8_t>();
    for_each(box, labels.shape(), [&](std::int64_t i, std::int64_t j) { p[j] = v[i]; });
    const Components parts = connected_components(inner, Connectivity::corners);
    const auto* part = parts.labels.data<std::int32_t>();
    std::vector<std::uint8_t> class_of(parts.sizes.size(), 0);
    for (std::int64_t j = 0; j < inner.size(); ++j) class_of[static_cast<std::size_t>(part[j])] = p[j];
    std::vector<std::size_t> largest(256, 0);  // of each class; 0: none
    for (std::size_t n = 1; n < parts.sizes.size(); ++n) {
      std::size_t& best = largest[class_of[n]];
      if (best == 0 || parts.sizes[n] > parts.sizes[best]) best = n;
    }
    for_each(box, labels.shape(), [&](std::int64_t i, std::int64_t j) {
      const auto n = static_cast<std::size_t>(part[j]);
      if (n && (parts.sizes[n] < least || (o.keep_largest && largest[class_of[n]] != n))) v[i] = 0;
    });
  }
  if (o.fill_holes) fill_holes_within<std::uint8_t>(labels, 255);
}

Tensor labels_of_signed(const Tensor& distance, const Spacing& spacing, const PostprocessOptions& given) {
  const float* d = field_of(distance, 3, "signed distance");
  const PostprocessOptions o = resolved(given, spacing);
  Tensor labels = empty(distance.shape(), {.dtype = DType::u8});
  auto* v = labels.mutable_data<std::uint8_t>();
  const auto limit = static_cast<float>(o.threshold_um);
  for (std::int64_t i = 0; i < distance.size(); ++i) v[i] = d[i] > limit ? 1 : d[i] < -limit ? 2 : 0;
  clean_classes(labels, spacing, o);
  return labels;
}

Tensor labels_of_scores(const Tensor& scores, const Spacing& spacing, const PostprocessOptions& o) {
  const float* s = field_of(scores, 4, "class scores");
  const std::int64_t classes = scores.dim(0);
  check(classes >= 2 && classes <= 256, "class scores: ", classes, " classes, expected 2 to 256");
  Tensor labels = zeros({scores.dim(1), scores.dim(2), scores.dim(3)}, {.dtype = DType::u8});
  auto* v = labels.mutable_data<std::uint8_t>();
  const std::int64_t n = labels.size();
  for (std::int64_t c = 1; c < classes; ++c)
    for (std::int64_t i = 0; i < n; ++i)
      if (s[c * n + i] > s[v[i] * n + i]) v[i] = static_cast<std::uint8_t>(c);
  clean_classes(labels, spacing, o);
  return labels;
}

Tensor labels_of_instances(const Tensor& distance, const Spacing& spacing, const PostprocessOptions& given) {
  const float* d = field_of(distance, 3, "instance distance");
  const PostprocessOptions o = resolved(given, spacing);
  Tensor labels = zeros(distance.shape(), {.dtype = DType::i32});
  const auto limit = static_cast<float>(o.threshold_um);
  const Box box = boxes_of(distance.shape(), 1, [&](std::int64_t i) { return d[i] > limit; })[1];
  if (box.size[0] == 0) return labels;
  Tensor inner = empty(shape_of(box), {.dtype = DType::f32});
  auto* p = inner.mutable_data<float>();
  for_each(box, distance.shape(), [&](std::int64_t i, std::int64_t j) { p[j] = d[i]; });
  const Tensor found =
      instances_of(inner, o.threshold_um, spacing,
                   {.min_height = o.threshold_um, .prominence = o.prominence_um, .min_distance = o.peak_distance_um},
                   std::max<std::int64_t>(1, voxels_of(o.min_volume_um3, spacing)));
  const std::vector<std::int64_t> sizes = label_sizes(found);
  std::vector<std::int32_t> order(sizes.size()), number(sizes.size(), 0);
  std::iota(order.begin(), order.end(), 0);
  if (order.size() > 1)
    std::stable_sort(order.begin() + 1, order.end(), [&](std::int32_t a, std::int32_t b) {
      return sizes[static_cast<std::size_t>(a)] > sizes[static_cast<std::size_t>(b)];
    });
  std::int32_t next = 0;
  for (std::size_t k = 1; k < order.size(); ++k)
    if (sizes[static_cast<std::size_t>(order[k])] > 0) number[static_cast<std::size_t>(order[k])] = ++next;
  const auto* f = found.data<std::int32_t>();
  auto* v = labels.mutable_data<std::int32_t>();
  for_each(box, distance.shape(), [&](std::int64_t i, std::int64_t j) { v[i] = number[static_cast<std::size_t>(f[j])]; });
  if (o.fill_holes) fill_holes_within<std::int32_t>(labels, next);
  return labels;
}

}  // namespace cuboid::deepis
