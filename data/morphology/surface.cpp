// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/surface.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "data/morphology/components.h"
#include "data/morphology/distance.h"

namespace cuboid {
namespace {

using morphology::Grid;

/// The stretch of the volume that holds a mask, with room for the smoothing around it; as large as the volume at most.
struct Box {
  std::array<std::int64_t, 3> low{}, high{};
  bool empty = true;
};

Box box_of(const std::uint8_t* mask, const Grid& g, const std::array<std::int64_t, 3>& room) {
  Box b;
  std::array<std::int64_t, 3> low = {g.d, g.h, g.w}, high = {0, 0, 0};
  std::int64_t at = 0;
  for (std::int64_t z = 0; z < g.d; ++z)
    for (std::int64_t y = 0; y < g.h; ++y)
      for (std::int64_t x = 0; x < g.w; ++x, ++at) {
        if (mask[at] == 0) continue;
        b.empty = false;
        const std::array<std::int64_t, 3> here = {z, y, x};
        for (std::size_t a = 0; a < 3; ++a) {
          low[a] = std::min(low[a], here[a]);
          high[a] = std::max(high[a], here[a] + 1);
        }
      }
  for (std::size_t a = 0; a < 3; ++a) {
    b.low[a] = std::max<std::int64_t>(0, low[a] - room[a]);
    b.high[a] = std::min(g.dim(static_cast<int>(a)), high[a] + room[a]);
  }
  return b;
}

/// Half of a Gaussian's weights from the centre on; all of them sum to 1.
std::vector<float> half_gaussian(double sigma) {  // in voxels
  const auto reach = std::max<std::int64_t>(1, std::lround(3.0 * sigma));
  std::vector<double> w(static_cast<std::size_t>(reach) + 1);
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const auto x = static_cast<double>(i);
    w[i] = std::exp(-x * x / (2 * sigma * sigma));
    sum += (i ? 2 : 1) * w[i];
  }
  std::vector<float> half(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) half[i] = static_cast<float>(w[i] / sum);
  return half;
}

/// A mask, less its partner where there is one, smoothed by the same Gaussian in every direction (in µm), within a box. At the
/// volume's borders the masks go on as they are.
class Smooth {
 public:
  Smooth(const std::uint8_t* mask, const std::uint8_t* partner, const Grid& g, const Spacing& spacing) : spacing_(spacing) {
    const double sigma = 0.7 * std::max({spacing[0], spacing[1], spacing[2]});
    std::array<std::vector<float>, 3> weights;
    std::array<std::int64_t, 3> room{};
    for (std::size_t a = 0; a < 3; ++a) {
      weights[a] = half_gaussian(sigma / spacing[a]);
      room[a] = 2;
    }
    box_ = box_of(mask, g, room);
    if (box_.empty) return;
    for (std::size_t a = 0; a < 3; ++a) size_[a] = box_.high[a] - box_.low[a];
    values_.resize(static_cast<std::size_t>(size_[0] * size_[1] * size_[2]));
    for (std::int64_t z = 0; z < size_[0]; ++z)
      for (std::int64_t y = 0; y < size_[1]; ++y)
        for (std::int64_t x = 0; x < size_[2]; ++x) {
          const std::int64_t at = ((z + box_.low[0]) * g.h + y + box_.low[1]) * g.w + x + box_.low[2];
          values_[index(z, y, x)] = static_cast<float>(mask[at] - (partner ? partner[at] : 0));
        }
    for (std::size_t a = 0; a < 3; ++a) along(a, weights[a]);
  }

  const Box& box() const { return box_; }

  /// The cosine between axis `a` and the normal of the surface at the face between voxel v of the volume and the next one along
  /// a.
  double cosine(std::array<std::int64_t, 3> v, std::size_t a) const {
    for (std::size_t i = 0; i < 3; ++i) v[i] -= box_.low[i];
    std::array<std::int64_t, 3> next = v;
    ++next[a];
    double squares = 0, own = 0;
    for (std::size_t b = 0; b < 3; ++b) {
      const double slope = slope_at(v, b) + slope_at(next, b);
      squares += slope * slope;
      if (b == a) own = slope;
    }
    return squares > 0 ? std::abs(own) / std::sqrt(squares) : 1;
  }

 private:
  std::size_t index(std::int64_t z, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>((z * size_[1] + y) * size_[2] + x);
  }
  double value(const std::array<std::int64_t, 3>& v) const { return static_cast<double>(values_[index(v[0], v[1], v[2])]); }
  /// Central difference along b, averaged by 1/6, 2/3, 1/6 across: a difference over two voxels blurs along b as much as these
  /// weights do across, so that all three slopes see the mask through one and the same blur and the direction they make is right.
  double slope_at(const std::array<std::int64_t, 3>& v, std::size_t b) const {
    const std::size_t c = (b + 1) % 3, d = (b + 2) % 3;
    constexpr double weights[3] = {1.0 / 6, 2.0 / 3, 1.0 / 6};
    double sum = 0;
    for (int i = -1; i <= 1; ++i)
      for (int k = -1; k <= 1; ++k) {
        std::array<std::int64_t, 3> low = v;
        low[c] = std::clamp<std::int64_t>(v[c] + i, 0, size_[c] - 1);
        low[d] = std::clamp<std::int64_t>(v[d] + k, 0, size_[d] - 1);
        std::array<std::int64_t, 3> high = low;
        low[b] = std::max<std::int64_t>(0, v[b] - 1);
        high[b] = std::min(size_[b] - 1, v[b] + 1);
        sum += weights[i + 1] * weights[k + 1] * (value(high) - value(low));
      }
    return sum / spacing_[b];
  }
  void along(std::size_t axis, const std::vector<float>& weights) {
    const std::int64_t n = size_[axis], stride = axis == 0 ? size_[1] * size_[2] : axis == 1 ? size_[2] : 1;
    const std::int64_t lines = static_cast<std::int64_t>(values_.size()) / n;
    const auto reach = static_cast<std::int64_t>(weights.size()) - 1;
    parallel_ranges(lines, 64, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> line(static_cast<std::size_t>(n + 2 * reach));
      for (std::int64_t l = begin; l < end; ++l) {
        float* p = values_.data() + l / stride * stride * n + l % stride;
        for (std::int64_t i = -reach; i < n + reach; ++i)
          line[static_cast<std::size_t>(i + reach)] = p[std::clamp<std::int64_t>(i, 0, n - 1) * stride];
        for (std::int64_t i = 0; i < n; ++i) {
          const float* middle = line.data() + i + reach;
          float sum = weights[0] * middle[0];
          for (std::int64_t k = 1; k <= reach; ++k) sum += weights[static_cast<std::size_t>(k)] * (middle[-k] + middle[k]);
          p[i * stride] = sum;
        }
      }
    });
  }

