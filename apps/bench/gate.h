// SPDX-License-Identifier: Apache-2.0
// The numbers must agree before a clock runs: outputs and every gradient of both sides, from the same weights and inputs.
#pragma once
#include <filesystem>

#include "apps/bench/result.h"

namespace cuboid::bench {

/// Two files of named tensors, as the sides write them. Of the outputs: largest |a - b| as a share of the largest |b|. Of the
/// gradients: |a - b| / |b|, all of them taken as one vector. (Tensor by tensor there are gradients that are zero but for
/// rounding: what a norm adds is taken away by the next norm.) DataError when the two differ in what they hold, or hold what
/// is not finite.
Agreement agreement(const std::string& side, const std::filesystem::path& ours, const std::filesystem::path& judge);

/// What is allowed. f32: 1e-4. bf16 keeps 8 bits, and the roundings of a hundred layers add up, there and back: 5 % of the
/// outputs, 10 % of the gradient.
struct Allowed {
  double outputs, gradient;
};
Allowed allowed(const std::string& dtype);
/// Throws Error that names both figures when they are too far apart.
void require(const Agreement& a, const std::string& dtype, const std::string& row);

}  // namespace cuboid::bench
