// SPDX-License-Identifier: Apache-2.0
#include "data/augment_map.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/parallel.h"
#include "core/random.h"

namespace cuboid {
namespace {

constexpr std::int64_t fill_rows = 4;  // below a padded plane: room for the neighbourhood of a fill

/// ... 2 1 0 1 2 ... n-1 n-2 ...
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  if (n == 1) return 0;
  const std::int64_t period = 2 * (n - 1);
  i = (i % period + period) % period;
  return i < n ? i : period - i;
}

/// Weights of the four B-splines around a place `t` of the way from the second to the third.
inline void spline_weights(float t, float (&w)[4]) {
  const float u = 1 - t;
  w[0] = u * u * u * (1.0f / 6);
  w[1] = (4 - 3 * t * t * (2 - t)) * (1.0f / 6);
  w[2] = (4 - 3 * u * u * (2 - u)) * (1.0f / 6);
  w[3] = t * t * t * (1.0f / 6);
}

}  // namespace

PlaneMap::PlaneMap(std::int64_t source_height, std::int64_t source_width, std::int64_t height, std::int64_t width,
                   const std::function<PlanePoint(std::int64_t, std::int64_t)>& place)
    : source_height_(source_height),
      source_width_(source_width),
      height_(height),
      width_(width),
      padded_width_(source_width + 3) {
  const auto count = static_cast<std::size_t>(height * width);
  at_.resize(count);
  share_y_.resize(count);
  share_x_.resize(count);
  nearest_.resize(count);
  // The second pixel of the second of the fill rows.
  const auto nothing = static_cast<std::int32_t>((source_height + 3 + 1) * padded_width_ + 1);
  std::size_t k = 0;
  for (std::int64_t i = 0; i < height; ++i)
    for (std::int64_t j = 0; j < width; ++j, ++k) {
      const PlanePoint p = place(i, j);
      if (p.fill) {
        at_[k] = nothing;
        share_y_[k] = share_x_[k] = 0;
        nearest_[k] = -1;
        continue;
      }
      const double y = std::clamp(p.y, 0.0, static_cast<double>(source_height - 1));
      const double x = std::clamp(p.x, 0.0, static_cast<double>(source_width - 1));
      const auto y0 = static_cast<std::int64_t>(y), x0 = static_cast<std::int64_t>(x);
      at_[k] = static_cast<std::int32_t>((y0 + 1) * padded_width_ + x0 + 1);
      share_y_[k] = static_cast<float>(y - static_cast<double>(y0));
      share_x_[k] = static_cast<float>(x - static_cast<double>(x0));
      nearest_[k] =
          static_cast<std::int32_t>(static_cast<std::int64_t>(y + 0.5) * source_width + static_cast<std::int64_t>(x + 0.5));
    }
}

std::size_t PlaneMap::padded_size() const { return static_cast<std::size_t>((source_height_ + 3 + fill_rows) * padded_width_); }

void PlaneMap::pad(float* padded, float fill) const {
  for (std::int64_t y = 0; y < source_height_; ++y) {
    float* row = padded + (y + 1) * padded_width_ + 1;
    row[-1] = row[mirrored(-1, source_width_)];
    row[source_width_] = row[mirrored(source_width_, source_width_)];
    row[source_width_ + 1] = row[mirrored(source_width_ + 1, source_width_)];
  }
  for (const std::int64_t y : {std::int64_t{-1}, source_height_, source_height_ + 1})
    std::memcpy(padded + (y + 1) * padded_width_, padded + (mirrored(y, source_height_) + 1) * padded_width_,
                static_cast<std::size_t>(padded_width_) * sizeof(float));
  std::fill_n(padded + (source_height_ + 3) * padded_width_, fill_rows * padded_width_, fill);
}

void PlaneMap::linear(const float* padded, float* out) const {
  const std::int64_t count = height_ * width_, step = padded_width_;
  const std::int32_t* at = at_.data();
  const float *ty = share_y_.data(), *tx = share_x_.data();
  for (std::int64_t i = 0; i < count; ++i) {
    const float* p = padded + at[i];
    const float above = p[0] + tx[i] * (p[1] - p[0]), below = p[step] + tx[i] * (p[step + 1] - p[step]);
    out[i] = above + ty[i] * (below - above);
  }
}

