// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "layers/module.h"

namespace cuboid {

struct LinearOptions {
  bool bias = true;
};

/// N,in -> N,out. Weight (out, in) and bias start uniform in +-1/sqrt(in), as PyTorch's do.
class Linear : public Module {
 public:
  Parameter weight, bias;
  FIELDS(weight, bias)

  Linear(std::int64_t in, std::int64_t out, LinearOptions options = {});
  Tensor operator()(const Tensor& x);
};

}  // namespace cuboid
