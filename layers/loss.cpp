// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"

namespace cuboid {

namespace {

Tensor widened(const Tensor& x) { return size_of(x.dtype()) < 4 && is_floating(x.dtype()) ? cast(x, DType::f32) : x; }

Tensor reduced(const Tensor& x, Reduction reduction) {
  return reduction == Reduction::mean ? mean(x) : reduction == Reduction::sum ? sum(x) : x;
}

}  // namespace

Tensor bce_with_logits(const Tensor& given, const Tensor& given_targets, const BceOptions& o) {
  check(given.shape() == given_targets.shape(), "bce_with_logits: logits ", given.shape(), ", targets ", given_targets.shape());
  const Tensor x = widened(given), t = cast(given_targets, x.dtype());
  // -[p t log s(x) + (1-t) log(1-s(x))] with log s(x) = -softplus(-x), log(1-s(x)) = -softplus(x)
  const Tensor positive = t * softplus(-x);
  const Tensor negative = (1.0 - t) * softplus(x);
  return reduced((o.positive_weight.defined() ? positive * cast(o.positive_weight, x.dtype()) : positive) + negative,
                 o.reduction);
}

Tensor mse(const Tensor& prediction, const Tensor& target, Reduction reduction) {
  check(prediction.shape() == target.shape(), "mse: prediction ", prediction.shape(), ", target ", target.shape());
  const Tensor p = widened(prediction);
  return reduced(square(p - cast(target, p.dtype())), reduction);
}

}  // namespace cuboid