void PlaneMap::cubic(const float* padded, float* out) const {
  const std::int64_t count = height_ * width_, step = padded_width_;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto k = static_cast<std::size_t>(i);
    float wy[4], wx[4];
    spline_weights(share_y_[k], wy);
    spline_weights(share_x_[k], wx);
    const float* p = padded + at_[k] - step - 1;
    float sum = 0;
    for (int r = 0; r < 4; ++r, p += step) sum += wy[r] * (wx[0] * p[0] + wx[1] * p[1] + wx[2] * p[2] + wx[3] * p[3]);
    out[i] = sum;
  }
}

void spline_coefficients(float* values, std::int64_t n, std::int64_t stride, std::int64_t lanes) {
  if (n < 2) return;
  const float pole = static_cast<float>(std::sqrt(3.0) - 2);
  // The sum over the mirrored line, as far as f32 sees it.
  const std::int64_t horizon = std::min<std::int64_t>(n, 16);
  std::vector<float> first(static_cast<std::size_t>(lanes), 0);
  float power = 1;
  for (std::int64_t i = 0; i < horizon; ++i, power *= pole)
    for (std::int64_t l = 0; l < lanes; ++l) first[static_cast<std::size_t>(l)] += power * values[i * stride + l];
  if (n < 16) {  // the whole period 2n-2, then all periods after it
    for (std::int64_t i = n; i < 2 * n - 2; ++i, power *= pole)
      for (std::int64_t l = 0; l < lanes; ++l) first[static_cast<std::size_t>(l)] += power * values[(2 * n - 2 - i) * stride + l];
    for (auto& f : first) f /= 1 - power;
  }
  for (std::int64_t l = 0; l < lanes; ++l) values[l] = 6 * first[static_cast<std::size_t>(l)];
  for (std::int64_t i = 1; i < n; ++i) {
    float* row = values + i * stride;
    for (std::int64_t l = 0; l < lanes; ++l) row[l] = 6 * row[l] + pole * row[l - stride];
  }
  float* last = values + (n - 1) * stride;
  for (std::int64_t l = 0; l < lanes; ++l) last[l] = pole / (pole * pole - 1) * (last[l] + pole * last[l - stride]);
  for (std::int64_t i = n - 2; i >= 0; --i) {
    float* row = values + i * stride;
    for (std::int64_t l = 0; l < lanes; ++l) row[l] = pole * (row[l + stride] - row[l]);
  }
}

void resample(const float* from, const Shape& shape, const PlaneMap& plane, const std::vector<SlicePlace>& slices, bool cubic,
              float fill, float* to) {
  const std::int64_t d = shape[0], h = shape[1], w = shape[2], area = h * w, out = plane.height() * plane.width();
  const bool between = std::any_of(slices.begin(), slices.end(), [](const SlicePlace& s) { return s.share != 0; });
  std::vector<float> along_z;
  if (cubic && between && d > 1) {
    along_z.assign(from, from + shape.count());
    for (std::int64_t y = 0; y < h; ++y) spline_coefficients(along_z.data() + y * w, d, area, w);
    from = along_z.data();
  }
  parallel_for(static_cast<std::int64_t>(slices.size()), [&](std::int64_t k) {
    const SlicePlace& s = slices[static_cast<std::size_t>(k)];
    std::vector<float> padded(plane.padded_size());
    float* middle = plane.middle(padded.data());
    const std::int64_t step = plane.padded_width();
    if (!along_z.empty()) {
      float weights[4];
      spline_weights(static_cast<float>(s.share), weights);
      const float* p[4];
      for (int i = 0; i < 4; ++i) p[i] = from + mirrored(s.low - 1 + i, d) * area;
      for (std::int64_t y = 0; y < h; ++y)
        for (std::int64_t x = 0; x < w; ++x) {
          const std::int64_t at = y * w + x;
          middle[y * step + x] = weights[0] * p[0][at] + weights[1] * p[1][at] + weights[2] * p[2][at] + weights[3] * p[3][at];
        }
    } else {
      const float *low = from + s.low * area, *high = from + std::min(s.low + 1, d - 1) * area;
      const auto share = static_cast<float>(s.share);
      for (std::int64_t y = 0; y < h; ++y) {
        if (share == 0) std::memcpy(middle + y * step, low + y * w, static_cast<std::size_t>(w) * sizeof(float));
        else
          for (std::int64_t x = 0; x < w; ++x) middle[y * step + x] = low[y * w + x] + share * (high[y * w + x] - low[y * w + x]);
      }
    }
    if (cubic) {
      spline_coefficients(middle, h, step, w);
      // Along x: several rows at a time, turned, so that the recursion runs beside itself.
      constexpr std::int64_t lanes = 16;
      std::vector<float> turned(static_cast<std::size_t>(w * lanes));
      for (std::int64_t y = 0; y < h; y += lanes) {
        const std::int64_t rows = std::min(lanes, h - y);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t x = 0; x < w; ++x) turned[static_cast<std::size_t>(x * lanes + r)] = middle[(y + r) * step + x];
        spline_coefficients(turned.data(), w, lanes, lanes);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t x = 0; x < w; ++x) middle[(y + r) * step + x] = turned[static_cast<std::size_t>(x * lanes + r)];
      }
    }
    plane.pad(padded.data(), fill);
    if (cubic) plane.cubic(padded.data(), to + k * out);
    else plane.linear(padded.data(), to + k * out);
  });
}

