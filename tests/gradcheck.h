// SPDX-License-Identifier: Apache-2.0
// Gradients against finite differences: f64, central differences with Richardson extrapolation, first and second order.
//
//   gradcheck([](const Tensors& in) { return in[0] * in[1]; }, {random({2, 3}), random({2, 3})}, {.second_order = true});
//
// The result is made a number by a fixed random weighting. Along each coordinate (or a sample of them) and along three
// random directions through all elements at once, the slope by differences is compared with the gradient's. The gradient
// is computed once for each way the inputs may lie in memory.
#pragma once
#include <functional>

#include "core/autograd.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "tests/test.h"

namespace cuboid::test {

struct GradcheckOptions {
  bool second_order = false;  // also check the gradient's own gradient, by the inputs and by the seed
  double rtol = 1e-6, atol = 1e-8;
  double step = 1e-3;             // of the differences; the error of the slope is of order step^4
  std::int64_t coordinates = 48;  // per input, at most; a random sample beyond that
  bool layouts = true;            // repeat the gradient with the inputs channels-last and as strided views
};

using Function = std::function<Tensor(const Tensors&)>;

namespace detail {

/// (4 D(h/2) - D(h)) / 3 of the central difference D along `direction` of input i.
inline double slope(const std::function<double(const Tensors&)>& f, Tensors inputs, std::size_t i, const Tensor& direction,
                    double h) {
  const Tensor x = inputs[i];
  const auto at = [&](double t) {
    std::vector<double> moved = x.to_vector();
    const std::vector<double> d = direction.to_vector();
    for (std::size_t k = 0; k < moved.size(); ++k) moved[k] += t * d[k];
    inputs[i] = values(moved, x.shape());
    return f(inputs);
  };
  const auto central = [&](double s) { return (at(s) - at(-s)) / (2 * s); };
  return (4 * central(h / 2) - central(h)) / 3;
}

inline double dot(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  double s = 0;
  for (std::size_t i = 0; i < x.size(); ++i) s += x[i] * y[i];
  return s;
}

/// One order: the first disagreement, or nothing.
inline std::string first_order(const Function& f, const Tensors& inputs, const GradcheckOptions& o) {
  const Tensor y = f(inputs);
  const Tensor weight = random(y.shape(), {.seed = 4711, .lo = 0.5, .hi = 1.5});
  const auto value = [&](const Tensors& in) { return dot(f(in), weight); };
  std::vector<Lies> ways(std::begin(every_way), std::end(every_way));
  if (!o.layouts) ways.resize(1);
  std::vector<Tensors> gradients;
  for (const Lies way : ways) {
    Tensors leaves;
    for (const auto& x : inputs) leaves.push_back(laid(x, way).requires_grad(true));
    gradients.push_back(grad(f(leaves), leaves, {.seed = laid(weight, way)}));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::int64_t n = inputs[i].size();
    const auto compare = [&](const Tensor& direction, const std::string& where) -> std::string {
      const double expected = slope(value, inputs, i, direction, o.step);
      for (std::size_t k = 0; k < ways.size(); ++k) {
        const double got = dot(gradients[k][i], direction);
        if (std::abs(got - expected) <= o.atol + o.rtol * std::abs(expected)) continue;
        return join_text("gradient of input ", i, " ", inputs[i].shape(), " ", where, ", inputs ", test::name_of(ways[k]), ": ",
                         got, ", by differences ", expected, " (relative error ", std::abs(got - expected) / std::abs(expected),
                         ")");
      }
      return "";
    };
    Random r(17 + i);
    for (std::int64_t c = 0; c < std::min(n, o.coordinates); ++c) {
      const std::int64_t at = n <= o.coordinates ? c : r.integer(0, n - 1);
      std::vector<double> axis(static_cast<std::size_t>(n), 0.);
      axis[static_cast<std::size_t>(at)] = 1;
      const Tensor direction = values(axis, inputs[i].shape());
      if (auto wrong = compare(direction, join_text("at element ", at)); !wrong.empty()) return wrong;
    }
    for (std::uint64_t c = 0; c < 3 && n > 0; ++c) {
      const Tensor direction = random(inputs[i].shape(), {.seed = 100 + c});
      if (auto wrong = compare(direction, join_text("along random direction ", c)); !wrong.empty()) return wrong;
    }
  }
  return "";
}

}  // namespace detail

/// What is wrong with the derivative of f at `inputs` (all f64, all differentiated), or an empty text.
inline std::string gradcheck_report(const Function& f, const Tensors& inputs, GradcheckOptions o = {}) {
  Tensors plain;
  for (const auto& x : inputs) {
    check(x.dtype() == DType::f64, "gradcheck: inputs must be f64, got ", x.dtype());
    plain.push_back(laid(x, Lies::contiguous));
  }
  const Function quiet = [&](const Tensors& in) {
    bool wanted = false;
    for (const auto& x : in) wanted = wanted || x.requires_grad();
    const Recording scope(wanted);
    return f(in);
  };
  if (auto wrong = detail::first_order(quiet, plain, o); !wrong.empty()) return wrong;
  if (!o.second_order) return "";

  // The gradient as a function of the inputs and of the seed, made one number.
  const std::size_t count = plain.size();
  Tensors more = plain;
  more.push_back(random(quiet(plain).shape(), {.seed = 99}));
  const Function gradient = [&](const Tensors& in) {
    Tensors leaves;
    for (std::size_t i = 0; i < count; ++i) leaves.push_back(in[i].requires_grad() ? in[i] : in[i].detach().requires_grad(true));
    const Recording on(true);
    const Tensors gs = grad(f(leaves), leaves, {.create_graph = true, .seed = in[count]});
    Tensor total = zeros({}, {.dtype = DType::f64, .device = test_device()});
    for (std::size_t i = 0; i < gs.size(); ++i)
      total = total + sum(gs[i] * random(gs[i].shape(), {.seed = 1000 + i, .lo = 0.5, .hi = 1.5}));
    return total;
  };
  const std::string wrong = detail::first_order(gradient, more, o);
  return wrong.empty() ? "" : "second order: " + wrong;
}

/// Expects the derivative of f at `inputs` to agree with finite differences.
inline void gradcheck(const Function& f, const Tensors& inputs, GradcheckOptions o = {}) {
  EXPECT_EQ(gradcheck_report(f, inputs, o), "");
}

}  // namespace cuboid::test
