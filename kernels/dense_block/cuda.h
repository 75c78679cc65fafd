// SPDX-License-Identifier: Apache-2.0
// The steps of a dense block on Device::cuda, which cuda.cpp puts together; T is float, bf16 or f16. Activations are
// [V][channels], V voxels; everything per channel is f32. Products are cut by shape alone, and what is summed across blocks is
// written in parts and added in order.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "kernels/dense_block/geometry.h"

namespace cuboid::dense::device {

/// A norm: y = x * scale + shift, with scale = weight * rstd and shift = bias - mean * scale.
struct Norm {
  const float *weight, *bias;
  float *running_mean, *running_var;
  float *mean, *rstd, *scale, *shift;
  int channels;
};

/// One layer of a block, as all products see it.
struct Layer {
  Geometry geometry;
  int index;
  Norm norm1, norm2;
  float slope;                  // of the activation below zero
  bool tf32;                    // f32 products may go through tensor cores
  const std::uint16_t* within;  // of neighbours()

  int voxels() const { return static_cast<int>(geometry.voxels()); }
  int channels() const { return static_cast<int>(geometry.channels(index)); }
  int width() const { return static_cast<int>(geometry.width()); }
  int mid() const { return static_cast<int>(geometry.mid); }
  int growth() const { return static_cast<int>(geometry.growth); }
  int taps() const { return static_cast<int>(geometry.depth_taps * 9); }
};

/// Per tile of rows two numbers for each channel: [tiles][2][channels] of f32.
struct Parts {
  Tensor memory;
  int tiles = 0, tile_rows = 0, channels = 0;
};

// ---- prepare.cu --------------------------------------------------------------------------------

/// within[v]: bit 3 * axis + tap is set where the voxel's neighbour `tap - 1` along the axis lies inside.
void neighbours(const Geometry& g, std::uint16_t* within);
/// conv2's weights [growth][mid][taps] of each layer as [growth][tap][mid], or [tap][growth][mid], one layer after the other.
template <class T>
void pack(const Geometry& g, const std::vector<const T*>& weights, bool taps_first, T* to);

/// What the slab's gradient still lacks: gradient + offset + factor * slab, per channel.
struct Pending {
  float *offset, *factor;
};
/// to[V][count] = channels [channel, channel + count) of the completed gradient.
template <class T>
void complete(const Geometry& g, int channel, int count, const Pending& pending, const T* slab, const float* gradient, T* to);

// ---- norms.cu ----------------------------------------------------------------------------------

/// Statistics of channels [known, norm.channels), whose parts these are, into mean and var; then the norm of all its channels
/// by mean and var. The running statistics move.
void normalise(const Norm& norm, const Parts& parts, int voxels, int known, float* mean, float* var, double eps, double momentum);
/// By the running statistics.
void normalise_given(const std::vector<Norm>& norms, double eps);
/// Of parts with the sums of da and da * (x - mean): the gradients of weight and bias, and dx = scale * da + factor * x + offset.
/// factor and offset are written, or added to what is there; they are zero unless the statistics are those of the batch.
void finish_sums(const Norm& norm, const Parts& parts, int voxels, bool batch, bool add, float* dweight, float* dbias,
                 Pending terms);

// ---- forward.cu --------------------------------------------------------------------------------

/// z [V][mid] = conv1(act(norm1(slab prefix))); parts of z's statistics (mean, squared deviations) where wanted.
template <class T>
Parts bottleneck(const Layer& layer, const T* slab, const T* conv1, T* z, bool statistics);
/// The layer's slice of the slab = conv2(act(norm2(z))); conv2 packed [growth][tap][mid].
template <class T>
Parts new_features(const Layer& layer, const T* z, const T* conv2, T* slab, bool statistics);

// ---- backward.cu -------------------------------------------------------------------------------

/// da [V][mid], behind norm2, from dy [V][growth]; conv2 packed [tap][growth][mid]. Parts: sums of da and da * (z - mean).
template <class T>
Parts features_input(const Layer& layer, const T* dy, const T* conv2, const T* z, T* da);
/// dw [growth][mid][taps].
template <class T>
void features_weight(const Layer& layer, const T* dy, const T* z, T* dw);
/// With dz = norm2.scale * da + terms.factor * z + terms.offset: the slab's gradient += norm1.scale * du for its prefix, du being
/// the gradient behind norm1. Parts: sums of du and du * (x - mean).
template <class T>
Parts bottleneck_input(const Layer& layer, const T* da, const T* z, Pending terms, const T* conv1, const T* slab,
                       float* gradient);
/// dw [mid][channels].
template <class T>
void bottleneck_weight(const Layer& layer, const T* da, const T* z, Pending terms, const T* slab, T* dw);

}  // namespace cuboid::dense::device
