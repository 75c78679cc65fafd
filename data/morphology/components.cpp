// SPDX-License-Identifier: Apache-2.0
#include "data/morphology/components.h"

#include <algorithm>
#include <numeric>

namespace cuboid {
namespace {

using morphology::Grid;
using morphology::Step;

/// Disjoint sets of provisional numbers; the smallest number stands for a set.
class Sets {
 public:
  std::int32_t make() {
    parent_.push_back(static_cast<std::int32_t>(parent_.size()));
    return parent_.back();
  }
  std::int32_t find(std::int32_t i) {
    while (parent_[static_cast<std::size_t>(i)] != i) {
      auto& p = parent_[static_cast<std::size_t>(i)];
      p = parent_[static_cast<std::size_t>(p)];
      i = p;
    }
    return i;
  }
  std::int32_t join(std::int32_t a, std::int32_t b) {
    a = find(a);
    b = find(b);
    if (a > b) std::swap(a, b);
    parent_[static_cast<std::size_t>(b)] = a;
    return a;
  }
  std::size_t size() const { return parent_.size(); }

 private:
  std::vector<std::int32_t> parent_ = {0};
};

template <class T>
Components components(const T* in, const Shape& shape, Connectivity connectivity) {
  const Grid g(shape);
  const auto steps = morphology::neighbours(g, connectivity, true);
  Components result{.labels = empty(shape, {.dtype = DType::i32})};
  auto* out = result.labels.mutable_data<std::int32_t>();
  Sets sets;
  std::int64_t at = 0;
  for (std::int64_t z = 0; z < g.d; ++z)
    for (std::int64_t y = 0; y < g.h; ++y)
      for (std::int64_t x = 0; x < g.w; ++x, ++at) {
        std::int32_t number = 0;
        if (in[at] != 0) {
          for (const Step& s : steps) {
            if (z + s.z < 0 || y + s.y < 0 || y + s.y >= g.h || x + s.x < 0 || x + s.x >= g.w) continue;
            if (in[at + s.offset] != in[at]) continue;
            const std::int32_t other = out[at + s.offset];
            if (number == 0) number = other;
            else if (other != number) number = sets.join(number, other);
          }
          if (number == 0) number = sets.make();
        }
        out[at] = number;
      }
  // A set's smallest number was given at its first voxel, so ascending numbers are the order of first voxels.
  std::vector<std::int32_t> final(sets.size(), 0);
  std::int32_t count = 0;
  for (std::int32_t i = 1; i < static_cast<std::int32_t>(sets.size()); ++i) {
    const std::int32_t root = sets.find(i);
    final[static_cast<std::size_t>(i)] = root == i ? ++count : final[static_cast<std::size_t>(root)];
  }
  result.sizes.assign(static_cast<std::size_t>(count) + 1, 0);
  for (std::int64_t i = 0; i < g.size(); ++i) {
    out[i] = final[static_cast<std::size_t>(out[i])];
    ++result.sizes[static_cast<std::size_t>(out[i])];
  }
  return result;
}

/// f(pointer) with the labels as u8 or i32.
template <class F>
decltype(auto) with_labels(const Tensor& labels, F&& f) {
  if (labels.dtype() == DType::u8) return f(labels.data<std::uint8_t>());
  return f(labels.data<std::int32_t>());
}

Tensor mask_like(const Tensor& volume) { return empty(volume.shape(), {.dtype = DType::u8}); }

}  // namespace

std::int32_t Components::largest() const {
  if (count() < 1) return 0;
  return static_cast<std::int32_t>(std::max_element(sizes.begin() + 1, sizes.end()) - sizes.begin());
}

Components connected_components(const Tensor& volume, Connectivity connectivity) {
  const Tensor labels = morphology::as_labels(volume, "connected components");
  return with_labels(labels, [&](auto* p) { return components(p, labels.shape(), connectivity); });
}

Tensor largest_component(const Tensor& volume, Connectivity connectivity) {
  const Components parts = connected_components(morphology::as_mask(volume, "largest component"), connectivity);
  return parts.count() == 0 ? zeros(volume.shape(), {.dtype = DType::u8}) : mask_of(parts.labels, parts.largest());
}

Tensor without_small(const Tensor& volume, std::int64_t voxels, Connectivity connectivity) {
  const Tensor labels = morphology::as_labels(volume, "small parts");
  const Components parts = connected_components(labels, connectivity);
  const auto* part = parts.labels.data<std::int32_t>();
  const Tensor kept = empty(labels.shape(), {.dtype = labels.dtype()});
  with_labels(labels, [&]<class T>(const T* in) {
    T* out = kept.mutable_data<T>();
    for (std::int64_t i = 0; i < labels.size(); ++i)
      out[i] = in[i] != 0 && parts.sizes[static_cast<std::size_t>(part[i])] >= voxels ? in[i] : T{0};
  });
  return kept;
}

Tensor fill_holes(const Tensor& volume) {
  const Tensor mask = morphology::as_mask(volume, "holes"), outside = mask_like(mask);
  const auto* in = mask.data<std::uint8_t>();
  auto* out = outside.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < mask.size(); ++i) out[i] = in[i] == 0;
  const Components parts = connected_components(outside, Connectivity::faces);
  const auto* part = parts.labels.data<std::int32_t>();
  const Grid g(mask.shape());
  std::vector<std::uint8_t> open(parts.sizes.size(), 0);
  std::int64_t at = 0;
  for (std::int64_t z = 0; z < g.d; ++z)
    for (std::int64_t y = 0; y < g.h; ++y)
      for (std::int64_t x = 0; x < g.w; ++x, ++at)
        if (z == 0 || z == g.d - 1 || y == 0 || y == g.h - 1 || x == 0 || x == g.w - 1)
          open[static_cast<std::size_t>(part[at])] = 1;
  for (std::int64_t i = 0; i < mask.size(); ++i) out[i] = in[i] != 0 || !open[static_cast<std::size_t>(part[i])];
  return outside;
}

