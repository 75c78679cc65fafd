// SPDX-License-Identifier: Apache-2.0
#include "layers/norm.h"

namespace cuboid {

BatchNorm::BatchNorm(std::int64_t channels, NormOptions options)
    : weight(full({channels}, 1)),
      bias(zeros({channels})),
      running_mean(zeros({channels})),
      running_var(full({channels}, 1)),
      options_(options) {}

Tensor BatchNorm::operator()(const Tensor& x) {
  return batch_norm(x, weight, bias, running_mean, running_var,
                    {.training = training(),
                     .momentum = options_.momentum,
                     .eps = options_.eps,
                     .activation = options_.activation,
                     .slope = options_.slope,
                     .rebuilt = options_.rebuilt,
                     .ranks = ranks_});
}

InstanceNorm::InstanceNorm(std::int64_t channels, NormOptions options) : options_(options) {
  if (!options.affine) return;
  weight = Parameter(full({channels}, 1));
  bias = Parameter(zeros({channels}));
}

Tensor InstanceNorm::operator()(const Tensor& x) {
  return instance_norm(x, weight, bias, options_.eps, options_.activation, options_.slope);
}

}  // namespace cuboid
