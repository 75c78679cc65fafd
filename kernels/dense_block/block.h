// SPDX-License-Identifier: Apache-2.0
// What the fused dense block's passes on the CPU share: units of work, batch norm as a scale and a shift, statistics.
//
// Memory of a block with V = n*d*h*w voxels: the slab [V][first + layers * growth] (the op's result), per layer the
// bottleneck z = conv1(...) [V][mid], and mean and 1/sqrt(var + eps) of every norm. Nothing else is kept for the backward
// pass; what lies behind a norm is computed again from the slab and from z, in pieces that stay in cache.
#pragma once
#include <algorithm>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/dense_block/geometry.h"
#include "kernels/norm/ranks.h"
#include "kernels/simd.h"

namespace cuboid::dense {

using namespace simd;
using namespace winograd;

/// Samples [n0, n1), planes [d0, d1) of each and bands [b0, b1) of those: what one task of a 3x3x3 convolution writes.
struct Unit {
  std::int64_t n0, n1, d0, d1, b0, b1;
};
/// Cut by size alone. `apart`: each band on its own; else as few units as keep threads busy.
std::vector<Unit> units_of(const Geometry& g, bool apart);

/// A norm as a layer saw it, and the affine map it comes to.
struct Norm {
  const float *weight, *bias;
  std::vector<float> mean, rstd, scale, shift;  // y = x * scale + shift
  void fold();                                  // scale and shift from the others
};

/// One layer's tensors as the kernels want them: f32, dense.
struct Layer {
  Norm norm1, norm2;
  const float *conv1, *conv2;
  const float *panels = nullptr, *points = nullptr;  // conv1 and conv2 packed, for the forward passes
};

/// Mean and sum of squared deviations per channel, merged in a fixed order (Chan et al. 1979), sound for any mean.
class Moments {
 public:
  explicit Moments(std::int64_t channels) : mean_(static_cast<std::size_t>(channels)), m2_(mean_.size()) {}
  /// rows[count][channels], `stride` floats apart.
  void add(const float* rows, std::int64_t count, std::int64_t stride);
  void merge(const Moments& other);
  double count() const { return count_; }
  double mean(std::size_t c) const { return mean_[c]; }
  double variance(std::size_t c) const { return m2_[c] / count_; }

 private:
  void merge(std::size_t c, double n, double mean, double m2) {
    const double delta = mean - mean_[c], total = count_ + n;
    mean_[c] += delta * n / total;
    m2_[c] += m2 + delta * delta * count_ * n / total;
  }
  double count_ = 0;
  std::vector<double> mean_, m2_;
};

/// Lines y0, y0 + 1, ... of a plane, as many as its tiles reach, and a border of one pixel around them; beyond the plane lie
/// zeros.
struct Band {
  Tiling tiles;
  std::int64_t y0, h;  // of the plane

  Band(const Geometry& g, std::int64_t index)
      : tiles{std::min(g.band_lines(), g.h - index * g.band_lines()), g.w, g.tiling().down}, y0(index * g.band_lines()), h(g.h) {}
  /// fill(line of the plane, where its first pixel goes) for the lines there are; zeros for the rest.
  template <class F>
  void pad(std::int64_t channels, float* padded, F&& fill) const {
    const std::int64_t w = tiles.w, whole = tiles.padded_w();
    for (std::int64_t y = y0 - 1; y < y0 - 1 + tiles.padded_h(); ++y, padded += whole * channels) {
      const bool inside = y >= 0 && y < h;
      std::fill_n(padded, (inside ? 1 : whole) * channels, 0.f);
      if (!inside) continue;
      fill(y, padded + channels);
      std::fill(padded + (1 + w) * channels, padded + whole * channels, 0.f);
    }
  }
};

/// Rows of x (`stride` floats apart) -> act(x * scale + shift), channels [c0, c1), `to_stride` floats apart.
void activate_rows(const float* x, std::int64_t rows, std::int64_t stride, std::int64_t c0, std::int64_t c1, const Norm& norm,
                   float slope, float* to, std::int64_t to_stride);

/// m[rows][cols] -> panels of 32 columns [cols / 32][rows][32], in parallel.
void pack_panels(const float* m, std::int64_t rows, std::int64_t cols, float* to);

/// conv1 [mid][channels] and conv2 [growth][mid][taps] as the forward passes want them; in parallel.
void pack_conv1(const Geometry& g, std::int64_t index, const float* conv1, float* to);
void pack_conv2(const Geometry& g, const float* conv2, float* to);

/// z = conv1(act(norm1(slab prefix))); statistics of z are returned when wanted.
Moments bottleneck(const Geometry& g, std::int64_t index, const Layer& layer, float slope, const float* slab, float* z,
                   bool statistics);
/// The layer's slice of the slab = conv2(act(norm2(z))); its statistics when wanted.
Moments new_features(const Geometry& g, std::int64_t index, const Layer& layer, float slope, const float* z, float* slab,
                     bool statistics);

/// Gradients of one layer's tensors, dense.
struct LayerGradients {
  float *weight1, *bias1, *conv1, *weight2, *bias2, *conv2;
};

/// Walks the layers from the last to the first.
/// gradient: that of the slab on entry (it is used up); its prefix of `first` channels is x's gradient at the end.
/// batch_statistics: the norms' means and variances depend on the data and are differentiated too; those of `ranks`, if not null.
void backward(const Geometry& g, const std::vector<Layer>& layers, const std::vector<Tensor>& z, float slope,
              bool batch_statistics, const NormRanks* ranks, const float* slab, float* gradient,
              const std::vector<LayerGradients>& out);

}  // namespace cuboid::dense
