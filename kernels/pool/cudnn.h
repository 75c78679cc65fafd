// SPDX-License-Identifier: Apache-2.0
// cuDNN's rows in the tables of average pooling: f32, bf16 and f16, dense channels-last, 2D and 3D. They fit only where the row
// "packets" does, which stands above them, so they run where they are asked for by name and nowhere else.
// Maxima have none: cuDNN's index is an int8, the place within a window; ours is the place within the volume.
#pragma once
#include "kernels/pool/rows.h"
#include "kernels/pool/windows.h"
#include "kernels/vendor/cudnn.h"

namespace cuboid::cudnn {

bool avg_pool_fits(const View& x, const Out& y, const PoolSpec& spec);
bool avg_pool_backward_fits(const View& g, const Out& dx, const PoolSpec& spec);
AvgPool avg_pool;
AvgPoolBackward avg_pool_backward;

/// What a plan is made for: x and y are N,C,spatial.
struct PoolProblem {
  bool backward = false;
  DType dtype = DType::f32;
  Shape x, y;
  PoolSpec spec;
  std::int64_t alignment = 16;
  bool deterministic = false;
};
/// Ids of the tensors in a plan, their gradients in the backward one.
enum PoolTensor : std::int64_t { pool_x_id = 1, pool_y_id };

/// False where cuDNN's average is another one than ours: windows that reach beyond the padding at the end, of which we count
/// only what lies within it.
bool same_average(const PoolProblem& problem);
/// The graph; empty when cuDNN refuses it.
std::vector<Descriptor> operations_of(const PoolProblem& problem);
/// nullptr when cuDNN has none. `device_json`: see PlanOptions.
std::shared_ptr<const Plan> make_plan(const PoolProblem& problem, const std::string& device_json = {});

}  // namespace cuboid::cudnn
