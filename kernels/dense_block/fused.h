// SPDX-License-Identifier: Apache-2.0
// A dense block in one piece, per device: what dense_block.cpp chooses from.
#pragma once
#include <memory>

#include "kernels/dense_block/dense_block.h"
#include "kernels/dense_block/geometry.h"

namespace cuboid::dense {

using Layers = std::vector<DenseLayerTensors>;

/// Shapes are checked before.
Geometry geometry_of(const Tensor& x, const Layers& layers);

struct Fused {
  Device device;
  bool (*fits)(const Tensor& x, const Layers& layers);
  /// The slab. `keep`: where what `backward` needs beside it goes; null when there will be none.
  Tensor (*forward)(const Tensor& x, const Layers& layers, const DenseBlockOptions& options, std::shared_ptr<const void>* keep);
  /// Gradients of `inputs`: x, then per layer norm1's weight and bias, conv1, norm2's weight and bias, conv2.
  Tensors (*backward)(const void* kept, const Tensors& inputs, const Tensor& slab, const Tensor& g,
                      const DenseBlockOptions& options);
};

extern const Fused fused_cpu;       // f32
extern const Fused fused_cpu_bf16;  // for processors with AVX-512 BF16
#if CUBOID_CUDA
extern const Fused fused_cuda;
#endif

}  // namespace cuboid::dense
