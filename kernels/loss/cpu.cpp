// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "kernels/loss/rows.h"

namespace cuboid::cpu {
namespace {

constexpr std::int64_t grain = 1 << 12;  // logits per task

/// One sample in f64.
template <class T>
struct Sample {
  const T* x;
  std::int64_t step, classes, label;
  const Accum<T>* weights;
  double smoothing, top, log_total, label_weight, targets;  // targets: sum of t

  Sample(const View& logits, const View& labels, const View& w, double s, std::int64_t i)
      : x(logits.as<T>() + i * logits.strides[0]),
        step(logits.strides[1]),
        classes(logits.shape[1]),
        label(labels.as<std::int64_t>()[i * labels.strides[0]]),
        weights(w.as<Accum<T>>()),
        smoothing(s) {
    if (label < 0 || label >= classes) {
      top = log_total = label_weight = targets = std::numeric_limits<double>::quiet_NaN();
      return;
    }
    top = logit(0);
    for (std::int64_t c = 1; c < classes; ++c) top = std::max(top, logit(c));
    double total = 0, all_weights = 0;
    for (std::int64_t c = 0; c < classes; ++c) {
      total += std::exp(logit(c) - top);
      all_weights += weight(c);
    }
    log_total = std::log(total);
    label_weight = weight(label);
    targets = (1 - s) * label_weight + s / static_cast<double>(classes) * all_weights;
  }
  double logit(std::int64_t c) const { return static_cast<double>(x[c * step]); }
  double weight(std::int64_t c) const { return weights ? static_cast<double>(weights[c]) : 1; }
  double target(std::int64_t c) const {
    return smoothing / static_cast<double>(classes) * weight(c) + (c == label ? (1 - smoothing) * label_weight : 0);
  }
  double log_p(std::int64_t c) const { return logit(c) - top - log_total; }
  double loss() const {
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c)
      if (smoothing != 0 || c == label) sum -= target(c) * log_p(c);
    return label_weight == label_weight ? sum : label_weight;
  }
};

}  // namespace

void cross_entropy(const View& logits, const View& labels, const View& weights, const Out& result, const Out& scale,
                   CrossEntropyTerms terms) {
  const std::int64_t n = logits.shape[0];
  visit_floating(logits.dtype, "cross_entropy", [&]<class T>() {
    using A = Accum<T>;
    const Scratch<double> losses(2 * n);
    parallel_ranges(n, std::max<std::int64_t>(1, grain / logits.shape[1]), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Sample<T> sample(logits, labels, weights, terms.smoothing, i);
        losses[i] = sample.loss();
        losses[n + i] = sample.label_weight;
      }
    });
    double total = 0, weight = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      total += losses[i];
      weight += losses[n + i];
      if (terms.reduction == Reduction::none) result.as<A>()[i * result.strides[0]] = static_cast<A>(losses[i]);
    }
    const double factor = terms.reduction == Reduction::mean ? 1 / weight : 1;
    if (terms.reduction != Reduction::none) *result.as<A>() = static_cast<A>(total * factor);
    *scale.as<A>() = static_cast<A>(factor);
  });
}

void cross_entropy_grad(const View& g, const View& logits, const View& labels, const View& weights, const View& scale,
                        const Out& dx, CrossEntropyTerms terms) {
  visit_floating(logits.dtype, "cross_entropy", [&]<class T>() {
    using A = Accum<T>;
    const std::int64_t n = logits.shape[0], classes = logits.shape[1];
    parallel_ranges(n, std::max<std::int64_t>(1, grain / classes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Sample<T> sample(logits, labels, weights, terms.smoothing, i);
        const double own = static_cast<double>(g.as<A>()[i * g.strides[0]]) * static_cast<double>(*scale.as<A>());
        T* to = dx.as<T>() + i * dx.strides[0];
        for (std::int64_t c = 0; c < classes; ++c)
          to[c * dx.strides[1]] = static_cast<T>(own * (sample.targets * std::exp(sample.log_p(c)) - sample.target(c)));
      }
    });
  });
}

}  // namespace cuboid::cpu
