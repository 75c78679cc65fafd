// SPDX-License-Identifier: Apache-2.0
// Whole convolutions on oneDNN, on all threads: dense channels-last activations, plain contiguous weights, f32 or bf16.
// Work is cut by shape alone (samples, then slabs of the first spatial axis), so the bits do not depend on the threads.
#pragma once
#include "kernels/conv/onednn.h"

namespace cuboid::onednn {

/// bias may be null. `home`: see Kernel::packed.
void forward(const Geometry& g, const void* x, const void* w, const void* bias, void* y, Storage* home = nullptr);
void backward_data(const Geometry& g, const void* dy, const void* w, void* dx, Storage* home = nullptr);
/// Overwrites dw, which has the geometry's dtype; sums are kept in f32.
void backward_weights(const Geometry& g, const void* x, const void* dy, void* dw);

/// Scope guard for tests: problems of any size are cut into as many pieces as their shape allows.
class FinestCut {
 public:
  FinestCut();
  FinestCut(const FinestCut&) = delete;
  FinestCut& operator=(const FinestCut&) = delete;
  ~FinestCut();
};

// ---- the weights' gradient where oneDNN's own kernels are slow -----------------------------------
// dw is f32 and overwritten. groups must be 1.

/// Kernel 1, stride 1, no padding, f32: dw = dy^T x.
void pointwise_weights(const Geometry& g, const float* x, const float* dy, float* dw);
/// Few voxels per sample, f32: one product per kernel tap, over the voxels that tap really meets.
void tap_weights(const Geometry& g, const float* x, const float* dy, float* dw);
/// Very few input channels, f32 or bf16: vectors run over the output channels.
void stem_weights(const Geometry& g, const void* x, const void* dy, float* dw);

bool is_pointwise(const Geometry& g);
/// result = the sum of `pieces` parts of `count` numbers each, added in their order; result may be the first part.
void add_parts(const float* parts, std::int64_t pieces, std::int64_t count, float* result);

}  // namespace cuboid::onednn
