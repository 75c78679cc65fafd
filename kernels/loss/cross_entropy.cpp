// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/cross_entropy.h"

#include "core/autograd.h"
#include "core/strided.h"
#include "kernels/loss/rows.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"

namespace cuboid {
namespace {

constexpr Impl<CrossEntropy> forward_rows[] = {
    {"reference", Device::cpu, always, cpu::cross_entropy},
#if CUBOID_CUDA
    {"teams", Device::cuda, always, cuda::cross_entropy},
    {"reference", Device::cuda, always, cuda::cross_entropy_reference},
#endif
};
constexpr Impl<CrossEntropyGrad> gradient_rows[] = {
    {"reference", Device::cpu, always, cpu::cross_entropy_grad},
#if CUBOID_CUDA
    {"teams", Device::cuda, always, cuda::cross_entropy_grad},
    {"reference", Device::cuda, always, cuda::cross_entropy_grad_reference},
#endif
};

DType result_type(const Tensor& logits) { return logits.dtype() == DType::f64 ? DType::f64 : DType::f32; }

/// Dense, of a type, on a device; outside the derivative graph. An undefined one stays so.
Tensor brought(const Tensor& x, DType dtype, Device device) {
  if (!x.defined() || (x.dtype() == dtype && x.device() == device && x.is(Layout::contiguous)))
    return x.defined() ? x.detach() : x;
  const Tensor y = empty(x.shape(), {dtype, device});
  copy(x, y);
  return y;
}

View view_or_none(const Tensor& x) { return x.defined() ? x.view() : View{}; }

/// The definition, for second derivatives. labels and weights are where the logits are.
Tensor composed(const Tensor& given, const Tensor& labels, const Tensor& weights, const CrossEntropyTerms& terms) {
  const Tensor logits = cast(given, result_type(given));
  const std::int64_t classes = logits.dim(1);
  const Tensor at_label = one_hot(labels, classes, logits.dtype());
  const Tensor own = weights.defined() ? at_label * weights : at_label;
  const double share = terms.smoothing / static_cast<double>(classes);
  const Tensor target = own * (1 - terms.smoothing) + (weights.defined() ? weights * share : full({}, share, logits.options()));
  const Tensor losses = -sum(log_softmax(logits, 1) * target, {1});
  if (terms.reduction == Reduction::none) return losses;
  return terms.reduction == Reduction::sum ? sum(losses) : sum(losses) / sum(own);
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& given_labels, const CrossEntropyOptions& o) {
  check(logits.rank() == 2, "cross_entropy: logits have shape ", logits.shape(), ", expected [N,C]");
  const std::int64_t n = logits.dim(0), classes = logits.dim(1);
  check(n > 0, "cross_entropy: empty batch");
  check(given_labels.shape() == Shape{n} && given_labels.dtype() == DType::i64, "cross_entropy: labels are ",
        given_labels.dtype(), given_labels.shape(), ", expected i64[", n, "]");
  check(o.label_smoothing >= 0 && o.label_smoothing <= 1, "cross_entropy: label_smoothing is ", o.label_smoothing);
  check(!o.class_weights.defined() || o.class_weights.shape() == Shape{classes}, "cross_entropy: class_weights have shape ",
        o.class_weights.defined() ? o.class_weights.shape() : Shape{}, ", expected [", classes, "]");
  if (given_labels.device() == Device::cpu)
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t y = given_labels.data<std::int64_t>()[i * given_labels.strides()[0]];
      check<DataError>(y >= 0 && y < classes, "cross_entropy: label ", y, " of sample ", i, ", but there are ", classes,
                       " classes");
    }

  const DType type = result_type(logits);
  const Tensor labels = to(given_labels, logits.device()), weights = brought(o.class_weights, type, logits.device());
  const CrossEntropyTerms terms{o.label_smoothing, o.reduction};
  const Tensor result = empty(o.reduction == Reduction::none ? Shape{n} : Shape{}, {type, logits.device()});
  const Tensor scale = empty({}, {type, logits.device()});
  run({"cross_entropy", 5 * static_cast<double>(logits.size())}, forward_rows, logits.view(), labels.view(),
      view_or_none(weights), result.mutate(), scale.mutate(), terms);
  return record("cross_entropy", result, {logits}, [=](const Tensor& g, const Step&) {
    if (recording()) return replay([&](const Tensors& in) { return composed(in[0], labels, weights, terms); }, {logits}, g);
    const Tensor dx = empty_like(logits);
    run({"cross_entropy_grad", 5 * static_cast<double>(logits.size())}, gradient_rows, broadcast(g.view(), {n}), logits.view(),
        labels.view(), view_or_none(weights), scale.view(), dx.mutate(), terms);
    return Tensors{dx};
  });
}

}  // namespace cuboid
