// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/watershed.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>

#include "data/morphology/components.h"

namespace cuboid {
namespace {

using morphology::Grid;
using morphology::Step;

struct Voxel {
  std::int64_t z, y, x;
  Voxel(std::int64_t at, const Grid& g) : z(at / (g.h * g.w)), y(at / g.w % g.h), x(at % g.w) {}
  bool has(const Step& s, const Grid& g) const {
    return z + s.z >= 0 && z + s.z < g.d && y + s.y >= 0 && y + s.y < g.h && x + s.x >= 0 && x + s.x < g.w;
  }
};

Tensor as_map(const Tensor& map, const char* who) {
  check<DataError>(map.defined() && map.rank() == 3 && map.size() > 0, who, ": needs a map [D,H,W] with voxels, got ",
                   map.defined() ? map.shape() : Shape{});
  if (map.dtype() == DType::f32 && map.is(Layout::contiguous)) return map;
  const Tensor converted = empty(map.shape());
  copy(map, converted);
  return converted;
}

/// Places in `map` above `threshold`, from the highest down, equal ones in order of memory.
std::vector<std::int64_t> descending(const float* map, std::int64_t count, double threshold) {
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < count; ++i) {
    check<DataError>(!std::isnan(map[i]), "peaks: the map holds NaN");
    if (static_cast<double>(map[i]) > threshold) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return map[a] > map[b]; });
  return order;
}

/// Peaks whose prominence is above the wanted one, in descending order: basins grow from the highest voxels down, and where two
/// meet the lower one's peak has found its way to a higher peak.
std::vector<std::int64_t> prominent(const float* map, const Grid& g, const PeakOptions& o) {
  const auto order = descending(map, g.size(), o.min_height);
  const auto steps = morphology::neighbours(g, o.connectivity);
  std::vector<std::int32_t> basin(static_cast<std::size_t>(g.size()), -1);  // of each voxel
  std::vector<std::int32_t> parent;                                         // of each basin
  std::vector<std::int64_t> peak;
  std::vector<bool> stays;
  const auto find = [&](std::int32_t b) {
    while (parent[static_cast<std::size_t>(b)] != b) {
      auto& p = parent[static_cast<std::size_t>(b)];
      p = parent[static_cast<std::size_t>(p)];
      b = p;
    }
    return b;
  };
  for (const std::int64_t at : order) {
    const Voxel v(at, g);
    std::int32_t own = -1;
    for (const Step& s : steps) {
      if (!v.has(s, g)) continue;
      const std::int32_t raw = basin[static_cast<std::size_t>(at + s.offset)];
      if (raw < 0) continue;
      std::int32_t other = find(raw);
      if (own < 0 || other == own) {
        own = other;
        continue;
      }
      if (other < own) std::swap(own, other);  // basins are numbered from the highest peak down: `other` ends here
      const auto lower = static_cast<std::size_t>(other);
      stays[lower] = static_cast<double>(map[peak[lower]]) - static_cast<double>(map[at]) > o.prominence;
      parent[lower] = own;
    }
    if (own < 0) {
      own = static_cast<std::int32_t>(parent.size());
      parent.push_back(own);
      peak.push_back(at);
      stays.push_back(true);
    }
    basin[static_cast<std::size_t>(at)] = own;
  }
  std::vector<std::int64_t> kept;
  for (std::size_t b = 0; b < peak.size(); ++b)
    if (stays[b]) kept.push_back(peak[b]);
  return kept;
}

}  // namespace

std::vector<Peak> find_peaks(const Tensor& volume, const Spacing& spacing, const PeakOptions& options) {
  morphology::check_spacing(spacing, "peaks");
  check(options.prominence >= 0 && options.min_distance >= 0, "peaks: prominence ", options.prominence, ", distance ",
        options.min_distance, "; neither can be negative");
  const Tensor map = as_map(volume, "peaks");
  const Grid g(map.shape());
  const float* p = map.data<float>();
  std::vector<Peak> peaks;
  for (const std::int64_t at : prominent(p, g, options)) {
    const Voxel v(at, g);
    const bool crowded = options.min_distance > 0 && std::any_of(peaks.begin(), peaks.end(), [&](const Peak& other) {
                           const std::array<std::int64_t, 3> here = {v.z, v.y, v.x};
                           double squares = 0;
                           for (std::size_t a = 0; a < 3; ++a) {
                             const double d = static_cast<double>(here[a] - other.at[a]) * spacing[a];
                             squares += d * d;
                           }
                           return squares < options.min_distance * options.min_distance;
                         });
    if (!crowded) peaks.push_back({{v.z, v.y, v.x}, static_cast<double>(p[at])});
  }
  return peaks;
}

