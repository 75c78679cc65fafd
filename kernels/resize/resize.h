// SPDX-License-Identifier: Apache-2.0
// Nearest and (bi-, tri-)linear resampling with PyTorch's index rules, in 1 to 3 spatial dimensions.
#pragma once
#include "core/tensor.h"

namespace cuboid {

enum class Resize : std::uint8_t { nearest, linear };

struct ResizeOptions {
  Resize mode = Resize::nearest;
  bool align_corners = false;  // linear: the corner voxels' centres coincide; otherwise the corners themselves do
};

/// x (N, C, spatial) -> (N, C, size). The result has x's layout.
Tensor resize(const Tensor& x, const Shape& size, ResizeOptions options = {});
/// The adjoint map: the gradient of resize's x, which had `x_shape`.
Tensor resize_backward(const Tensor& g, const Shape& x_shape, ResizeOptions options = {});

}  // namespace cuboid
