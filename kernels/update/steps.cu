// SPDX-License-Identifier: Apache-2.0
// The optimisers' steps, and what else changes lists of tensors element by element.
#include <cmath>

#include "kernels/update/cuda.h"
#include "kernels/update/lists.h"

namespace cuboid::cuda {
namespace {

// A rule says what becomes of the elements at one place: v[0] is read only, the others are results. A is the type it
// computes in. `old` rules read the results' old values.

template <class A>
struct SgdRule {  // g, p, [m]
  static constexpr bool old = true;
  A lr, momentum, decay, own, carried;  // direction = own g' + carried m

  explicit SgdRule(const SgdStep& s)
      : lr(static_cast<A>(s.lr)),
        momentum(static_cast<A>(s.momentum)),
        decay(static_cast<A>(s.weight_decay)),
        own(s.nesterov ? A(1) : A(0)),
        carried(s.nesterov ? momentum : A(1)) {}
  template <int P>
  __device__ void operator()(A (&v)[P]) const {
    const A d = v[0] + decay * v[1];
    if constexpr (P == 2) {
      v[1] -= lr * d;
    } else {
      v[2] = momentum * v[2] + d;
      v[1] -= lr * (own * d + carried * v[2]);
    }
  }
};

template <class A>
struct AdamRule {  // g, p, m, v
  static constexpr bool old = true;
  A beta1, rest1, beta2, rest2, rate, scale2, coupled, shrink, inside, outside;

  explicit AdamRule(const AdamStep& s)
      : beta1(static_cast<A>(s.beta1)),
        rest1(static_cast<A>(1 - s.beta1)),
        beta2(static_cast<A>(s.beta2)),
        rest2(static_cast<A>(1 - s.beta2)),
        rate(static_cast<A>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.t))))),
        scale2(static_cast<A>(1 / (1 - std::pow(s.beta2, static_cast<double>(s.t))))),
        coupled(static_cast<A>(s.decoupled ? 0 : s.weight_decay)),
        shrink(static_cast<A>(s.decoupled ? s.lr * s.weight_decay : 0)),
        inside(static_cast<A>(s.epsilon == Epsilon::inside ? s.eps : 0)),
        outside(static_cast<A>(s.epsilon == Epsilon::inside ? 0 : s.eps)) {}
  __device__ void operator()(A (&v)[4]) const {
    const A d = v[0] + coupled * v[1];
    v[2] = beta1 * v[2] + rest1 * d;
    v[3] = beta2 * v[3] + rest2 * d * d;
    v[1] = v[1] - shrink * v[1] - rate * v[2] / (std::sqrt(v[3] * scale2 + inside) + outside);
  }
};

template <class A>
struct AverageRule {  // x, average
  static constexpr bool old = true;
  A share;
  explicit AverageRule(double decay) : share(static_cast<A>(1 - decay)) {}
  __device__ void operator()(A (&v)[2]) const { v[1] += share * (v[0] - v[1]); }
};

template <class A>
struct ScaleRule {  // x, y
  static constexpr bool old = false;
  A factor;
  explicit ScaleRule(double f) : factor(static_cast<A>(f)) {}
  __device__ void operator()(A (&v)[2]) const { v[1] = factor * v[0]; }
};

/// The factor is known on the device only.
struct Clip {
  const double* square_sum;
  double limit;
};
template <class A>
struct ClipRule {  // x, y
  static constexpr bool old = false;
  Clip clip;
  explicit ClipRule(const Clip& c) : clip(c) {}
  __device__ void operator()(A (&v)[2]) const {
    v[1] = static_cast<A>(clip_factor(std::sqrt(*clip.square_sum), clip.limit)) * v[0];
  }
};

