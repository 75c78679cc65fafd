// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>

#include "kernels/conv/conv.h"
#include "layers/init.h"
#include "layers/module.h"
#include "layers/precision.h"

namespace cuboid {

/// One number for every axis, or one each: .kernel = 3, .kernel = {7, 1, 1}.
struct PerAxis {
  PerAxis(std::int64_t all) : values{all} {}  // NOLINT: a number is meant to pass for it
  PerAxis(std::initializer_list<std::int64_t> each) : values(each) {}
  std::int64_t operator[](int axis) const { return values[values.rank() == 1 ? 0 : axis]; }
  Shape values;
};

struct ConvOptions {
  int dims = 3;  // spatial dimensions, 1 to 3
  PerAxis kernel = 3;
  std::int64_t stride = 1;
  PerAxis pad = 0;
  std::int64_t dilation = 1, groups = 1;
  bool bias = true;
  std::optional<Fan> kaiming = {};  // weights start normal (He et al. 2015) by this fan, not uniform
};

/// Convolution of N,C,[D,][H,]W. Weights and bias start uniform in +-1/sqrt(fan_in), as PyTorch's do.
class Conv : public Module {
 public:
  Parameter weight, bias;
  FIELDS(weight, bias)

  Conv(std::int64_t in, std::int64_t out, ConvOptions options = {});
  Tensor operator()(const Tensor& x);
  const ConvSpec& spec() const { return spec_; }
  Shape output_shape(const Shape& x) const { return spec_.output_shape(x, weight.shape()); }
  /// Multiply-adds of one call.
  std::int64_t macs(const Shape& x) const;

 private:
  ConvSpec spec_;
};

/// A Conv in 1, 2 or 3 dimensions by name.
struct Conv1d : Conv {
  Conv1d(std::int64_t in, std::int64_t out, ConvOptions o = {}) : Conv(in, out, with_dims(o)) {}
  static ConvOptions with_dims(ConvOptions o) { return o.dims = 1, o; }
};
struct Conv2d : Conv {
  Conv2d(std::int64_t in, std::int64_t out, ConvOptions o = {}) : Conv(in, out, with_dims(o)) {}
  static ConvOptions with_dims(ConvOptions o) { return o.dims = 2, o; }
};
struct Conv3d : Conv {
  Conv3d(std::int64_t in, std::int64_t out, ConvOptions o = {}) : Conv(in, out, with_dims(o)) {}
  static ConvOptions with_dims(ConvOptions o) { return o.dims = 3, o; }
};

}  // namespace cuboid
