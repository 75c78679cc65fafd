// SPDX-License-Identifier: Apache-2.0
// Cross-entropy: a team of threads per sample. Where one block takes all samples, the loss is one launch; otherwise the
// blocks' sums are added by a second. Samples are shared out by the shape alone.
#include <cmath>
#include <limits>

#include "kernels/loss/rows.h"
#include "kernels/reduce/team.h"

namespace cuboid::cuda {
namespace {

using reduce::cuda::fold;
using reduce::cuda::lanes_for;
using reduce::cuda::team_threads;

struct Add {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return a + b;
  }
};

template <class T>
struct Problem {
  const T* logits;
  const std::int64_t* labels;
  const Accum<T>* weights;  // or null
  std::int64_t samples, classes, sample_step, class_step, label_step;
  double smoothing;
  int lanes;

  Problem(const View& x, const View& y, const View& w, double s)
      : logits(x.as<T>()),
        labels(y.as<std::int64_t>()),
        weights(w.as<Accum<T>>()),
        samples(x.shape[0]),
        classes(x.shape[1]),
        sample_step(x.strides[0]),
        class_step(x.strides[1]),
        label_step(y.strides[0]),
        smoothing(s),
        lanes(lanes_for(x.shape[1])) {}
};

/// One sample; its team computes it together, in A. Teams beyond the last sample go along with zeros.
template <class T, class A>
struct Sample {
  const Problem<T>& p;
  const T* x;
  std::int64_t label;
  int lane;
  bool inside, valid;
  A top, log_total, label_weight, targets;  // targets: sum of t

