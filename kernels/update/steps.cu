// SPDX-License-Identifier: Apache-2.0
// The optimisers' steps, and what else changes lists of tensors element by element.
#include <cmath>

#include "kernels/update/cuda.h"
#include "kernels/update/lists.h"

namespace cuboid::cuda {
namespace {

// A rule says what becomes of the elements at one place: v[0] is read only, the others are results. A is the type it
// computes in. `old` rules read the results' old values. here() is the rule with the numbers that only the device knows.

template <class A>
struct SgdRule {  // g, p, [m]
  static constexpr bool old = true;
  A lr, momentum, decay, own, carried;  // direction = own g' + carried m
  const double* staged;

  explicit SgdRule(const SgdStep& s)
      : lr(static_cast<A>(s.lr)),
        momentum(static_cast<A>(s.momentum)),
        decay(static_cast<A>(s.weight_decay)),
        own(s.nesterov ? A(1) : A(0)),
        carried(s.nesterov ? momentum : A(1)),
        staged(s.staged) {}
  __device__ SgdRule here() const {
    SgdRule r = *this;
    if (staged) r.lr = static_cast<A>(staged[0]);
    return r;
  }
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
  double decoupled;  // weight decay
  const double* staged;

  explicit AdamRule(const AdamStep& s)
      : beta1(static_cast<A>(s.beta1)),
        rest1(static_cast<A>(1 - s.beta1)),
        beta2(static_cast<A>(s.beta2)),
        rest2(static_cast<A>(1 - s.beta2)),
        coupled(static_cast<A>(s.decoupled ? 0 : s.weight_decay)),
        inside(static_cast<A>(s.epsilon == Epsilon::inside ? s.eps : 0)),
        outside(static_cast<A>(s.epsilon == Epsilon::inside ? 0 : s.eps)),
        decoupled(s.decoupled ? s.weight_decay : 0),
        staged(s.staged) {
    const double t = static_cast<double>(s.t);
    set(s.lr, 1 - std::pow(s.beta1, t), 1 - std::pow(s.beta2, t));
  }
  CUBOID_HD void set(double lr, double correct1, double correct2) {
    rate = static_cast<A>(lr / correct1);
    scale2 = static_cast<A>(1 / correct2);
    shrink = static_cast<A>(lr * decoupled);
  }
  __device__ AdamRule here() const {
    AdamRule r = *this;
    if (staged) r.set(staged[0], staged[1], staged[2]);
    return r;
  }
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
  __device__ AverageRule here() const { return *this; }
  __device__ void operator()(A (&v)[2]) const { v[1] += share * (v[0] - v[1]); }
};

template <class A>
struct ScaleRule {  // x, y
  static constexpr bool old = false;
  A factor;
  CUBOID_HD explicit ScaleRule(double f) : factor(static_cast<A>(f)) {}
  __device__ ScaleRule here() const { return *this; }
  __device__ void operator()(A (&v)[2]) const { v[1] = factor * v[0]; }
};

struct Clip {
  const double* square_sum;
  double limit;
};
template <class A>
struct ClipRule {  // x, y
  static constexpr bool old = false;
  Clip clip;
  explicit ClipRule(const Clip& c) : clip(c) {}
  __device__ ScaleRule<A> here() const { return ScaleRule<A>(clip_factor(std::sqrt(*clip.square_sum), clip.limit)); }
};

template <class T, int W, class A, class Rule, int P, int N>
__global__ void __launch_bounds__(update_threads) update_kernel(const Lists<T, P, N> lists, const Rule given) {
  const auto rule = given.here();
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
