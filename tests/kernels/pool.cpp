// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.h"

#include "kernels/dispatch.h"
#include "tests/gradcheck.h"
#include "tests/kernels/threads.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr const char* reference =
    "avg_pool=reference,avg_pool_backward=reference,max_pool=reference,max_pool_backward=reference,max_pool_gather=reference";

struct Problem {
  Shape x;
  PoolSpec spec;
  friend std::ostream& operator<<(std::ostream& os, const Problem& p) {
    return os << "x " << p.x << " size " << p.spec.size << " stride " << p.spec.stride << " pad " << p.spec.pad_lo
              << p.spec.pad_hi << (p.spec.count_include_pad ? " counted" : "") << (p.spec.ceil ? " ceil" : "");
  }
};

Problem random_problem(Random& r) {
  for (;;) {
    Problem p{{r.integer(1, 3), r.integer(1, 19)}, {}};
    for (auto rank = r.integer(1, 3); rank > 0; --rank) {
      p.x.push_back(r.integer(1, 9));
      p.spec.size.push_back(r.integer(1, 4));
      p.spec.stride.push_back(r.integer(1, 4));
      p.spec.pad_lo.push_back(r.integer(0, p.spec.size[-1] / 2));
      p.spec.pad_hi.push_back(r.integer(0, p.spec.size[-1] / 2));
    }
    p.spec.count_include_pad = r.integer(0, 1);
    p.spec.ceil = r.integer(0, 1);
    if (error_of([&] { p.spec.output_shape(p.x); }).empty()) return p;
  }
}

using Pool = Tensor (*)(const Tensor&, const PoolSpec&);
struct Results {
  Tensor y, dx, gathered;
};
/// The result, its gradient, and the gradient of that (which for max_pool reads by index).
Results run_all(Pool pool, const Problem& p, DType dtype, Lies how) {
  const RandomOptions integers{.dtype = dtype, .lo = -4, .hi = 4, .integers = true};
  const Tensor x = laid(random(p.x, integers), how).requires_grad(true);
  const Tensor y = pool(x, p.spec);
  const Tensor seed =
      laid(random(y.shape(), {.seed = 2, .dtype = dtype, .lo = 0, .hi = 3, .integers = true}), how).requires_grad(true);
  const Tensor dx = grad(y, {x}, {.create_graph = true, .seed = seed})[0];
  const Tensor probe = laid(random(p.x, {.seed = 3, .dtype = dtype, .lo = -3, .hi = 3, .integers = true}), how);
  return {y.detach(), dx.detach(), grad(dx, {seed}, {.seed = probe})[0]};
}

TEST(Pool, EveryRowAgrees) {
  const Threads one(1);  // many tiny problems
  Random r(3);
  int compared = 0;
  for (int i = 0; i < 60; ++i) {
    Problem p = random_problem(r);
    if (i % 4 == 0) p.x[1] = r.integer(1, 6) * 16;  // for rows of whole vectors
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
      for (const Pool pool : {Pool{avg_pool}, Pool{max_pool}})
        for (const Lies how : every_way) {
          const Results got = run_all(pool, p, dtype, how);
          const dispatch::Forced forced(reference);
          const Results expected = run_all(pool, p, dtype, Lies::contiguous);
          const Tolerance t = pool == Pool{max_pool} ? Tolerance{} : tolerance(dtype);
          EXPECT_TRUE(close(got.y, expected.y, t)) << dtype << ' ' << p;
          EXPECT_TRUE(close(got.dx, expected.dx, t)) << dtype << ' ' << p;
          EXPECT_TRUE(close(got.gathered, expected.gathered, t)) << dtype << ' ' << p;
          if (how != Lies::view && p.x[1] > 1 && p.x.count() > p.x[0] * p.x[1]) {
            EXPECT_TRUE(got.y.is(how == Lies::contiguous ? Layout::contiguous : Layout::channels_last)) << p;
          }
          ++compared;
        }
  }
  EXPECT_EQ(compared, 60 * 3 * 2 * 3);
}

