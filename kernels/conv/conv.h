// SPDX-License-Identifier: Apache-2.0
// Convolution as a family of three: sum over everything of g * x * w is linear in each of the three, and
//   conv(x, w), conv_input(g, w), conv_weight(g, x)
// are its partial maps. Each one's derivative is made of the other two, so every order of derivative exists.
// Transposed convolution is conv_input under another name. 1 to 3 spatial dimensions; 2D is 3D with depth 1.
#pragma once
#include "core/tensor.h"
#include "kernels/conv/matmul.h"

namespace cuboid {

/// One entry per spatial dimension; padding may differ at the two ends.
struct ConvSpec {
  Shape stride, pad_lo, pad_hi, dilation;
  std::int64_t groups = 1;

  /// The same stride, padding and dilation in all `rank` spatial dimensions.
  static ConvSpec make(int rank, std::int64_t stride = 1, std::int64_t pad = 0, std::int64_t dilation = 1,
                       std::int64_t groups = 1);
  int rank() const { return stride.rank(); }
  /// N,K,spatial of conv(x, w). Throws when the shapes do not fit together or the result is empty.
  Shape output_shape(const Shape& x, const Shape& w) const;
  /// N,C,spatial of conv_transpose(x, w): the smallest input that conv maps to x's size, plus output_pad at the end.
  Shape transposed_shape(const Shape& x, const Shape& w, const Shape& output_pad = {}) const;
  friend bool operator==(const ConvSpec&, const ConvSpec&) = default;
};
/// All of it in a row.
std::vector<std::int64_t> numbers_of(const ConvSpec& spec);

/// x (N, C, spatial), w (K, C/groups, kernel) -> (N, K, spatial). The result has x's layout.
Tensor conv(const Tensor& x, const Tensor& w, const ConvSpec& spec);
/// With a bias per output channel (K), added while the result is still in the cache; may be undefined.
Tensor conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvSpec& spec);
/// The gradient of conv's x: g has conv's output shape, the result has x_shape.
Tensor conv_input(const Tensor& g, const Tensor& w, const ConvSpec& spec, const Shape& x_shape);
/// The gradient of conv's w: the result has w_shape.
Tensor conv_weight(const Tensor& g, const Tensor& x, const ConvSpec& spec, const Shape& w_shape);

/// x (N, K, spatial), w (K, C/groups, kernel) as in PyTorch -> (N, C, spatial).
Tensor conv_transpose(const Tensor& x, const Tensor& w, const ConvSpec& spec, const Shape& output_pad = {});

}  // namespace cuboid