std::vector<std::int64_t> label_sizes(const Tensor& volume) {
  const Tensor labels = morphology::as_labels(volume, "label sizes");
  constexpr std::int32_t most = 1 << 24;
  return with_labels(labels, [&](auto* p) {
    std::vector<std::int64_t> sizes(1, 0);
    for (std::int64_t i = 0; i < labels.size(); ++i) {
      const std::int32_t label = p[i];
      check<DataError>(label >= 0 && label <= most, "label sizes: label ", label, "; labels lie within 0..", most);
      if (label >= static_cast<std::int32_t>(sizes.size())) sizes.resize(static_cast<std::size_t>(label) + 1, 0);
      ++sizes[static_cast<std::size_t>(label)];
    }
    return sizes;
  });
}

std::vector<std::int32_t> labels_present(const Tensor& volume) {
  const auto sizes = label_sizes(volume);
  std::vector<std::int32_t> present;
  for (std::size_t i = 1; i < sizes.size(); ++i)
    if (sizes[i] > 0) present.push_back(static_cast<std::int32_t>(i));
  return present;
}

Tensor relabelled(const Tensor& volume) {
  const Tensor labels = morphology::as_labels(volume, "relabelled"), result = empty(labels.shape(), {.dtype = DType::i32});
  const auto present = labels_present(labels);
  std::vector<std::int32_t> number(present.empty() ? 1 : static_cast<std::size_t>(present.back()) + 1, 0);
  for (std::size_t i = 0; i < present.size(); ++i)
    number[static_cast<std::size_t>(present[i])] = static_cast<std::int32_t>(i) + 1;
  auto* out = result.mutable_data<std::int32_t>();
  with_labels(labels, [&](auto* p) {
    for (std::int64_t i = 0; i < labels.size(); ++i) out[i] = number[static_cast<std::size_t>(p[i])];
  });
  return result;
}

Tensor mask_of(const Tensor& volume, std::int32_t label) {
  const Tensor labels = morphology::as_labels(volume, "mask of a label"), mask = mask_like(labels);
  auto* out = mask.mutable_data<std::uint8_t>();
  with_labels(labels, [&](auto* p) {
    for (std::int64_t i = 0; i < labels.size(); ++i) out[i] = static_cast<std::int32_t>(p[i]) == label;
  });
  return mask;
}

}  // namespace cuboid
