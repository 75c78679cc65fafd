// SPDX-License-Identifier: Apache-2.0
// cuDNN's rows in the tables of norm: batch norm of f32, bf16 and f16 in rows of channels. They fit only where our own "rows" do,
// which stand above them, so they run where they are asked for by name and nowhere else.
// norm_statistics has none: cuDNN's GENSTATS gives sums and sums of squares in f32, whose difference loses the variance where
// the mean is far larger than the spread; its training pass has mean and 1/sqrt(var + eps) only together with y.
#pragma once
#include "kernels/norm/rows.h"
#include "kernels/vendor/cudnn.h"

namespace cuboid::cudnn {

/// Statistics shared by all samples: for those of each sample cuDNN has no engine.
bool norm_apply_fits(const View& x, const View& mean, const View& rstd, const View& weight, const View& bias, const Out& y,
                     double slope);
/// Batch norm by the batch's own statistics, with weights, dx wanted. With an activation the gradient through it is a pass of its
/// own, rounded to x's type.
bool norm_backward_fits(const View& g, const View& x, const View& mean, const View& rstd, const View& weight, const View& bias,
                        const Out& dx, const Out& dweight, const Out& dbias, double slope, bool batch);
NormApply norm_apply;
NormBackward norm_backward;

/// The activation's gradient is that with respect to what goes into it.
enum class NormPass : std::uint8_t { apply, activation_gradient, backward };

/// What a plan is made for: x is [rows, channels].
struct NormProblem {
  NormPass pass = NormPass::apply;
  DType dtype = DType::f32;
  std::int64_t rows = 1, channels = 1;
  bool weight = true, bias = true;
  double slope = 1;
  std::int64_t alignment = 16;
  bool deterministic = false;
};
/// Ids of the tensors in a plan.
enum NormTensor : std::int64_t {
  norm_x_id = 1,
  norm_y_id,
  norm_mean_id,
  norm_rstd_id,
  norm_weight_id,
  norm_bias_id,
  norm_g_id,
  norm_dx_id,
  norm_dweight_id,
  norm_dbias_id,
  norm_steps_id
};

/// The graph; empty when cuDNN refuses it.
std::vector<Descriptor> operations_of(const NormProblem& problem);
/// nullptr when cuDNN has none. `device_json`: see PlanOptions.
std::shared_ptr<const Plan> make_plan(const NormProblem& problem, const std::string& device_json = {});

}  // namespace cuboid::cudnn
