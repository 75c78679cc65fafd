// SPDX-License-Identifier: Apache-2.0
// block.h in bf16, for processors with AVX-512 BF16: the slab, z, the weights and what is multiplied are bf16; sums, statistics
// and the slab's gradient are f32 or wider. The 3x3 part is F(2, 3) on both axes (bf16_winograd_maps.h).
#pragma once
#include "kernels/bf16_simd.h"
#if CUBOID_AVX512_BF16
#include "kernels/conv/bf16_winograd_maps.h"
#include "kernels/dense_block/block.h"

namespace cuboid::dense {

struct Layer16 {
  Norm norm1, norm2;
  const bf16 *conv1, *conv2;
};

/// Cut by size alone.
std::vector<Unit> units16_of(const Geometry& g);
/// The bands of each plane, the tallest first.
std::vector<bf::Band> bands_of(const Geometry& g);
/// Elements of conv2's weights as points.
inline std::int64_t point_count(const Geometry& g) { return bf::points * g.depth_taps * g.mid * g.growth; }

/// Bytes of so many bf16 per voxel.
inline double bytes16(const Geometry& g, std::int64_t per_voxel) { return g.bytes(per_voxel) / 2; }

/// act(x * scale + shift) of rows `stride` elements apart, channels [c0, c1), rounded; `to_stride` elements apart.
void activate_rows(const bf16* x, std::int64_t rows, std::int64_t stride, std::int64_t c0, std::int64_t c1, const Norm& norm,
                   float slope, bf16* to, std::int64_t to_stride);
/// The same of z's plane [h * w][channels], into a band's padded form, whose border must be zero.
void activate_band(const bf::Band& b, std::int64_t channels, const bf16* z, const Norm& norm, float slope, bf16* padded);
/// rows[count][channels], `stride` elements apart.
void add_rows(Moments& moments, std::int64_t channels, const bf16* rows, std::int64_t count, std::int64_t stride);

/// z = conv1(act(norm1(slab prefix))); statistics of z are returned when wanted.
Moments bottleneck(const Geometry& g, std::int64_t index, const Layer16& layer, float slope, const bf16* slab, bf16* z,
                   bool statistics);
/// The layer's slice of the slab = conv2(act(norm2(z))); its statistics when wanted.
Moments new_features(const Geometry& g, std::int64_t index, const Layer16& layer, float slope, const bf16* z, bf16* slab,
                     bool statistics);

/// Gradients of one layer's tensors, dense.
struct LayerGradients16 {
  float *weight1, *bias1;
  bf16* conv1;
  float *weight2, *bias2;
  bf16* conv2;
};

/// As `backward` in f32; `gradient`, that of the slab, is f32.
void backward(const Geometry& g, const std::vector<Layer16>& layers, const std::vector<Tensor>& z, float slope,
              bool batch_statistics, const NormRanks* ranks, const bf16* slab, float* gradient,
              const std::vector<LayerGradients16>& out);

}  // namespace cuboid::dense
#endif
