// SPDX-License-Identifier: Apache-2.0
// What the rows of cross_entropy's tables compute. Row i of the target is t[c] = (1-s) w[y] at the label y, plus s/C w[c]
// everywhere, s being the smoothing and w the weights; the loss of a sample is -sum(t log p). A label out of range: NaN.
#pragma once
#include "kernels/dispatch.h"
#include "kernels/loss/cross_entropy.h"

namespace cuboid {

struct CrossEntropyTerms {
  double smoothing;
  Reduction reduction;
};

/// logits [N,C]; labels [N] i64; weights [C], dense, or without data. result: [N], or one value; scale: what a sample's loss
/// was multiplied by, one value. Both, like the weights, in Accum<logits' type>.
using CrossEntropy = void(const View& logits, const View& labels, const View& weights, const Out& result, const Out& scale,
                          CrossEntropyTerms terms);
/// g [N], any stride: of the samples' losses. dx lies as it likes.
using CrossEntropyGrad = void(const View& g, const View& logits, const View& labels, const View& weights, const View& scale,
                              const Out& dx, CrossEntropyTerms terms);

namespace cpu {
// In f64.
CrossEntropy cross_entropy;
CrossEntropyGrad cross_entropy_grad;
}  // namespace cpu

#if CUBOID_CUDA
namespace cuda {
// A team of threads per sample; in f32 (f64 for f64), the references in f64.
CrossEntropy cross_entropy, cross_entropy_reference;
CrossEntropyGrad cross_entropy_grad, cross_entropy_grad_reference;
}  // namespace cuda
#endif

}  // namespace cuboid
