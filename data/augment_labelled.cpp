// SPDX-License-Identifier: Apache-2.0
#include "data/augment_labelled.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "data/augment_map.h"

namespace cuboid {
namespace {

constexpr std::uint64_t pair_stream = 0x61756770616972;  // "augpair"

Shape spatial(const Tensor& image) { return {image.dim(1), image.dim(2), image.dim(3)}; }

/// Part of axis `n` that is kept.
struct Window {
  std::array<std::int64_t, 3> first{};
  Shape size;
  Window(const Shape& whole, const Shape& keep) : size(keep.empty() ? whole : keep) {
    check(size.rank() == 3, "augment: keep has 3 sizes, got ", keep);
    for (int a = 0; a < 3; ++a) {
      check(size[a] >= 1 && size[a] <= whole[a], "augment: ", size, " of ", whole, " cannot be kept");
      first[static_cast<std::size_t>(a)] = (whole[a] - size[a]) / 2;
    }
  }
};

/// `from`, [..,D,H,W], within the window, mirrored along the axes in `flip`; the tensor itself where nothing changes.
Tensor cropped(const Tensor& from, const Window& window, const std::array<bool, 3>& flip = {}) {
  if (!from.defined()) return from;
  const int lead = from.rank() - 3;
  Shape size;
  for (int a = 0; a < lead; ++a) size.push_back(from.dim(a));
  for (int a = 0; a < 3; ++a) size.push_back(window.size[a]);
  const bool flips = flip[0] || flip[1] || flip[2];
  if (size == from.shape() && !flips) return from;
  const Tensor to = empty(size, {.dtype = from.dtype()});
  const std::int64_t d = from.dim(lead), h = from.dim(lead + 1), w = from.dim(lead + 2), channels = from.size() / (d * h * w);
  visit(from.dtype(), [&]<class T>() {
    const T* in = from.data<T>();
    T* out = to.mutable_data<T>();
    const auto source = [&](std::int64_t i, std::size_t a, std::int64_t n) {
      const std::int64_t at = window.first[a] + i;
      return flip[a] ? n - 1 - at : at;
    };
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t z = 0; z < window.size[0]; ++z)
        for (std::int64_t y = 0; y < window.size[1]; ++y, out += window.size[2]) {
          const T* row = in + ((c * d + source(z, 0, d)) * h + source(y, 1, h)) * w;
          const T* begin = row + window.first[2];
          if (flip[2]) std::reverse_copy(row + w - window.first[2] - window.size[2], row + w - window.first[2], out);
          else std::copy(begin, begin + window.size[2], out);
        }
  });
  return to;
}

/// One whole movement: from a place of the output's frame to one of the input's.
class Movement {
 public:
  Movement(const Shape& shape, const Spacing& spacing, const PairDraw& draw) : shape_(shape), spacing_(spacing), draw_(draw) {
    const double angle = draw.degrees * std::numbers::pi / 180;
    cos_ = std::cos(angle);
    sin_ = std::sin(angle);
    if (draw.alpha != 0) {
      Random random(draw.field);
      for (auto& f : field_) f = smooth_field(shape[1], shape[2], draw.alpha, draw.sigma, random);
    }
  }

  /// Of pixel (i, j) of the output.
  PlanePoint in_plane(std::int64_t i, std::int64_t j) const {
    double y = unzoomed(i, 1), x = unzoomed(j, 2);
    if (draw_.alpha != 0) {
      const double dy = displacement(field_[0], y, x), dx = displacement(field_[1], y, x);
      y = within(y + dy, shape_[1]);
      x = within(x + dx, shape_[2]);
    }
    if (draw_.degrees != 0) {
      // In µm, so that cells keep their shape where voxels are not square.
      const double cy = static_cast<double>(shape_[1] - 1) / 2, cx = static_cast<double>(shape_[2] - 1) / 2;
      const double uy = (y - cy) * spacing_[1], ux = (x - cx) * spacing_[2];
      y = (ux * sin_ + uy * cos_) / spacing_[1] + cy;
      x = (ux * cos_ - uy * sin_) / spacing_[2] + cx;
      if (outside(y, shape_[1]) || outside(x, shape_[2])) return {.fill = true};
    }
    if (draw_.flip[1]) y = static_cast<double>(shape_[1] - 1) - y;
    if (draw_.flip[2]) x = static_cast<double>(shape_[2] - 1) - x;
    return {y, x};
  }
  /// Of slice i of the output.
  SlicePlace along_z(std::int64_t i) const {
    double z = unzoomed(i, 0);
    if (draw_.flip[0]) z = static_cast<double>(shape_[0] - 1) - z;
    z = std::clamp(z, 0.0, static_cast<double>(shape_[0] - 1));
    const double low = std::floor(z);
    return {static_cast<std::int64_t>(low), z - low};
  }

