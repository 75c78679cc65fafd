// SPDX-License-Identifier: Apache-2.0
// The reference rows compute in f64 and say what is meant; the pieces compute in the parameters' type, in parallel.
#include "kernels/update/rows.h"

#include <cmath>

#include "core/parallel.h"

namespace cuboid::cpu {

namespace {

/// f.operator()<T>(tensor index, element index) for everything, in order.
template <class F>
void each_element(const Outs& p, const char* op, F f) {
  for (std::size_t k = 0; k < p.size(); ++k)
    visit_floating(p[k].dtype, op, [&]<class T>() {
      for (std::int64_t i = 0; i < p[k].size(); ++i) f.template operator()<T>(k, i);
    });
}

struct Piece {
  std::size_t tensor;
  std::int64_t begin, end;
};

/// All tensors cut into pieces, and the pieces bundled into jobs of about 16 Ki elements: a net has hundreds of tiny
/// tensors beside its large ones.
template <class V>
std::vector<std::vector<Piece>> jobs_of(const std::vector<V>& tensors) {
  constexpr std::int64_t grain = 1 << 14;
  std::vector<std::vector<Piece>> jobs;
  std::int64_t room = 0;  // in the last job
  for (std::size_t k = 0; k < tensors.size(); ++k)
    for (std::int64_t begin = 0, size = tensors[k].size(); begin < size;) {
      if (room == 0) {
        jobs.emplace_back();
        room = grain;
      }
      const std::int64_t end = std::min(size, begin + room);
      jobs.back().push_back({k, begin, end});
      room -= end - begin;
      begin = end;
    }
  return jobs;
}

/// f.operator()<T>(job number, piece) for f32 and f64; the pieces of a job in order, the jobs in parallel.
template <class V, class F>
void each_piece(const std::vector<std::vector<Piece>>& jobs, const std::vector<V>& tensors, F f) {
  const auto all = [&]<class T>() {
    parallel_for(static_cast<std::int64_t>(jobs.size()), [&](std::int64_t i) {
      const auto job = static_cast<std::size_t>(i);
      for (const Piece& piece : jobs[job]) f.template operator()<T>(job, piece);
    });
  };
  if (tensors.front().dtype == DType::f64) all.template operator()<double>();
  else all.template operator()<float>();
}
template <class V, class F>
void each_piece(const std::vector<V>& tensors, F f) {
  each_piece(jobs_of(tensors), tensors, [&]<class T>(std::size_t, const Piece& piece) { f.template operator()<T>(piece); });
}

}  // namespace

// ---- SGD --------------------------------------------------------------------------------------

void sgd_reference(const Views& g, const Outs& p, const Outs& m, SgdStep s) {
  each_element(p, "sgd", [&]<class T>(std::size_t k, std::int64_t i) {
    T& value = p[k].as<T>()[i];
    const double gradient = static_cast<double>(g[k].as<T>()[i]) + s.weight_decay * static_cast<double>(value);
    double direction = gradient;
    if (!m.empty()) {
      const double momentum = s.momentum * static_cast<double>(m[k].as<T>()[i]) + gradient;
      m[k].as<T>()[i] = static_cast<T>(momentum);
      direction = s.nesterov ? gradient + s.momentum * momentum : momentum;
    }
    value = static_cast<T>(static_cast<double>(value) - s.lr * direction);
  });
}

void sgd_pieces(const Views& g, const Outs& p, const Outs& m, SgdStep s) {
  each_piece(p, [&]<class T>(const Piece& piece) {
    const T lr = static_cast<T>(s.lr), mu = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
    const T* gradient = g[piece.tensor].as<T>();
    T* value = p[piece.tensor].as<T>();
    if (m.empty()) {
      for (std::int64_t i = piece.begin; i < piece.end; ++i) value[i] -= lr * (gradient[i] + decay * value[i]);
      return;
    }
    T* momentum = m[piece.tensor].as<T>();
    const T own = s.nesterov ? T{1} : T{0}, old = s.nesterov ? mu : T{1};  // direction = own g' + old m
    for (std::int64_t i = piece.begin; i < piece.end; ++i) {
      const T d = gradient[i] + decay * value[i];
      momentum[i] = mu * momentum[i] + d;
      value[i] -= lr * (own * d + old * momentum[i]);
    }
  });
}

// ---- Adam -------------------------------------------------------------------------------------

void adam_reference(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep s) {
  const double correct1 = 1 - std::pow(s.beta1, static_cast<double>(s.t)),
               correct2 = 1 - std::pow(s.beta2, static_cast<double>(s.t));
  each_element(p, "adam", [&]<class T>(std::size_t k, std::int64_t i) {
    double value = static_cast<double>(p[k].as<T>()[i]), gradient = static_cast<double>(g[k].as<T>()[i]);
    if (s.decoupled) value -= s.lr * s.weight_decay * value;
    else gradient += s.weight_decay * value;
    const double first = s.beta1 * static_cast<double>(m[k].as<T>()[i]) + (1 - s.beta1) * gradient;
    const double second = s.beta2 * static_cast<double>(v[k].as<T>()[i]) + (1 - s.beta2) * gradient * gradient;
    m[k].as<T>()[i] = static_cast<T>(first);
    v[k].as<T>()[i] = static_cast<T>(second);
    const double spread = second / correct2;
    const double divisor = s.epsilon == Epsilon::inside ? std::sqrt(spread + s.eps) : std::sqrt(spread) + s.eps;
    p[k].as<T>()[i] = static_cast<T>(value - s.lr * (first / correct1) / divisor);
  });
}

void adam_pieces(const Views& g, const Outs& p, const Outs& m, const Outs& v, AdamStep s) {
  const double t = static_cast<double>(s.t);
  const double correct1 = 1 - std::pow(s.beta1, t), correct2 = 1 - std::pow(s.beta2, t);
  each_piece(p, [&]<class T>(const Piece& piece) {
    const T beta1 = static_cast<T>(s.beta1), beta2 = static_cast<T>(s.beta2);
    const T rest1 = static_cast<T>(1 - s.beta1), rest2 = static_cast<T>(1 - s.beta2);
    const T rate = static_cast<T>(s.lr / correct1), scale2 = static_cast<T>(1 / correct2);
    const T coupled = static_cast<T>(s.decoupled ? 0 : s.weight_decay);
    const T shrink = static_cast<T>(s.decoupled ? s.lr * s.weight_decay : 0);
    const T in = static_cast<T>(s.epsilon == Epsilon::inside ? s.eps : 0);
    const T out = static_cast<T>(s.epsilon == Epsilon::inside ? 0 : s.eps);
    const T* gradient = g[piece.tensor].as<T>();
    T *value = p[piece.tensor].as<T>(), *first = m[piece.tensor].as<T>(), *second = v[piece.tensor].as<T>();
    for (std::int64_t i = piece.begin; i < piece.end; ++i) {
      const T d = gradient[i] + coupled * value[i];
      first[i] = beta1 * first[i] + rest1 * d;
      second[i] = beta2 * second[i] + rest2 * d * d;
      value[i] = value[i] - shrink * value[i] - rate * first[i] / (std::sqrt(second[i] * scale2 + in) + out);
    }
  });
}

// ---- averages, norms --------------------------------------------------------------------------

void average_reference(const Views& x, const Outs& average, double decay) {
  each_element(average, "average", [&]<class T>(std::size_t k, std::int64_t i) {
    const double before = static_cast<double>(average[k].as<T>()[i]);
    average[k].as<T>()[i] = static_cast<T>(decay * before + (1 - decay) * static_cast<double>(x[k].as<T>()[i]));
  });
}

void average_pieces(const Views& x, const Outs& average, double decay) {
  each_piece(average, [&]<class T>(const Piece& piece) {
    const T share = static_cast<T>(1 - decay);
    const T* value = x[piece.tensor].as<T>();
    T* mean = average[piece.tensor].as<T>();
    for (std::int64_t i = piece.begin; i < piece.end; ++i) mean[i] += share * (value[i] - mean[i]);
  });
}

void square_sum_reference(const Views& x, const Out& total) {
  double sum = 0;
  for (const View& v : x)
    visit_floating(v.dtype, "global_norm", [&]<class T>() {
      for (std::int64_t i = 0; i < v.size(); ++i) sum += static_cast<double>(v.as<T>()[i]) * static_cast<double>(v.as<T>()[i]);
    });
  *total.as<double>() = sum;
}

void square_sum_pieces(const Views& x, const Out& total) {
  const auto jobs = jobs_of(x);
  std::vector<double> parts(jobs.size());
  each_piece(jobs, x, [&]<class T>(std::size_t job, const Piece& piece) {
    const T* value = x[piece.tensor].as<T>();
    double lanes[8] = {};  // eight running sums, so that the compiler may use vectors
    std::int64_t i = piece.begin;
    for (; i + 8 <= piece.end; i += 8)
      for (int lane = 0; lane < 8; ++lane) {
        const auto v = static_cast<double>(value[i + lane]);
        lanes[lane] += v * v;
      }
    for (; i < piece.end; ++i) lanes[0] += static_cast<double>(value[i]) * static_cast<double>(value[i]);
    for (const double lane : lanes) parts[job] += lane;
  });
  double sum = 0;
  for (const double part : parts) sum += part;
  *total.as<double>() = sum;
}

void scale_reference(const Views& x, const Outs& y, double factor) {
  each_element(y, "scale", [&]<class T>(std::size_t k, std::int64_t i) {
    y[k].as<T>()[i] = static_cast<T>(factor * static_cast<double>(x[k].as<T>()[i]));
  });
}

void scale_pieces(const Views& x, const Outs& y, double factor) {
  each_piece(y, [&]<class T>(const Piece& piece) {
    const T f = static_cast<T>(factor);
    for (std::int64_t i = piece.begin; i < piece.end; ++i) y[piece.tensor].as<T>()[i] = f * x[piece.tensor].as<T>()[i];
  });
}

void clip_reference(const Views& x, const View& square_sum, const Outs& y, double limit) {
  scale_reference(x, y, clip_factor(std::sqrt(*square_sum.as<double>()), limit));
}

void clip_pieces(const Views& x, const View& square_sum, const Outs& y, double limit) {
  scale_pieces(x, y, clip_factor(std::sqrt(*square_sum.as<double>()), limit));
}

}  // namespace cuboid::cpu
