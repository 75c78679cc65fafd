// SPDX-License-Identifier: Apache-2.0
// First values of weights. Each draw takes the next key of the innermost InitScope of this thread, so a net built twice
// from one seed is the same net.
#pragma once
#include "core/random.h"
#include "core/tensor.h"

namespace cuboid {

/// Restarts the draws from `seed` until the end of the scope.
class InitScope {
 public:
  explicit InitScope(std::uint64_t seed);
  InitScope(const InitScope&) = delete;
  InitScope& operator=(const InitScope&) = delete;
  ~InitScope();

 private:
  RandomKey before_;
};

/// Leaves the weights of what is built in this scope undefined and untouched: for nets whose weights are loaded next.
class NoInit {
 public:
  NoInit();
  NoInit(const NoInit&) = delete;
  NoInit& operator=(const NoInit&) = delete;
  ~NoInit();

 private:
  bool before_;
};

RandomKey next_init_key();

enum class Fan : std::uint8_t { in, out };

/// Inputs of one output element (dim 1 times kernel) or outputs of one input element (dim 0 times kernel).
std::int64_t fan_of(const Shape& weight, Fan fan);

/// He et al. 2015: normal with deviation gain / sqrt(fan); the gain of ReLU is sqrt(2).
Tensor kaiming_normal(const Shape& weight, Fan fan = Fan::in, double gain = 1.4142135623730951);
Tensor normal_weights(const Shape& shape, double mean, double deviation);
/// Uniform in +-1/sqrt(fan): what PyTorch gives convolutions and linear layers, and their biases, by default.
Tensor fan_uniform(const Shape& shape, std::int64_t fan);

}  // namespace cuboid
