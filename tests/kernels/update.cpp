// SPDX-License-Identifier: Apache-2.0
// Steps against the formulas of the papers, written out here for one number in f64; rows against each other; threads.
#include "kernels/update/update.h"

#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

const char* const fast = test_device() == Device::cpu ? "pieces" : "chunks";
const std::vector<Shape> shapes = {{3}, {2, 5, 3}, {1, 1}, {20'011}, {4, 3, 2, 2, 2}};

Tensors lists(std::uint64_t seed, DType dtype, double lo = -1) {
  Tensors list;
  for (const Shape& shape : shapes) list.push_back(random(shape, {.seed = seed + list.size(), .dtype = dtype, .lo = lo}));
  return list;
}

struct Case {
  std::string name;
  std::function<void(const Tensors& p, const Tensors& g, const Tensors& a, const Tensors& b)> update;
  /// p, g, a, b of one element -> p, a, b.
  std::function<std::array<double, 3>(double, double, double, double)> formula;
};

std::vector<Case> cases() {
  std::vector<Case> list;
  const double lr = 0.05, decay = 0.3;
  for (const double momentum : {0.0, 0.9})
    for (const bool nesterov : {false, true}) {
      if (nesterov && momentum == 0) continue;
      list.push_back({join_text("sgd momentum ", momentum, nesterov ? " nesterov" : ""),
                      [=](auto& p, auto& g, auto& a, auto&) {
                        sgd_update(p, g, momentum == 0 ? Tensors{} : a, {lr, momentum, decay, nesterov});
                      },
                      [=](double p, double g, double a, double b) -> std::array<double, 3> {
                        g += decay * p;
                        if (momentum == 0) return {p - lr * g, a, b};
                        a = momentum * a + g;
                        return {p - lr * (nesterov ? g + momentum * a : a), a, b};
                      }});
    }
  for (const Epsilon epsilon : {Epsilon::outside, Epsilon::inside})
    for (const bool decoupled : {false, true})
      for (const std::int64_t t : {1, 7}) {
        const double b1 = 0.8, b2 = 0.95, eps = 0.01;
        list.push_back({join_text("adam t ", t, decoupled ? " decoupled" : "", epsilon == Epsilon::inside ? " inside" : ""),
                        [=](auto& p, auto& g, auto& a, auto& b) {
                          adam_update(p, g, a, b, {lr, b1, b2, eps, decay, epsilon, decoupled, t});
                        },
                        [=](double p, double g, double a, double b) -> std::array<double, 3> {
                          if (decoupled) p *= 1 - lr * decay;
                          else g += decay * p;
                          a = b1 * a + (1 - b1) * g;
                          b = b2 * b + (1 - b2) * g * g;
                          const double m = a / (1 - std::pow(b1, t)), v = b / (1 - std::pow(b2, t));
                          return {p - lr * m / (epsilon == Epsilon::outside ? std::sqrt(v) + eps : std::sqrt(v + eps)), a, b};
                        }});
      }
  list.push_back({"average", [](auto& p, auto& g, auto&, auto&) { average_update(p, g, 0.9); },
                  [](double p, double g, double a, double b) -> std::array<double, 3> {
                    return {0.9 * p + 0.1 * g, a, b};
                  }});
  return list;
}

TEST(Update, StepsFollowTheFormulas) {
  for (const Case& c : cases())
    for (const DType dtype : {DType::f32, DType::f64})
      for (const char* row : {fast, "reference"})
        for (const bool other_order : {false, true}) {
          const dispatch::Forced forced(join_text("sgd=", row, ",adam=", row, ",average=", row));
          Tensors p = lists(1, dtype), g = lists(11, dtype), a = lists(21, dtype), b = lists(31, dtype, 0);
          Tensors before[] = {lists(1, dtype), lists(21, dtype), lists(31, dtype, 0)};
          if (other_order)
            for (auto& t : g) t = laid(t, Lies::view);
          c.update(p, g, a, b);
          for (std::size_t k = 0; k < p.size(); ++k) {
            const auto p0 = before[0][k].to_vector(), a0 = before[1][k].to_vector(), b0 = before[2][k].to_vector(),
                       g0 = g[k].to_vector();
            std::vector<double> expected[3];
            for (std::size_t i = 0; i < p0.size(); ++i) {
              const auto [x, y, z] = c.formula(p0[i], g0[i], a0[i], b0[i]);
              expected[0].push_back(x), expected[1].push_back(y), expected[2].push_back(z);
            }
            const Tolerance t = dtype == DType::f32 ? Tolerance{2e-6, 2e-7} : Tolerance{1e-13, 1e-14};
            EXPECT_TRUE(close(p[k], from_values(expected[0], p[k].shape()), t)) << c.name << ' ' << row << ' ' << dtype;
            EXPECT_TRUE(close(a[k], from_values(expected[1], p[k].shape()), t)) << c.name << ' ' << row << ' ' << dtype;
            EXPECT_TRUE(close(b[k], from_values(expected[2], p[k].shape()), t)) << c.name << ' ' << row << ' ' << dtype;
          }
        }
}

TEST(Update, DoesNotDependOnThreads) {
  const int threads = thread_count();
  for (const Case& c : cases()) {
    std::vector<std::vector<double>> results;
    for (const int t : {1, 4}) {
      set_thread_count(t);
      Tensors p = lists(1, DType::f32), a = lists(21, DType::f32), b = lists(31, DType::f32, 0);
      c.update(p, lists(11, DType::f32), a, b);
      results.push_back(p[3].to_vector());
    }
    EXPECT_EQ(results[0], results[1]) << c.name;
  }
  std::vector<double> norms;
  for (const int t : {1, 4}) {
    set_thread_count(t);
    norms.push_back(global_norm(lists(5, DType::f32)).item());
  }
  EXPECT_EQ(norms[0], norms[1]);
  set_thread_count(threads);
}

TEST(Update, NormAndScale) {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const char* row : {fast, "reference"}) {
      const dispatch::Forced forced(join_text("global_norm=", row, ",scale=", row, ",clip=", row));
      Tensors x = lists(3, dtype);
      x[1] = laid(x[1], Lies::view);
      long double squares = 0;
      for (const auto& t : x)
        for (const double v : t.to_vector()) squares += static_cast<long double>(v) * static_cast<long double>(v);
      EXPECT_NEAR(global_norm(x).item() / static_cast<double>(std::sqrt(squares)), 1, 1e-13);
      const Tensors y = scaled(x, 0.5);
      for (std::size_t k = 0; k < x.size(); ++k) {
        auto expected = x[k].to_vector();
        for (double& v : expected) v *= 0.5;
        EXPECT_EQ(y[k].to_vector(), expected);
      }
      const double norm = static_cast<double>(std::sqrt(squares));
      for (const double limit : {norm / 3, norm * 3}) {
        const Clipped c = clipped(x, limit);
        EXPECT_NEAR(c.norm.item() / norm, 1, 1e-13);
        for (std::size_t k = 0; k < x.size(); ++k) {
          auto expected = x[k].to_vector();
          if (limit < norm)
            for (double& v : expected) v *= limit / (norm + 1e-6);
          EXPECT_TRUE(close(c.tensors[k], from_values(expected, x[k].shape()), tolerance(dtype))) << limit / norm;
        }
      }
    }
  EXPECT_EQ(global_norm({}).item(), 0);
  EXPECT_TRUE(clipped({}, 1).tensors.empty());
}

TEST(Update, RefusesWhatDoesNotFit) {
  const Tensors p{zeros({3}, on_device())}, other_shape{zeros({4}, on_device())},
      other_type{zeros({3}, on_device({.dtype = DType::f64}))};
  EXPECT_THROW(sgd_update(p, {}, {}, {}), Error);
  EXPECT_THROW(sgd_update(p, other_shape, {}, {}), Error);
  EXPECT_THROW(sgd_update(p, other_type, {}, {}), Error);
  EXPECT_THROW(sgd_update(p, p, {}, {.momentum = 0.9}), Error);
  EXPECT_THROW(sgd_update({laid(p[0], Lies::view)}, p, {}, {}), Error) << "a parameter must be dense";
  EXPECT_THROW(global_norm({p[0], other_type[0]}), Error) << "two types in one list";
  const Tensors halves{zeros({3}, on_device({.dtype = DType::bf16}))};
  EXPECT_THROW(sgd_update(halves, halves, {}, {}), Error);
}

}  // namespace