template <class T, int W, class A, class Rule, int P, int N>
__global__ void __launch_bounds__(update_threads) update_kernel(const Lists<T, P, N> lists, const Rule rule) {
  const auto c = lists.chunk(static_cast<int>(blockIdx.x));
  const std::int64_t first = c.begin + static_cast<std::int64_t>(threadIdx.x) * W;
#pragma unroll 2
  for (std::int64_t i = first; i + W <= c.end; i += update_threads * W) {
    Packet<T, W> packet[P];
    for (int p = 0; p < (Rule::old ? P : 1); ++p) packet[p] = Packet<T, W>::load(lists.data[p][c.place] + i);
    for (int k = 0; k < W; ++k) {
      A v[P];
      for (int p = 0; p < (Rule::old ? P : 1); ++p) v[p] = static_cast<A>(packet[p].at[k]);
      rule(v);
      for (int p = 1; p < P; ++p) packet[p].at[k] = static_cast<T>(v[p]);
    }
    for (int p = 1; p < P; ++p) packet[p].store(lists.data[p][c.place] + i);
  }
  const std::int64_t rest = (c.end - c.begin) % W, i = c.end - rest + threadIdx.x;  // the end of a tensor
  if (i >= c.end) return;
  A v[P];
  for (int p = 0; p < (Rule::old ? P : 1); ++p) v[p] = static_cast<A>(lists.data[p][c.place][i]);
  rule(v);
  for (int p = 1; p < P; ++p) lists.data[p][c.place][i] = static_cast<T>(v[p]);
}

template <class T, int W, class A, class Rule, class... V>
void update(const char* name, const Rule& rule, const V&... operands) {
  each_table<T>(
      [&]<int P, int N>(const Lists<T, P, N>& lists, std::int64_t) {
        gpu::launch(update_kernel<T, W, A, Rule, P, N>, blocks_of(lists.first_block[lists.count], update_threads, name), lists,
                    rule);
      },
      operands...);
}

/// Rule<A>(arguments) over packets, in the tensors' type.
template <template <class> class Rule, class Argument, class... V>
void in_chunks(const char* name, const Argument& argument, const Views& first, const V&... rest) {
  with_type(first.front(), [&]<class T>() {
    if (all_in_packets(first) && (all_in_packets(rest) && ...))
      update<T, packet_width<T>, T>(name, Rule<T>(argument), first, rest...);
    else update<T, 1, T>(name, Rule<T>(argument), first, rest...);
  });
}
template <template <class> class Rule, class Argument, class... V>
void in_doubles(const char* name, const Argument& argument, const Views& first, const V&... rest) {
  with_type(first.front(), [&]<class T>() { update<T, 1, double>(name, Rule<double>(argument), first, rest...); });
}

}  // namespace

void sgd_chunks(const Views& g, const Outs& p, const Outs& m, SgdStep step) {
  if (m.empty()) in_chunks<SgdRule>("sgd", step, g, p);
  else in_chunks<SgdRule>("sgd", step, g, p, m);
}
void sgd_reference(const Views& g, const Outs& p, const Outs& m, SgdStep step) {
  if (m.empty()) in_doubles<SgdRule>("sgd", step, g, p);
  else in_doubles<SgdRule>("sgd", step, g, p, m);
}

void adam_chunks(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep step) {
  in_chunks<AdamRule>("adam", step, g, p, m, v);
}
void adam_reference(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep step) {
  in_doubles<AdamRule>("adam", step, g, p, m, v);
}

void average_chunks(const Views& x, const Outs& average, double decay) { in_chunks<AverageRule>("average", decay, x, average); }
void average_reference(const Views& x, const Outs& average, double decay) {
  in_doubles<AverageRule>("average", decay, x, average);
}

void scale_chunks(const Views& x, const Outs& y, double factor) { in_chunks<ScaleRule>("scale", factor, x, y); }
void scale_reference(const Views& x, const Outs& y, double factor) { in_doubles<ScaleRule>("scale", factor, x, y); }

void clip_chunks(const Views& x, const View& square_sum, const Outs& y, double limit) {
  in_chunks<ClipRule>("clip", Clip{square_sum.as<double>(), limit}, x, y);
}
void clip_reference(const Views& x, const View& square_sum, const Outs& y, double limit) {
  in_doubles<ClipRule>("clip", Clip{square_sum.as<double>(), limit}, x, y);
}

}  // namespace cuboid::cuda
