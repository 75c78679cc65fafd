// SPDX-License-Identifier: Apache-2.0
// A dense block (Huang et al. 2017) as one op. Each layer reads all channels made so far and adds `growth` new ones:
//   new = conv3(act(norm2(conv1(act(norm1(x))))))       x = cat(x, new)
// conv1 is 1x1x1, conv3 is 3x3x3 with padding 1; no bias. The whole block lives in one channels-last slab, whose channel
// prefix a layer reads and whose next slice it writes; statistics of a channel are computed once, when it is made; the
// backward pass recomputes norm and activation instead of keeping them.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "kernels/norm/norm.h"

namespace cuboid {

/// Scale, shift and running statistics of one batch norm, each of shape [channels].
struct DenseNormTensors {
  Tensor weight, bias, running_mean, running_var;
};

struct DenseLayerTensors {
  DenseNormTensors norm1;  // channels so far
  Tensor conv1;            // [bottleneck, channels so far, 1, 1(, 1)]
  DenseNormTensors norm2;  // bottleneck
  Tensor conv2;            // [growth, bottleneck, 3, 3(, 3)]
};

struct DenseBlockOptions {
  bool training = true;  // batch statistics, running ones updated in place; false: running statistics are used
  double momentum = 0.1;
  double eps = 1e-5;
  double slope = 0;                             // of the activation below zero: 0 is ReLU, 0.01 the usual leaky ReLU
  std::shared_ptr<const NormRanks> ranks = {};  // when training: batch statistics of all these; no second derivative
};

/// x [N,C,(D,)H,W] -> [N, C + layers * growth, (D,)H,W], channels-last. Differentiable in x and in every weight.
Tensor dense_block(const Tensor& x, const std::vector<DenseLayerTensors>& layers, const DenseBlockOptions& options = {});

}  // namespace cuboid
