// SPDX-License-Identifier: Apache-2.0
#include "data/crop.h"

#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Voxel value = 10000 z + 100 y + x: says where it came from.
Tensor coordinates(const Shape& shape) {
  const Tensor t = empty(shape);
  float* p = t.mutable_data<float>();
  for (std::int64_t z = 0; z < shape[0]; ++z)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x) *p++ = static_cast<float>(10000 * z + 100 * y + x);
  return t;
}
float voxel(const Tensor& t, std::int64_t z, std::int64_t y, std::int64_t x) {
  return t.data<float>()[(z * t.dim(1) + y) * t.dim(2) + x];
}

TEST(Crop, InsideTheVolume) {
  const Crop crop = crop_cube(coordinates({30, 40, 50}), {15, 20, 25}, 8);
  EXPECT_FALSE(crop.clipped());
  EXPECT_EQ(crop.voxels.shape(), (Shape{8, 8, 8}));
  EXPECT_EQ(voxel(crop.voxels, 0, 0, 0), 111621);  // start = centre - 4
  EXPECT_EQ(voxel(crop.voxels, 7, 7, 7), 182328);
}

TEST(Crop, ShortOnesArePaddedAtTheFarEndWithTheMedian) {
  const Tensor volume = coordinates({30, 40, 50});
  const auto median = static_cast<float>(median_of(volume));
  const Crop low = crop_cube(volume, {1, 20, 25}, 8);  // z from 0 to 5
  EXPECT_EQ(low.missing, (std::array<std::int64_t, 3>{3, 0, 0}));
  EXPECT_EQ(voxel(low.voxels, 0, 0, 0), 1621);
  EXPECT_EQ(voxel(low.voxels, 4, 0, 0), 41621);
  EXPECT_EQ(voxel(low.voxels, 5, 0, 0), median);
  const Crop high = crop_cube(volume, {29, 39, 49}, 8);  // 25..29, 35..39, 45..49
  EXPECT_EQ(high.missing, (std::array<std::int64_t, 3>{3, 3, 3}));
  EXPECT_EQ(voxel(high.voxels, 4, 4, 4), 293949);
  EXPECT_EQ(voxel(high.voxels, 4, 4, 5), median);
  const Crop centred = crop_cube(volume, {1, 20, 25}, 8, CropPadding::centred);
  EXPECT_EQ(voxel(centred.voxels, 0, 0, 0), median);
  EXPECT_EQ(voxel(centred.voxels, 1, 0, 0), 1621);
  EXPECT_EQ(voxel(centred.voxels, 5, 0, 0), 41621);
  EXPECT_EQ(voxel(centred.voxels, 6, 0, 0), median);
  const Crop tiny = crop_cube(coordinates({3, 3, 3}), {1, 1, 1}, 8);
  EXPECT_EQ(tiny.missing, (std::array<std::int64_t, 3>{5, 5, 5}));
}

TEST(Crop, StridedVolumesAreFollowed) {
  const Tensor t = coordinates({6, 7, 8});
  const Tensor turned(t.storage(), 0, {8, 7, 6}, {1, 8, 56}, DType::f32);
  EXPECT_EQ(voxel(crop_cube(turned, {4, 3, 3}, 4).voxels, 0, 1, 2), voxel(t, 3, 2, 2));
}

TEST(Crop, BadCentresAndSizes) {
  const Tensor volume = coordinates({30, 40, 50});
  EXPECT_SAYS(data_error([&] { crop_cube(volume, {30, 20, 25}, 8); }), "z=30", "30 voxels");
  EXPECT_SAYS(data_error([&] { crop_cube(volume, {3, 20, -1}, 8); }), "x=-1");
  EXPECT_THROW(crop_cube(volume, {3, 20, 1}, 7), Error);
}

TEST(Crop, MedianMinMaxAndStatistics) {
  EXPECT_EQ(median_of(from_values<float>({5, 1, 3}, {3})), 3);
  EXPECT_EQ(median_of(from_values<float>({5, 1, 3, 4}, {4})), 3.5);
  const Tensor t = from_values<float>({2, 4, 3}, {3});
  rescale_minmax(t);
  EXPECT_EQ(t.to_vector(), (std::vector<double>{0, 1, 0.5}));
  const Tensor flat = full({4}, 7);
  rescale_minmax(flat);
  EXPECT_EQ(flat.to_vector(), (std::vector<double>(4, 0)));
  const VoxelStats stats = voxel_stats(from_values<float>({1, std::nanf(""), 3, INFINITY}, {4}));
  EXPECT_EQ(stats.mean, 2);
  EXPECT_EQ(stats.max, 3);
  EXPECT_EQ(stats.not_finite, 2);
}

}  // namespace
