// SPDX-License-Identifier: Apache-2.0
// Activations that fused kernels apply to what they compute anyway.
#pragma once
#include <cstdint>

namespace cuboid {

enum class Activation : std::uint8_t { none, relu, leaky_relu };

/// An activation is max(v, slope * v) with slope 1, 0 or the leak (in [0, 1]).
constexpr double slope_of(Activation a, double leak) { return a == Activation::none ? 1 : a == Activation::relu ? 0 : leak; }

}  // namespace cuboid
