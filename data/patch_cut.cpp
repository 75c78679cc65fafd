// SPDX-License-Identifier: Apache-2.0
#include "data/patch_cut.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace cuboid {
namespace {

/// f(pointer) with the volume's labels as numbers: of the labels themselves, or of the target's signs.
template <class F>
void with_labels(const LabelledVolume& v, F&& f) {
  if (!v.labels.defined()) {
    const float* p = v.target.data<float>();
    f([p](std::int64_t i) { return std::int64_t{p[i] > 0 ? 1 : p[i] < 0 ? 2 : 0}; }, v.target.size());
  } else if (v.labels.dtype() == DType::u8) {
    const std::uint8_t* p = v.labels.data<std::uint8_t>();
    f([p](std::int64_t i) { return std::int64_t{p[i]}; }, v.labels.size());
  } else {
    const std::int32_t* p = v.labels.data<std::int32_t>();
    f([p](std::int64_t i) { return std::int64_t{p[i]}; }, v.labels.size());
  }
}

/// 0 1 2 3 2 1 0 1 ... for n = 4, also before 0.
std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  if (n == 1) return 0;
  const std::int64_t period = 2 * (n - 1);
  i = (i % period + period) % period;
  return i < n ? i : period - i;
}

}  // namespace

LabelCounts count_labels(const LabelledVolume& v) {
  std::map<std::int64_t, std::int64_t> counts;
  with_labels(v, [&](auto label, std::int64_t n) {
    std::int64_t begin = 0;  // of a run of equal labels
    for (std::int64_t i = 1; i <= n; ++i)
      if (i == n || label(i) != label(begin)) {
        if (label(begin) != 0) counts[label(begin)] += i - begin;
        begin = i;
      }
  });
  return {counts.begin(), counts.end()};
}

Place voxel_of(const LabelledVolume& v, std::int64_t wanted, std::int64_t k) {
  std::int64_t at = -1;
  with_labels(v, [&](auto label, std::int64_t n) {
    for (std::int64_t i = 0; i < n && at < 0; ++i)
      if (label(i) == wanted && k-- == 0) at = i;
  });
  check(at >= 0, "patch: label ", wanted, " has fewer voxels");
  const std::int64_t h = v.image.dim(2), w = v.image.dim(3);
  return {at / (h * w), at / w % h, at % w};
}

Place draw_place(const LabelledVolume& v, const LabelCounts& counts, const Shape& patch, double foreground, Random& random) {
  Place place{}, held{};
  const bool at_label = random.chance(foreground) && !counts.empty();
  if (at_label) {
    const auto& [label, voxels] = counts[random.below(counts.size())];
    held = voxel_of(v, label, static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(voxels))));
  }
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t size = patch[static_cast<int>(a)], room = v.image.dim(static_cast<int>(a) + 1) - size;
    if (room < 0) {
      place[a] = room / 2;
      continue;
    }
    // The starts from which the patch holds the voxel and lies within the volume.
    const std::int64_t low = at_label ? std::max<std::int64_t>(0, held[a] - size + 1) : 0;
    const std::int64_t high = at_label ? std::min(room, held[a]) : room;
    place[a] = low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  return place;
}

void cut(const Tensor& from, const Place& place, const Tensor& to) {
  const int rank = from.rank(), first = rank - 3;
  check(to.rank() == rank && from.dtype() == to.dtype() && (first == 0 || from.dim(0) == to.dim(0)), "cut: from ", from.dtype(),
        from.shape(), " to ", to.dtype(), to.shape());
  std::array<std::vector<std::int64_t>, 3> index;
  for (std::size_t a = 0; a < 3; ++a)
    for (std::int64_t i = 0; i < to.dim(first + static_cast<int>(a)); ++i)
      index[a].push_back(mirrored(place[a] + i, from.dim(first + static_cast<int>(a))));
  const std::int64_t d = from.dim(first), h = from.dim(first + 1), w = from.dim(first + 2);
  const std::int64_t width = to.dim(first + 2), channels = first ? from.dim(0) : 1;
  const bool within = place[2] >= 0 && place[2] + width <= w;
  visit(from.dtype(), [&]<class T>() {
    const T* in = from.data<T>();
    T* out = to.mutable_data<T>();
    for (std::int64_t c = 0; c < channels; ++c)
      for (const auto z : index[0])
        for (const auto y : index[1]) {
          const T* row = in + ((c * d + z) * h + y) * w;
          if (within) std::memcpy(out, row + place[2], static_cast<std::size_t>(width) * sizeof(T));
          else
            for (std::int64_t x = 0; x < width; ++x) out[x] = row[index[2][static_cast<std::size_t>(x)]];
          out += width;
        }
  });
}

}  // namespace cuboid
