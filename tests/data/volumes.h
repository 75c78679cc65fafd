// SPDX-License-Identifier: Apache-2.0
// Masks and label volumes for the tests: random, and shapes whose measures are known.
#pragma once
#include <functional>

#include "data/morphology/grid.h"
#include "tests/test.h"

namespace cuboid::test {

/// u8 labels: each voxel is label(z,y,x) of whole numbers.
template <class F>
Tensor volume_of(const Shape& shape, F&& label, DType dtype = DType::u8) {
  const Tensor t = empty(shape, {.dtype = DType::i32});
  auto* p = t.mutable_data<std::int32_t>();
  for (std::int64_t z = 0; z < shape[0]; ++z)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x) *p++ = static_cast<std::int32_t>(label(z, y, x));
  if (dtype == DType::i32) return t;
  const Tensor converted = empty(shape, {.dtype = dtype});
  copy(t, converted);
  return converted;
}

/// Labels 0..labels; each voxel is `density` likely not to be 0.
inline Tensor random_labels(const Shape& shape, std::uint64_t seed, double density = 0.5, int labels = 1,
                            DType dtype = DType::u8) {
  Random r(seed);
  return volume_of(
      shape, [&](auto, auto, auto) { return r.uniform() < density ? r.integer(1, labels) : 0; }, dtype);
}

/// Large connected blobs: balls of random places and radii, later ones on top.
inline Tensor random_blobs(const Shape& shape, std::uint64_t seed, int balls, int labels, double radius,
                           DType dtype = DType::u8) {
  Random r(seed);
  struct Ball {
    double z, y, x, radius;
    std::int64_t label;
  };
  std::vector<Ball> all;
  for (int i = 0; i < balls; ++i)
    all.push_back({r.uniform(0, static_cast<double>(shape[0])), r.uniform(0, static_cast<double>(shape[1])),
                   r.uniform(0, static_cast<double>(shape[2])), radius * r.uniform(0.5, 1), r.integer(1, labels)});
  return volume_of(
      shape,
      [&](std::int64_t z, std::int64_t y, std::int64_t x) {
        std::int64_t label = 0;
        for (const auto& b : all)
          if (std::hypot(static_cast<double>(z) - b.z, static_cast<double>(y) - b.y, static_cast<double>(x) - b.x) < b.radius)
            label = b.label;
        return label;
      },
      dtype);
}

/// A mask from a function of µm relative to the volume's middle: inside where it is negative.
template <class F>
Tensor solid(const Shape& shape, const Spacing& spacing, F&& distance) {
  const auto place = [&](std::int64_t i, int axis) {
    return (static_cast<double>(i) - static_cast<double>(shape[axis] - 1) / 2) * spacing[static_cast<std::size_t>(axis)];
  };
  return volume_of(shape, [&](std::int64_t z, std::int64_t y, std::int64_t x) {
    return distance(place(z, 0), place(y, 1), place(x, 2)) < 0 ? 1 : 0;
  });
}

}  // namespace cuboid::test
