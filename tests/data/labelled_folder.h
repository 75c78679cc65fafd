// SPDX-License-Identifier: Apache-2.0
// Small labelled volumes for the tests of segmentation: balls in noise, and folders of them.
#pragma once
#include "core/json.h"
#include "data/formats/npy.h"
#include "data/labelled.h"
#include "tests/data/cells.h"

namespace cuboid::test {

/// u8 [D,H,W]: ball i (from 1 on) of radius r at (z,y,x).
struct Ball {
  double z, y, x, r;
};
inline Tensor balls(const Shape& shape, const std::vector<Ball>& list) {
  const Tensor t = zeros(shape, {.dtype = DType::u8});
  std::uint8_t* p = t.mutable_data<std::uint8_t>();
  for (std::int64_t z = 0; z < shape[0]; ++z)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x, ++p)
        for (std::size_t i = 0; i < list.size(); ++i) {
          const double dz = static_cast<double>(z) - list[i].z, dy = static_cast<double>(y) - list[i].y,
                       dx = static_cast<double>(x) - list[i].x;
          if (dz * dz + dy * dy + dx * dx <= list[i].r * list[i].r) *p = static_cast<std::uint8_t>(i + 1);
        }
  return t;
}

/// Noise, and 1 more for every label.
inline Tensor image_of(const Tensor& labels, std::uint64_t seed) {
  const Tensor image = noise(labels.shape(), seed);
  float* p = image.mutable_data<float>();
  for (std::int64_t i = 0; i < labels.size(); ++i) p[i] += static_cast<float>(labels.data<std::uint8_t>()[i]);
  return image;
}

/// images/c0.npy ... and labels/c0.npy ..., two touching balls in each, of sizes that differ.
inline void write_pairs(const std::filesystem::path& folder, std::int64_t count, bool grow = true) {
  for (const char* part : {"images", "labels"}) std::filesystem::create_directories(folder / part);
  for (std::int64_t i = 0; i < count; ++i) {
    const Shape shape = {10 + (grow ? i : 0), 12, 14};
    const Tensor labels = balls(shape, {{4, 5, 4, 3}, {5, 6, 9, 2.5}});
    const std::string name = join_text("c", i, ".npy");
    write_npy(folder / "images" / name, image_of(labels, static_cast<std::uint64_t>(i)));
    write_npy(folder / "labels" / name, labels);
  }
}

}  // namespace cuboid::test