  Spacing spacing_;
  Box box_;
  std::array<std::int64_t, 3> size_{};
  std::vector<float> values_;
};

/// Sum over the faces between inside and outside of the face's share of the surface, where wanted(inside, outside) says so.
template <class Wanted>
double faces(const std::uint8_t* mask, const std::uint8_t* partner, const Grid& g, const Spacing& spacing, Wanted&& wanted) {
  const Smooth smooth(mask, partner, g, spacing);
  const Box& box = smooth.box();
  if (box.empty) return 0;
  const std::array<double, 3> area = {spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]};
  std::vector<double> sums(static_cast<std::size_t>(box.high[0] - box.low[0]), 0);  // by slice, added in order
  parallel_for(box.high[0] - box.low[0], [&](std::int64_t slice) {
    const std::int64_t z = box.low[0] + slice;
    double sum = 0;
    for (std::int64_t y = box.low[1]; y < box.high[1]; ++y)
      for (std::int64_t x = box.low[2]; x < box.high[2]; ++x) {
        const std::int64_t at = (z * g.h + y) * g.w + x;
        const std::array<std::int64_t, 3> v = {z, y, x};
        for (std::size_t a = 0; a < 3; ++a) {
          if (v[a] + 1 >= box.high[a]) continue;
          const std::int64_t next = at + g.stride(static_cast<int>(a));
          if (mask[at] == mask[next]) continue;
          if (!wanted(mask[at] ? at : next, mask[at] ? next : at)) continue;
          sum += area[a] * smooth.cosine(v, a);
        }
      }
    sums[static_cast<std::size_t>(slice)] = sum;
  });
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

}  // namespace

double surface_area(const Tensor& volume, const Spacing& spacing) {
  morphology::check_spacing(spacing, "surface");
  const Tensor mask = morphology::as_mask(volume, "surface");
  return faces(mask.data<std::uint8_t>(), nullptr, Grid(mask.shape()), spacing, [](auto, auto) { return true; });
}

double contact_area(const Tensor& volume, std::int32_t a, std::int32_t b, const Spacing& spacing, double reach) {
  morphology::check_spacing(spacing, "contact");
  check<DataError>(a != b && a != 0 && b != 0, "contact: between labels ", a, " and ", b);
  check<DataError>(std::isfinite(reach) && reach >= 0, "contact: a reach of ", reach);
  const Tensor labels = morphology::as_labels(volume, "contact");
  const Grid g(labels.shape());
  double both = 0;
  for (const auto& [own, other] : {std::pair{a, b}, std::pair{b, a}}) {
    const Tensor mask = mask_of(labels, own), partner = mask_of(labels, other);
    const auto* there = partner.data<std::uint8_t>();
    if (reach == 0) {
      both +=
          faces(mask.data<std::uint8_t>(), there, g, spacing, [&](auto, std::int64_t outside) { return there[outside] != 0; });
      continue;
    }
    const Tensor distance = distance_to(partner, spacing, {.limit = 2 * reach + 1});
    const float* away = distance.data<float>();
    both += faces(mask.data<std::uint8_t>(), there, g, spacing,
                  [&](auto, std::int64_t outside) { return static_cast<double>(away[outside]) <= reach * (1 + 1e-6); });
  }
  return both / 2;
}

Tensor boundary_voxels(const Tensor& volume) {
  const Tensor mask = morphology::as_mask(volume, "boundary"), result = empty(mask.shape(), {.dtype = DType::u8});
  const Grid g(mask.shape());
  const auto* in = mask.data<std::uint8_t>();
  auto* out = result.mutable_data<std::uint8_t>();
  parallel_for(g.d, [&](std::int64_t z) {
    std::int64_t at = z * g.h * g.w;
    for (std::int64_t y = 0; y < g.h; ++y)
      for (std::int64_t x = 0; x < g.w; ++x, ++at) {
        const auto outside = [&](bool border, std::int64_t neighbour) { return border || in[neighbour] == 0; };
        out[at] = in[at] &&
                  (outside(x == 0, at - 1) || outside(x == g.w - 1, at + 1) || outside(y == 0, at - g.w) ||
                   outside(y == g.h - 1, at + g.w) || outside(z == 0, at - g.h * g.w) || outside(z == g.d - 1, at + g.h * g.w));
      }
  });
  return result;
}

}  // namespace cuboid
