// SPDX-License-Identifier: Apache-2.0
// cuDNN's rows in the tables of conv: f32, bf16 and f16, activations dense and channels-last, 2D and 3D. Weights are brought
// into cuDNN's order (K, kernel, C) on the way. A shape for which cuDNN has no engine does not fit.
#pragma once
#include "kernels/conv/geometry.h"
#include "kernels/conv/rows.h"
#include "kernels/vendor/cudnn.h"

namespace cuboid::cudnn {

ConvForwardFits forward_fits;
ConvInputFits input_fits;
ConvWeightFits weight_fits;
ConvForward conv_forward;
ConvInput conv_input;
ConvWeight conv_weight;

enum class ConvPass : std::uint8_t { forward, input, weight };

/// What a plan is made for. Pointers are aligned to `alignment` bytes, a power of two up to 16.
struct ConvProblem {
  ConvPass pass = ConvPass::forward;
  Geometry geometry;
  Triple pad_hi{0, 0, 0};
  std::int64_t alignment = 16;
  bool deterministic = false, tf32 = false;
  friend bool operator==(const ConvProblem&, const ConvProblem&) = default;

  /// Spatial dimensions cuDNN sees: 2 where the depth does nothing.
  int rank() const;
};
/// Ids of the tensors in a plan.
enum ConvTensor : std::int64_t { x_id = 1, w_id, y_id, bias_id };

/// nullptr when cuDNN has none. `device_json`: see PlanOptions.
std::shared_ptr<const Plan> make_plan(const ConvProblem& problem, const std::string& device_json = {});

}  // namespace cuboid::cudnn
