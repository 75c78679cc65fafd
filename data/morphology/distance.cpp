// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/distance.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "core/parallel.h"

namespace cuboid {
namespace {

using morphology::Grid;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t tile = 16;  // neighbouring lines worked on together, so that strided reads use whole cache lines

/// The lower envelope of parabolas over a line's positions, and room for one line.
class Envelope {
 public:
  explicit Envelope(std::int64_t length)
      : sites_(static_cast<std::size_t>(length + 2)), heights_(sites_.size()), starts_(sites_.size()) {}

  /// f[first..last) becomes min over q of f[q] + (step (p - q))^2, where q runs over the same places and, where `left` and
  /// `right` say so, over first - 1 and last, whose value is 0.
  void lower(double* f, std::int64_t first, std::int64_t last, bool left, bool right, double step) {
    count_ = 0;
    const double square = step * step;
    if (left) add(first - 1, 0, square);
    for (std::int64_t q = first; q < last; ++q)
      if (f[q] < infinity) add(q, f[q], square);
    if (right) add(last, 0, square);
    if (count_ == 0) return;
    std::size_t k = 0;
    for (std::int64_t p = first; p < last; ++p) {
      while (k + 1 < count_ && starts_[k + 1] <= static_cast<double>(p)) ++k;
      const auto away = static_cast<double>(p - sites_[k]);
      f[p] = heights_[k] + square * away * away;
    }
  }

 private:
  void add(std::int64_t q, double height, double square) {
    for (;;) {
      if (count_ == 0) {
        put(q, height, -infinity);
        return;
      }
      const std::int64_t v = sites_[count_ - 1];
      const double crossing =
          0.5 * static_cast<double>(q + v) + (height - heights_[count_ - 1]) / (2 * square * static_cast<double>(q - v));
      if (crossing > starts_[count_ - 1]) {
        put(q, height, crossing);
        return;
      }
      --count_;
    }
  }
  void put(std::int64_t q, double height, double start) {
    sites_[count_] = q;
    heights_[count_] = height;
    starts_[count_] = start;
    ++count_;
  }

  std::vector<std::int64_t> sites_;
  std::vector<double> heights_, starts_;  // from where on a parabola is the lowest
  std::size_t count_ = 0;
};

/// Calls f(begin, end) for each stretch of one label other than 0.
template <class T, class F>
void each_run(const T* labels, std::int64_t length, F&& f) {
  for (std::int64_t i = 0; i < length;) {
    const T label = labels[i];
    const std::int64_t begin = i++;
    while (i < length && labels[i] == label) ++i;
    if (label != 0) f(begin, i);
  }
}

template <class T>
void along_rows(const T* labels, double* squares, std::int64_t length, double step) {
  std::fill(squares, squares + length, 0.0);
  each_run(labels, length, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const double low = begin > 0 ? static_cast<double>(i - begin + 1) : infinity;
      const double high = end < length ? static_cast<double>(end - i) : infinity;
      const double away = step * std::min(low, high);
      squares[i] = away * away;
    }
  });
}

/// One tile of lines along an axis that is not the fastest: `width` neighbouring lines of `length`, `stride` apart along the
/// line.
template <class T>
struct Lines {
  std::int64_t length, stride, width;
  double step;
  std::vector<T> labels;
  std::vector<double> squares;
  Envelope envelope;

  Lines(std::int64_t n, std::int64_t s, double spacing)
      : length(n),
        stride(s),
        width(0),
        step(spacing),
        labels(static_cast<std::size_t>(n * tile)),
        squares(static_cast<std::size_t>(n * tile)),
        envelope(n) {}

  /// False where there is nothing but background.
  bool load(const T* from, const double* values, std::int64_t count) {
    width = count;
    bool any = false;
    for (std::int64_t i = 0; i < length; ++i)
      for (std::int64_t k = 0; k < width; ++k) {
        labels[static_cast<std::size_t>(k * length + i)] = from[i * stride + k];
        any |= from[i * stride + k] != 0;
      }
    if (!any) return false;
    for (std::int64_t i = 0; i < length; ++i)
      for (std::int64_t k = 0; k < width; ++k) squares[static_cast<std::size_t>(k * length + i)] = values[i * stride + k];
    return true;
  }
  void work() {
    for (std::int64_t k = 0; k < width; ++k) {
      double* f = squares.data() + k * length;
      each_run(labels.data() + k * length, length,
               [&](std::int64_t begin, std::int64_t end) { envelope.lower(f, begin, end, begin > 0, end < length, step); });
    }
  }
};

