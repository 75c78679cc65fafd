// SPDX-License-Identifier: Apache-2.0
// What is timed besides bench/device: the flat nets' convolutions, matrix products, elementwise ops, reductions, random numbers.
#pragma once
#include "bench/device/convolutions.h"
#include "bench/device/ops.h"

namespace bench {

/// Of EfficientNet-B5 at 456 px (Tan & Le 2019; depthwise ones among them), batch 8; StyleGAN2 at 256 px (Karras et al. 2020),
/// batch 4; DenseNet121 at 256 px, batch 8. Two dimensions are three of which the first is 1. A layer of each kind and stage.
std::vector<ConvCase> flat_convolutions();

std::vector<OpCase> elements(DType dtype, const OpOptions& options);

}  // namespace bench
