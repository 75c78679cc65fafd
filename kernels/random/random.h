// SPDX-License-Identifier: Apache-2.0
// Random tensors. Element i in row-major order is a function of (key, i) alone, whatever the memory order, the number of
// threads or the device.
#pragma once
#include "core/random.h"
#include "core/tensor.h"

namespace cuboid {

/// Uniform in [low, high).
Tensor uniform(const Shape& shape, const RandomKey& key, double low = 0, double high = 1, TensorOptions options = {});
Tensor normal(const Shape& shape, const RandomKey& key, double mean = 0, double deviation = 1, TensorOptions options = {});

/// Zeroes each element with probability p and scales the others by 1/(1-p). The backward pass draws the mask again.
Tensor dropout(const Tensor& x, double p, const RandomKey& key);

}  // namespace cuboid