/// Squared distances to the nearest voxel of another label; infinite where there is none.
template <class T>
void squared(const T* labels, const Grid& g, const Spacing& spacing, double* squares) {
  const std::int64_t plane = g.h * g.w;
  parallel_for(g.d, [&](std::int64_t z) {
    for (std::int64_t y = 0; y < g.h; ++y) {
      const std::int64_t at = z * plane + y * g.w;
      along_rows(labels + at, squares + at, g.w, spacing[2]);
    }
    Lines<T> lines(g.h, g.w, spacing[1]);
    for (std::int64_t x = 0; x < g.w; x += tile) {
      const std::int64_t at = z * plane + x, width = std::min(tile, g.w - x);
      if (!lines.load(labels + at, squares + at, width)) continue;
      lines.work();
      for (std::int64_t y = 0; y < g.h; ++y)
        for (std::int64_t k = 0; k < width; ++k) squares[at + y * g.w + k] = lines.squares[static_cast<std::size_t>(k * g.h + y)];
    }
  });
  parallel_for(g.h, [&](std::int64_t y) {
    Lines<T> lines(g.d, plane, spacing[0]);
    for (std::int64_t x = 0; x < g.w; x += tile) {
      const std::int64_t at = y * g.w + x, width = std::min(tile, g.w - x);
      if (!lines.load(labels + at, squares + at, width)) continue;
      lines.work();
      for (std::int64_t z = 0; z < g.d; ++z)
        for (std::int64_t k = 0; k < width; ++k)
          squares[at + z * plane + k] = lines.squares[static_cast<std::size_t>(k * g.d + z)];
    }
  });
}

/// f32: sign(label) times the distance.
template <class T, class Sign>
Tensor distances(const Tensor& labels, const Spacing& spacing, const DistanceOptions& options, const char* who, Sign&& sign) {
  morphology::check_spacing(spacing, who);
  check(!options.limit || *options.limit > 0, who, ": limit ", options.limit.value_or(0));
  const Grid g(labels.shape());
  const T* in = labels.data<T>();
  const Tensor squares = empty(labels.shape(), {.dtype = DType::f64}), result = empty(labels.shape());
  auto* square = squares.mutable_data<double>();
  auto* out = result.mutable_data<float>();
  squared(in, g, spacing, square);
  const double limit = options.limit.value_or(infinity);
  std::atomic<bool> endless = false;
  parallel_for(g.d, [&](std::int64_t z) {
    bool found = false;
    for (std::int64_t i = z * g.h * g.w; i < (z + 1) * g.h * g.w; ++i) {
      const double distance = std::min(limit, std::sqrt(square[i]));
      found |= distance == infinity;
      out[i] = static_cast<float>(sign(in[i]) * distance);
    }
    if (found) endless = true;
  });
  check<DataError>(!endless, who, ": one label fills the whole volume; there is nothing to measure a distance to");
  return result;
}

template <class Sign>
Tensor of_labels(const Tensor& volume, const Spacing& spacing, const DistanceOptions& options, const char* who, Sign&& sign) {
  const Tensor labels = morphology::as_labels(volume, who);
  if (labels.dtype() == DType::u8) return distances<std::uint8_t>(labels, spacing, options, who, sign);
  return distances<std::int32_t>(labels, spacing, options, who, sign);
}

constexpr auto plus = [](auto) { return 1.0; };

}  // namespace

Tensor distance_transform(const Tensor& mask, const Spacing& spacing, const DistanceOptions& options) {
  return distances<std::uint8_t>(morphology::as_mask(mask, "distance transform"), spacing, options, "distance transform", plus);
}

Tensor distance_to(const Tensor& mask, const Spacing& spacing, const DistanceOptions& options) {
  const Tensor inside = morphology::as_mask(mask, "distance to a mask"), outside = empty(mask.shape(), {.dtype = DType::u8});
  const auto* in = inside.data<std::uint8_t>();
  auto* out = outside.mutable_data<std::uint8_t>();
  bool any = options.limit.has_value();
  for (std::int64_t i = 0; i < inside.size(); ++i) {
    out[i] = in[i] == 0;
    any |= in[i] != 0;
  }
  check<DataError>(any, "distance to a mask: the mask is empty");
  return distances<std::uint8_t>(outside, spacing, options, "distance to a mask", plus);
}

Tensor instance_distance(const Tensor& labels, const Spacing& spacing, const DistanceOptions& options) {
  return of_labels(labels, spacing, options, "instance distance", plus);
}

Tensor signed_distance(const Tensor& labels, const Spacing& spacing, const DistanceOptions& options) {
  const Tensor checked = morphology::as_labels(labels, "signed distance");
  visit(checked.dtype(), [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      const T* p = checked.data<T>();
      for (std::int64_t i = 0; i < checked.size(); ++i)
        check<DataError>(p[i] >= 0 && p[i] <= 2, "signed distance: label ", static_cast<std::int64_t>(p[i]),
                         "; it knows 1 (positive), 2 (negative) and 0");
    }
  });
  return of_labels(checked, spacing, options, "signed distance", [](auto label) { return label == 2 ? -1.0 : 1.0; });
}

Tensor labels_of_signs(const Tensor& distance, double outside) {
  check<DataError>(distance.defined() && distance.rank() == 3 && is_floating(distance.dtype()) && distance.is(Layout::contiguous),
                   "labels of signs: needs a contiguous map of distances [D,H,W], got ",
                   distance.defined() ? distance.shape() : Shape{});
  const Tensor labels = empty(distance.shape(), {.dtype = DType::u8});
  auto* out = labels.mutable_data<std::uint8_t>();
  visit_floating(distance.dtype(), "labels of signs", [&]<class T>() {
    const T* in = distance.data<T>();
    for (std::int64_t i = 0; i < distance.size(); ++i) {
      const auto d = static_cast<double>(in[i]);
      out[i] = d > outside ? 1 : d < -outside ? 2 : 0;
    }
  });
  return labels;
}

}  // namespace cuboid