 private:
  static bool outside(double v, std::int64_t n) { return v < -1e-9 || v > static_cast<double>(n - 1) + 1e-9; }
  /// Reflected about the outer edges of the first and last pixel.
  static double within(double v, std::int64_t n) {
    const auto size = static_cast<double>(n);
    if (v < -0.5) v = -1 - v;
    if (v > size - 0.5) v = 2 * size - 1 - v;
    return std::clamp(v, 0.0, size - 1);
  }
  double unzoomed(std::int64_t i, std::size_t axis) const {
    if (draw_.zoom == 1) return static_cast<double>(i);
    const std::int64_t n = shape_[static_cast<int>(axis)];
    const double start = draw_.part[axis] * static_cast<double>(n) * (draw_.zoom - 1);
    return within((static_cast<double>(i) + 0.5 + start) / draw_.zoom - 0.5, n);
  }
  double displacement(const std::vector<float>& field, double y, double x) const {
    const auto y0 = static_cast<std::int64_t>(y), x0 = static_cast<std::int64_t>(x);
    const std::int64_t y1 = std::min(y0 + 1, shape_[1] - 1), x1 = std::min(x0 + 1, shape_[2] - 1);
    const double ty = y - static_cast<double>(y0), tx = x - static_cast<double>(x0);
    const auto at = [&](std::int64_t v, std::int64_t u) {
      return static_cast<double>(field[static_cast<std::size_t>(v * shape_[2] + u)]);
    };
    return (1 - ty) * ((1 - tx) * at(y0, x0) + tx * at(y0, x1)) + ty * ((1 - tx) * at(y1, x0) + tx * at(y1, x1));
  }

  Shape shape_;
  Spacing spacing_;
  const PairDraw& draw_;
  double cos_, sin_;
  std::array<std::vector<float>, 2> field_;  // displacements along y and x
};

/// The movement's maps for the part of the output within a window.
struct Maps {
  PlaneMap plane;
  std::vector<SlicePlace> slices;
  Maps(const Movement& movement, const Shape& shape, const Window& window)
      : plane(shape[1], shape[2], window.size[1], window.size[2],
              [&](std::int64_t i, std::int64_t j) { return movement.in_plane(i + window.first[1], j + window.first[2]); }) {
    for (std::int64_t i = 0; i < window.size[0]; ++i) slices.push_back(movement.along_z(i + window.first[0]));
  }
};

Tensor moved_image(const Tensor& image, const Maps& maps, const Window& window, bool cubic, bool background) {
  const std::int64_t channels = image.dim(0), voxels = spatial(image).count(), kept = window.size.count();
  const Tensor to = empty({channels, window.size[0], window.size[1], window.size[2]});
  const float* in = image.data<float>();
  float* out = to.mutable_data<float>();
  for (std::int64_t c = 0; c < channels; ++c) {
    float fill = 0;
    if (background) {
      const Shape one = {1, image.dim(1), image.dim(2), image.dim(3)};
      fill = background_of(Tensor(image.storage(), image.offset() + c * voxels, one, dense_strides(one), DType::f32));
    }
    resample(in + c * voxels, spatial(image), maps.plane, maps.slices, cubic, fill, out + c * kept);
  }
  return to;
}

void check_pair(const ImageAndTruth& p, TruthKind kind) {
  check(p.image.defined() && p.image.rank() == 4 && p.image.dtype() == DType::f32 && p.image.is(Layout::contiguous) &&
            p.image.size() > 0,
        "augment: needs a contiguous f32 image [C,D,H,W], got ", p.image.defined() ? p.image.shape() : Shape{});
  const Shape shape = spatial(p.image);
  if (p.labels.defined())
    check(p.labels.shape() == shape && (p.labels.dtype() == DType::u8 || p.labels.dtype() == DType::i32) &&
              p.labels.is(Layout::contiguous),
          "augment: labels ", p.labels.dtype(), p.labels.shape(), " for an image of ", shape, "; needs u8 or i32, contiguous");
  if (p.target.defined())
    check(p.target.shape() == shape && p.target.dtype() == DType::f32 && p.target.is(Layout::contiguous), "augment: target ",
          p.target.dtype(), p.target.shape(), " for an image of ", shape, "; needs f32, contiguous");
  check(p.labels.defined() || (p.target.defined() && kind != TruthKind::labels), "augment: neither labels nor a distance");
  morphology::check_spacing(p.spacing, "augment");
}

}  // namespace

Tensor target_of(const Tensor& labels, const Spacing& spacing, TruthKind kind) {
  if (kind == TruthKind::labels) return {};
  double squares = 0;
  for (int a = 0; a < 3; ++a) squares += std::pow(static_cast<double>(labels.dim(a)) * spacing[static_cast<std::size_t>(a)], 2);
  const DistanceOptions options{.limit = std::sqrt(squares)};
  return kind == TruthKind::signed_distance ? signed_distance(labels, spacing, options)
                                            : instance_distance(labels, spacing, options);
}

