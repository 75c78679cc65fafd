// SPDX-License-Identifier: Apache-2.0
// A convolution's sizes and an operand's elements as a kernel sees them. `I` is int where every offset fits one.
#pragma once
#include "core/hd.h"
#include "core/indexer.h"
#include "kernels/conv/geometry.h"

namespace cuboid {

template <class I>
struct Walk {
  I samples, groups, inputs, outputs;  // channels per group
  I in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];

  explicit Walk(const Geometry& g)
      : samples(static_cast<I>(g.samples)),
        groups(static_cast<I>(g.groups)),
        inputs(static_cast<I>(g.in_channels / g.groups)),
        outputs(static_cast<I>(g.out_channels / g.groups)) {
    for (std::size_t a = 0; a < 3; ++a) {
      in[a] = static_cast<I>(g.in[a]);
      out[a] = static_cast<I>(g.out[a]);
      kernel[a] = static_cast<I>(g.kernel[a]);
      stride[a] = static_cast<I>(g.stride[a]);
      dilation[a] = static_cast<I>(g.dilation[a]);
      pad[a] = static_cast<I>(g.pad_lo[a]);
    }
  }
  /// The input that output o reads through tap t along an axis; false when it lies in the padding.
  CUBOID_HD bool input_at(int axis, I o, I t, I& i) const {
    i = o * stride[axis] - pad[axis] + t * dilation[axis];
    return i >= 0 && i < in[axis];
  }
  /// The output that reads input i through tap t along an axis; false when there is none.
  CUBOID_HD bool output_at(int axis, I i, I t, I& o) const {
    const I reach = i + pad[axis] - t * dilation[axis];
    o = reach / stride[axis];
    return reach >= 0 && o * stride[axis] == reach && o < out[axis];
  }
};

/// A 3 to 5 dimensional operand by sample, channel and position; what is missing in front of the position has stride 0.
template <class T, class I>
struct Volume {
  T* data;
  I strides[5] = {};

  explicit Volume(const View& v) : data(v.as<T>()) {
    strides[0] = static_cast<I>(v.stride(0));
    strides[1] = static_cast<I>(v.stride(1));
    for (int i = 1; i <= v.rank() - 2; ++i) strides[5 - i] = static_cast<I>(v.strides[-i]);
  }
  CUBOID_HD I offset(I n, I c, I d, I h, I w) const {
    return n * strides[0] + c * strides[1] + d * strides[2] + h * strides[3] + w * strides[4];
  }
};

/// Takes the last of several row-major indices out of i.
template <class I>
CUBOID_HD I take_index(I& i, I size) {
  const I q = i / size, index = i - q * size;
  i = q;
  return index;
}

}  // namespace cuboid
