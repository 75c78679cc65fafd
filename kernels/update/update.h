// SPDX-License-Identifier: Apache-2.0
// The steps of the optimisers, each as one pass over all parameters: lists of tensors, cut into pieces by size alone.
// Lists run in parallel: gradient i belongs to parameter i. Everything is f32 or f64, one type per list; a gradient may
// have another memory order than its parameter. Nothing here is recorded.
#pragma once
#include "core/tensor.h"

namespace cuboid {

struct SgdStep {
  double lr = 0, momentum = 0, weight_decay = 0;  // weight_decay * p is added to the gradient (coupled L2)
  bool nesterov = false;
  const double* staged = nullptr;  // on a device: {lr}, read there when the step runs in place of the lr above
};

/// g' = g + weight_decay p;  m = momentum m + g';  p -= lr (nesterov ? g' + momentum m : m). `momenta` is empty when
/// momentum is 0, and starts as zeros otherwise.
void sgd_update(const Tensors& parameters, const Tensors& gradients, const Tensors& momenta, const SgdStep& step);

enum class Epsilon : std::uint8_t { outside, inside };  // sqrt(v) + eps, as Kingma & Ba write it, or sqrt(v + eps)

struct AdamStep {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  Epsilon epsilon = Epsilon::outside;
  bool decoupled = false;          // AdamW: p -= lr weight_decay p before the step; otherwise coupled L2 as in sgd_update
  std::int64_t t = 1;              // number of this step, from 1: m and v are divided by 1 - beta^t
  const double* staged = nullptr;  // on a device: {lr, 1 - beta1^t, 1 - beta2^t}, as for sgd
};

/// m = beta1 m + (1-beta1) g';  v = beta2 v + (1-beta2) g'^2;  p -= lr m^ / (sqrt(v^) + eps).
void adam_update(const Tensors& parameters, const Tensors& gradients, const Tensors& first, const Tensors& second,
                 const AdamStep& step);

/// average = decay average + (1-decay) value.
void average_update(const Tensors& averages, const Tensors& values, double decay);

/// Square root of the sum of all squares: one f64 on the tensors' device. Nothing waits for it until it is read.
Tensor global_norm(const Tensors& tensors);

struct Clipped {
  Tensors tensors;
  Tensor norm;  // of the tensors given
};
/// min(1, limit / (norm + 1e-6)) * x for each, in new memory; norm is the global norm.
Clipped clipped(const Tensors& tensors, double limit);

/// factor * x for each, in new memory.
Tensors scaled(const Tensors& tensors, double factor);

}  // namespace cuboid