PairDraw draw_pair_augmentation(const PairAugmentOptions& o, std::uint64_t seed, std::int64_t epoch, std::int64_t sample) {
  check(!o.elastic_kinds.empty() && o.zoom_low >= 1 && o.zoom_high >= o.zoom_low, "augment: zoom ", o.zoom_low, "..", o.zoom_high,
        ", ", o.elastic_kinds.size(), " kinds of elastic fields make no sense");
  const RandomKey key =
      RandomKey{seed, pair_stream, static_cast<std::uint64_t>(epoch)}.derive(static_cast<std::uint64_t>(sample));
  Random random(key.derive(0));
  // Every number is drawn whether it is used or not, so that switching one option on leaves the others as they were.
  PairDraw d;
  d.flip = {random.chance(o.flip_z), random.chance(o.flip_y), random.chance(o.flip_x)};
  const bool rotates = random.chance(o.rotate);
  const double turn = random.uniform();
  if (rotates) d.degrees = o.legacy ? 10 + std::floor(turn * 341) : (2 * turn - 1) * o.rotate_degrees;
  const bool bends = random.chance(o.elastic);
  const auto which = static_cast<std::size_t>(random.uniform() * static_cast<double>(o.elastic_kinds.size()));
  if (bends) {
    d.alpha = o.elastic_kinds[which].alpha;
    d.sigma = o.elastic_kinds[which].sigma;
  }
  d.field = key.derive(1);
  const bool zooms = random.chance(o.zoom);
  const double size = random.uniform();
  if (zooms) d.zoom = o.legacy ? 1.1 + 0.1 * std::floor(size * 3) : o.zoom_low + size * (o.zoom_high - o.zoom_low);
  for (auto& p : d.part) p = random.uniform();
  d.scale = 1 + random.uniform(-1, 1) * o.jitter_scale;
  d.shift = random.uniform(-1, 1) * o.jitter_shift;
  return d;
}

ImageAndTruth augment_pair(const ImageAndTruth& from, TruthKind kind, const PairDraw& draw, const PairAugmentOptions& options,
                           const Shape& keep) {
  check_pair(from, kind);
  const Shape shape = spatial(from.image);
  const Window window(shape, keep), whole(shape, {});
  const bool distance = kind != TruthKind::labels;
  ImageAndTruth to{.spacing = from.spacing};
  if (draw.degrees == 0 && draw.alpha == 0 && draw.zoom == 1) {
    to.image = cropped(from.image, window, draw.flip);
    const Tensor labels = from.labels.defined() ? from.labels : labels_of_signs(from.target);
    to.labels = cropped(labels, window, draw.flip);
    if (distance)
      to.target = cropped(from.target.defined() ? from.target : target_of(labels, from.spacing, kind), window, draw.flip);
  } else {
    const Movement movement(shape, from.spacing, draw);
    const Maps maps(movement, shape, window);
    const bool cubic = options.interpolation == ImageInterpolation::cubic;
    to.image = moved_image(from.image, maps, window, cubic, draw.degrees != 0 && options.fill == RotationFill::background);
    // Signs do not tell instances that touch apart: a map of their distances alone cannot be computed anew.
    const bool only_map = kind == TruthKind::instance_distance && !from.labels.defined();
    const bool carried = distance && from.target.defined() && (options.legacy || only_map);
    const Tensor labels = from.labels.defined() ? from.labels : labels_of_signs(from.target);
    if (!distance || carried) {
      to.labels = empty(window.size, {.dtype = labels.dtype()});
      resample_nearest(labels, maps.plane, maps.slices, to.labels);
    }
    if (carried) {
      to.target = empty(window.size);
      float* out = to.target.mutable_data<float>();
      resample(from.target.data<float>(), shape, maps.plane, maps.slices, cubic, 0, out);
      for (std::int64_t i = 0; i < to.target.size(); ++i) out[i] *= static_cast<float>(draw.zoom);
    } else if (distance) {
      // All of the labels, so that distances near the edge of what is kept are measured to what lies beyond it.
      const Tensor all = empty(shape, {.dtype = labels.dtype()});
      const Maps every = window.size == shape ? maps : Maps(movement, shape, whole);
      resample_nearest(labels, every.plane, every.slices, all);
      to.target = cropped(target_of(all, from.spacing, kind), window);
      to.labels = cropped(all, window);
    }
  }
  if (draw.scale != 1 || draw.shift != 0) {
    if (to.image.storage() == from.image.storage()) {  // nothing moved: the input stays as it is
      const Tensor own = empty(to.image.shape());
      copy(to.image, own);
      to.image = own;
    }
    float* p = to.image.mutable_data<float>();
    const auto scale = static_cast<float>(draw.scale), shift = static_cast<float>(draw.shift);
    for (std::int64_t i = 0; i < to.image.size(); ++i) p[i] = p[i] * scale + shift;
  }
  return to;
}

}  // namespace cuboid