// Values worked out by hand after PyTorch's documentation.
TEST(Pool, KnownResults) {
  const Tensor x = values<float>({1, 2, 3, 4, 5}, {1, 1, 5});
  const auto spec = [](bool ceil, bool count) {
    return PoolSpec{.size = {3}, .stride = {2}, .pad_lo = {1}, .pad_hi = {1}, .count_include_pad = count, .ceil = ceil};
  };
  const auto near = [](const Tensor& got, const std::vector<double>& expected) {
    return close(got, from_values(expected, {1, 1, static_cast<std::int64_t>(expected.size())}), {1e-6, 0});
  };
  EXPECT_TRUE(near(avg_pool(x, spec(false, true)), {1, 3, 3}));
  EXPECT_TRUE(near(avg_pool(x, spec(false, false)), {1.5, 3, 4.5}));
  EXPECT_TRUE(near(max_pool(x, spec(false, true)), {2, 4, 5}));
  // ceil: the last window is cut off at the end of the padding, and its divisor with it
  EXPECT_TRUE(near(avg_pool(x, {.size = {2}, .stride = {2}, .ceil = true}), {1.5, 3.5, 5}));
  // a window that would start in the padding at the end is dropped
  EXPECT_EQ((PoolSpec{.size = {2}, .stride = {2}, .pad_lo = {1}, .pad_hi = {1}, .ceil = true}).output_shape({1, 1, 5})[2], 3);
  EXPECT_EQ(global_avg_pool(values<float>({1, 2, 3, 4, 10, 20, 30, 40}, {1, 2, 2, 2})).to_vector(),
            (std::vector<double>{2.5, 25}));
}

TEST(Pool, TiesAndNaN) {
  for (const char* force : {"", reference}) {
    const dispatch::Forced forced(force);
    const Tensor x = values<float>({1, 1, 0, std::nanf(""), 7, 2}, {1, 1, 6}).requires_grad(true);
    const Tensor y = max_pool(x, PoolSpec::make(1, 2));
    EXPECT_EQ(y.to_vector()[0], 1);
    EXPECT_TRUE(std::isnan(y.to_vector()[1]));
    EXPECT_EQ(y.to_vector()[2], 7);
    EXPECT_EQ(grad(y, {x}, {.seed = full(y.shape(), 1, y.options())})[0].to_vector(), (std::vector<double>{1, 0, 0, 1, 1, 0}));
  }
}

/// No two elements are closer than the steps of the finite differences.
Tensor far_apart(const Shape& shape) {
  const std::int64_t n = shape.count();
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(2. * static_cast<double>(i * 7919 % n) / static_cast<double>(n) - 1);
  return values(numbers, shape);
}

TEST(Pool, Gradcheck) {
  Random r(9);
  for (int i = 0; i < 6; ++i) {
    Problem p = random_problem(r);
    while (p.x.count() > 120) p = random_problem(r);
    SCOPED_TRACE(join_text(p));
    const GradcheckOptions o{.second_order = true, .coordinates = 10};
    gradcheck([&](const Tensors& in) { return square(avg_pool(in[0], p.spec)); }, {random(p.x)}, o);
    gradcheck([&](const Tensors& in) { return square(max_pool(in[0], p.spec)); }, {far_apart(p.x)}, o);
    gradcheck([&](const Tensors& in) { return square(global_avg_pool(in[0])); }, {random(p.x)}, o);
  }
}

TEST(Pool, BitsDoNotDependOnTheThreads) {
  const Problem p{{2, 24, 12, 13, 14}, PoolSpec::make(3, 3, 2, 1)};
  for (const Pool pool : {Pool{avg_pool}, Pool{max_pool}}) {
    const auto with = [&](int threads) {
      const Threads scope(threads);
      return run_all(pool, p, DType::f32, Lies::channels_last);
    };
    const Results one = with(1), many = with(3);
    EXPECT_TRUE(equal(many.y, one.y));
    EXPECT_TRUE(equal(many.dx, one.dx));
  }
}

TEST(Pool, Errors) {
  EXPECT_EQ(error_of([] {
              avg_pool(zeros({1, 2, 3}), PoolSpec::make(1, 4));
            }),
            "pool: the result is empty: x [1,2,3] with padding [0][0] is smaller than the window [4]");
  EXPECT_EQ(error_of([] {
              max_pool(zeros({1, 2, 9}), PoolSpec::make(1, 3, 1, 2));
            }),
            "pool: padding [2][2] is more than half the window [3]");
  EXPECT_NE(error_of([] { avg_pool(zeros({1, 2, 3}), PoolSpec::make(2, 2)); }), "");
  EXPECT_NE(error_of([] { avg_pool(zeros({1, 2, 3}), {.size = {2}, .stride = {1, 1}}); }), "");
}

}  // namespace
