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

Tensor cross_entropy(const Tensor& given, const Tensor& labels, const CrossEntropyOptions& o) {
  check(given.rank() == 2, "cross_entropy: logits have shape ", given.shape(), ", expected [N,C]");
  const std::int64_t n = given.dim(0), classes = given.dim(1);
  check(n > 0, "cross_entropy: empty batch");
  check(labels.shape() == Shape{n} && labels.dtype() == DType::i64, "cross_entropy: labels are ", labels.dtype(), labels.shape(),
        ", expected i64[", n, "]");
  check(o.label_smoothing >= 0 && o.label_smoothing <= 1, "cross_entropy: label_smoothing is ", o.label_smoothing);
  std::vector<double> weights(static_cast<std::size_t>(classes), 1.0);
  if (o.class_weights.defined()) {
    check(o.class_weights.shape() == Shape{classes}, "cross_entropy: class_weights have shape ", o.class_weights.shape(),
          ", expected [", classes, "]");
    weights = o.class_weights.to_vector();
  }

  // Row i of the target: (1-s) w[y] at the label y, plus s/C w[c] everywhere; then the loss is -sum(target * log p).
  std::vector<double> target(static_cast<std::size_t>(n * classes));
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t y = labels.data<std::int64_t>()[i * labels.strides()[0]];
    check<DataError>(y >= 0 && y < classes, "cross_entropy: label ", y, " of sample ", i, ", but there are ", classes,
                     " classes");
    for (std::int64_t c = 0; c < classes; ++c) {
      const double w = weights[static_cast<std::size_t>(c)];
      target[static_cast<std::size_t>(i * classes + c)] =
          o.label_smoothing / static_cast<double>(classes) * w + (c == y ? (1 - o.label_smoothing) * w : 0);
    }
    total += weights[static_cast<std::size_t>(y)];
  }
  const Tensor logits = widened(given);
  const Tensor row_targets = empty({n, classes}, {logits.dtype()});
  copy(from_values(target, {n, classes}), row_targets);
  const Tensor losses = -sum(log_softmax(logits, 1) * row_targets, {1});
  if (o.reduction == Reduction::none) return losses;
  return o.reduction == Reduction::sum ? sum(losses) : sum(losses) * (1 / total);
}

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