Tensor seeds_of(const std::vector<Peak>& peaks, const Shape& shape) {
  const Tensor seeds = zeros(shape, {.dtype = DType::i32});
  auto* out = seeds.mutable_data<std::int32_t>();
  std::int32_t number = 0;
  for (const Peak& p : peaks) {
    for (std::size_t a = 0; a < 3; ++a)
      check(p.at[a] >= 0 && p.at[a] < shape[static_cast<int>(a)], "seeds: a peak at ", p.at[0], ", ", p.at[1], ", ", p.at[2],
            " in a volume of ", shape);
    out[(p.at[0] * shape[1] + p.at[1]) * shape[2] + p.at[2]] = ++number;
  }
  return seeds;
}

Tensor watershed(const Tensor& volume, const Tensor& seed_volume, const Tensor& mask_volume, Connectivity connectivity) {
  const Tensor map = as_map(volume, "watershed"), mask = morphology::as_mask(mask_volume, "watershed");
  const Tensor seeds = morphology::as_labels(seed_volume, "watershed");
  check<DataError>(map.shape() == mask.shape() && map.shape() == seeds.shape(), "watershed: map ", map.shape(), ", seeds ",
                   seeds.shape(), ", mask ", mask.shape(), " differ in shape");
  const Grid g(map.shape());
  const auto steps = morphology::neighbours(g, connectivity);
  const float* height = map.data<float>();
  const auto* inside = mask.data<std::uint8_t>();
  const Tensor labels = empty(map.shape(), {.dtype = DType::i32});
  copy(seeds, labels);
  auto* label = labels.mutable_data<std::int32_t>();

  struct Waiting {
    float height;
    std::int64_t turn, at;
    bool operator<(const Waiting& other) const {  // the last in this order is served first
      return height != other.height ? height < other.height : turn > other.turn;
    }
  };
  std::priority_queue<Waiting> queue;
  std::int64_t turn = 0;
  for (std::int64_t i = 0; i < g.size(); ++i) {
    check<DataError>(!std::isnan(height[i]), "watershed: the map holds NaN");
    if (inside[i] == 0) label[i] = 0;
    else if (label[i] != 0) queue.push({height[i], turn++, i});
  }
  while (!queue.empty()) {
    const Waiting now = queue.top();
    queue.pop();
    const Voxel v(now.at, g);
    for (const Step& s : steps) {
      if (!v.has(s, g)) continue;
      const std::int64_t next = now.at + s.offset;
      if (inside[next] == 0 || label[next] != 0) continue;
      label[next] = label[now.at];
      // Behind a ridge water stands as high as the pass it came over.
      queue.push({std::min(now.height, height[next]), turn++, next});
    }
  }
  return labels;
}

Tensor instances_of(const Tensor& volume, double threshold, const Spacing& spacing, const PeakOptions& options,
                    std::int64_t min_voxels) {
  const Tensor map = as_map(volume, "instances"), mask = empty(map.shape(), {.dtype = DType::u8});
  const float* p = map.data<float>();
  auto* inside = mask.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < map.size(); ++i) inside[i] = static_cast<double>(p[i]) > threshold;
  PeakOptions above = options;
  above.min_height = std::max(options.min_height, threshold);
  Tensor labels = watershed(map, seeds_of(find_peaks(map, spacing, above), map.shape()), mask, Connectivity::faces);
  if (min_voxels > 1) {
    const auto sizes = label_sizes(labels);
    auto* label = labels.mutable_data<std::int32_t>();
    for (std::int64_t i = 0; i < labels.size(); ++i)
      if (sizes[static_cast<std::size_t>(label[i])] < min_voxels) label[i] = 0;
    labels = relabelled(labels);
  }
  return labels;
}

}  // namespace cuboid