void resample_nearest(const Tensor& from, const PlaneMap& plane, const std::vector<SlicePlace>& slices, const Tensor& to) {
  const std::int64_t area = from.dim(1) * from.dim(2), out = plane.height() * plane.width();
  const auto work = [&]<class T>(const T* in, T* result) {
    parallel_for(static_cast<std::int64_t>(slices.size()), [&](std::int64_t k) {
      const std::int64_t z = std::min(slices[static_cast<std::size_t>(k)].nearest(), from.dim(0) - 1);
      const T* slice = in + z * area;
      T* target = result + k * out;
      if (std::all_of(slice, slice + area, [](T v) { return v == 0; })) std::fill_n(target, out, T{0});
      else plane.nearest(slice, target);
    });
  };
  if (from.dtype() == DType::u8) work(from.data<std::uint8_t>(), to.mutable_data<std::uint8_t>());
  else work(from.data<std::int32_t>(), to.mutable_data<std::int32_t>());
}

std::vector<float> smooth_field(std::int64_t height, std::int64_t width, double alpha, double sigma, Random& random) {
  std::vector<float> field(static_cast<std::size_t>(height * width));
  for (auto& v : field) v = static_cast<float>(random.uniform(-alpha, alpha));
  const auto reach = std::max<std::int64_t>(1, std::lround(4 * sigma));
  std::vector<float> weights(static_cast<std::size_t>(2 * reach + 1));
  double sum = 0;
  for (std::int64_t i = -reach; i <= reach; ++i) sum += std::exp(-static_cast<double>(i * i) / (2 * sigma * sigma));
  for (std::int64_t i = -reach; i <= reach; ++i)
    weights[static_cast<std::size_t>(i + reach)] =
        static_cast<float>(std::exp(-static_cast<double>(i * i) / (2 * sigma * sigma)) / sum);
  // Whole rows are added to each other; then the same along x.
  std::vector<float> blurred(field.size(), 0);
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t i = -reach; i <= reach; ++i) {
      const float* row = field.data() + mirrored(y + i, height) * width;
      const float weight = weights[static_cast<std::size_t>(i + reach)];
      for (std::int64_t x = 0; x < width; ++x) blurred[static_cast<std::size_t>(y * width + x)] += weight * row[x];
    }
  std::vector<float> line(static_cast<std::size_t>(width + 2 * reach));
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = -reach; x < width + reach; ++x)
      line[static_cast<std::size_t>(x + reach)] = blurred[static_cast<std::size_t>(y * width + mirrored(x, width))];
    float* row = field.data() + y * width;
    std::fill_n(row, width, 0.0f);
    for (std::int64_t i = 0; i <= 2 * reach; ++i)
      for (std::int64_t x = 0; x < width; ++x)
        row[x] += weights[static_cast<std::size_t>(i)] * line[static_cast<std::size_t>(x + i)];
  }
  return field;
}

}  // namespace cuboid