  __device__ Sample(const Problem<T>& problem, std::int64_t i)
      : p(problem), lane(static_cast<int>(threadIdx.x) % problem.lanes), inside(i < problem.samples) {
    x = p.logits + (inside ? i : 0) * p.sample_step;
    label = inside ? p.labels[i * p.label_step] : 0;
    valid = label >= 0 && label < p.classes;
    top = -std::numeric_limits<A>::infinity();
    A total = 0, weights = 0;
    for (std::int64_t c = lane; inside && c < p.classes; c += p.lanes) top = max(top, logit(c));
    top = fold(top, p.lanes, [](A a, A b) { return max(a, b); });
    for (std::int64_t c = lane; inside && c < p.classes; c += p.lanes) {
      total += std::exp(logit(c) - top);
      weights += weight(c);
    }
    log_total = std::log(fold(total, p.lanes, Add{}));
    weights = fold(weights, p.lanes, Add{});
    label_weight = valid ? weight(label) : std::numeric_limits<A>::quiet_NaN();
    targets = static_cast<A>(1 - p.smoothing) * label_weight + share() * weights;
  }
  __device__ A logit(std::int64_t c) const { return static_cast<A>(static_cast<Accum<T>>(x[c * p.class_step])); }
  __device__ A weight(std::int64_t c) const { return p.weights ? static_cast<A>(p.weights[c]) : A(1); }
  __device__ A share() const { return static_cast<A>(p.smoothing / static_cast<double>(p.classes)); }
  __device__ A target(std::int64_t c) const {
    return share() * weight(c) + (c == label ? static_cast<A>(1 - p.smoothing) * label_weight : A(0));
  }
  __device__ A log_p(std::int64_t c) const { return logit(c) - top - log_total; }
  /// For all lanes of the team.
  __device__ A loss() const {
    A sum = 0;
    for (std::int64_t c = lane; inside && c < p.classes; c += p.lanes)
      if (p.smoothing != 0 || c == label) sum -= target(c) * log_p(c);
    sum = fold(sum, p.lanes, Add{});
    return valid ? sum : label_weight;
  }
};

/// What becomes of the sums of all losses and of their labels' weights.
template <class R>
__device__ void finish(double loss, double weight, Reduction reduction, R* result, R* scale) {
  const double factor = reduction == Reduction::mean ? 1 / weight : 1;
  if (reduction != Reduction::none) *result = static_cast<R>(loss * factor);
  *scale = static_cast<R>(factor);
}

/// parts: [blocks][2], or null when there is one block.
template <class T, class A>
__global__ void __launch_bounds__(team_threads)
    loss_kernel(Problem<T> p, std::int64_t per_block, Reduction reduction, Accum<T>* result, Accum<T>* scale, double* parts) {
  const std::int64_t begin = blockIdx.x * per_block, end = min(p.samples, begin + per_block);
  const int teams = team_threads / p.lanes, team = static_cast<int>(threadIdx.x) / p.lanes;
  double loss = 0, weight = 0;
  for (std::int64_t first = begin; first < end; first += teams) {
    const Sample<T, A> sample(p, first + team < end ? first + team : p.samples);
    const A own = sample.loss();
    if (sample.lane > 0 || !sample.inside) continue;
    loss += static_cast<double>(own);
    weight += static_cast<double>(sample.label_weight);
    if (reduction == Reduction::none) result[first + team] = static_cast<Accum<T>>(own);
  }
  loss = fold(loss, team_threads, Add{});
  weight = fold(weight, team_threads, Add{});
  if (threadIdx.x > 0) return;
  if (!parts) return finish(loss, weight, reduction, result, scale);
  parts[blockIdx.x * 2] = loss;
  parts[blockIdx.x * 2 + 1] = weight;
}

template <class R>
__global__ void __launch_bounds__(team_threads)
    finish_kernel(const double* parts, std::int64_t blocks, Reduction reduction, R* result, R* scale) {
  double loss = 0, weight = 0;
  for (std::int64_t i = threadIdx.x; i < blocks; i += team_threads) {
    loss += parts[i * 2];
    weight += parts[i * 2 + 1];
  }
  loss = fold(loss, team_threads, Add{});
  weight = fold(weight, team_threads, Add{});
  if (threadIdx.x == 0) finish(loss, weight, reduction, result, scale);
}

template <class T, class A>
__global__ void __launch_bounds__(team_threads)
    gradient_kernel(Problem<T> p, const Accum<T>* g, std::int64_t g_step, const Accum<T>* scale, T* dx, std::int64_t dx_sample,
                    std::int64_t dx_class) {
  const std::int64_t teams = team_threads / p.lanes, team = static_cast<std::int64_t>(threadIdx.x) / p.lanes;
  for (std::int64_t first = blockIdx.x * teams; first < p.samples; first += gridDim.x * teams) {
    const std::int64_t i = first + team;
    const Sample<T, A> sample(p, i);
    if (!sample.inside) continue;
    const A own = static_cast<A>(g[i * g_step]) * static_cast<A>(*scale);
    for (std::int64_t c = sample.lane; c < p.classes; c += p.lanes) {
      const A slope = sample.targets * std::exp(sample.log_p(c)) - sample.target(c);
      dx[i * dx_sample + c * dx_class] = static_cast<T>(own * slope);
    }
  }
}

template <class T, class A>
void forward(const View& logits, const View& labels, const View& weights, const Out& result, const Out& scale,
             CrossEntropyTerms terms) {
  using R = Accum<T>;
  const Problem<T> p(logits, labels, weights, terms.smoothing);
  const std::int64_t teams = team_threads / p.lanes, rounds = (p.samples + teams - 1) / teams;
  const std::int64_t per_block = std::max<std::int64_t>(4, (rounds + 1023) / 1024) * teams;
  const std::int64_t blocks = (p.samples + per_block - 1) / per_block;
  const Scratch<double> parts(blocks > 1 ? 2 * blocks : 0, Device::cuda);
  gpu::launch(loss_kernel<T, A>, blocks_of(blocks, team_threads, "cross_entropy"), p, per_block, terms.reduction, result.as<R>(),
              scale.as<R>(), blocks > 1 ? parts.data() : nullptr);
  if (blocks > 1)
    gpu::launch(finish_kernel<R>, blocks_of(1, team_threads, "cross_entropy_parts"), static_cast<const double*>(parts.data()),
                blocks, terms.reduction, result.as<R>(), scale.as<R>());
}

template <class T, class A>
void gradient(const View& g, const View& logits, const View& labels, const View& weights, const View& scale, const Out& dx,
              CrossEntropyTerms terms) {
  const Problem<T> p(logits, labels, weights, terms.smoothing);
  gpu::launch(gradient_kernel<T, A>, reduce::cuda::teams_of(p.samples, p.lanes, "cross_entropy_grad"), p, g.as<Accum<T>>(),
              g.strides[0], scale.as<Accum<T>>(), dx.as<T>(), dx.strides[0], dx.strides[1]);
}

}  // namespace

void cross_entropy(const View& logits, const View& labels, const View& weights, const Out& result, const Out& scale,
                   CrossEntropyTerms terms) {
  visit_floating(logits.dtype, "cross_entropy",
                 [&]<class T>() { forward<T, Accum<T>>(logits, labels, weights, result, scale, terms); });
}
void cross_entropy_reference(const View& logits, const View& labels, const View& weights, const Out& result, const Out& scale,
                             CrossEntropyTerms terms) {
  visit_floating(logits.dtype, "cross_entropy",
                 [&]<class T>() { forward<T, double>(logits, labels, weights, result, scale, terms); });
}

void cross_entropy_grad(const View& g, const View& logits, const View& labels, const View& weights, const View& scale,
                        const Out& dx, CrossEntropyTerms terms) {
  visit_floating(logits.dtype, "cross_entropy",
                 [&]<class T>() { gradient<T, Accum<T>>(g, logits, labels, weights, scale, dx, terms); });
}
void cross_entropy_grad_reference(const View& g, const View& logits, const View& labels, const View& weights, const View& scale,
                                  const Out& dx, CrossEntropyTerms terms) {
  visit_floating(logits.dtype, "cross_entropy",
                 [&]<class T>() { gradient<T, double>(g, logits, labels, weights, scale, dx, terms); });
}

}  // namespace cuboid::cuda
