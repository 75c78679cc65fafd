// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/pointwise.h"

#include <limits>

#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr DType floating[] = {DType::f32, DType::f64, DType::bf16, DType::f16};
constexpr DType integers[] = {DType::i64, DType::i32, DType::u8};
constexpr double inf = std::numeric_limits<double>::infinity();

// ---- functions of one tensor -------------------------------------------------------------------

struct UnaryCase {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*expected)(double);
  double lo = -3, hi = 3;  // where to test
};
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

const UnaryCase unary_cases[] = {
    {"neg", [](auto& x) { return -x; }, [](double x) { return -x; }},
    {"add", [](auto& x) { return x + 1.5; }, [](double x) { return x + 1.5; }},
    {"add", [](auto& x) { return 1.5 + x; }, [](double x) { return x + 1.5; }},
    {"add", [](auto& x) { return x - 1.5; }, [](double x) { return x - 1.5; }},
    {"sub", [](auto& x) { return 1.5 - x; }, [](double x) { return 1.5 - x; }},
    {"mul", [](auto& x) { return x * -2.5; }, [](double x) { return x * -2.5; }},
    {"mul", [](auto& x) { return -2.5 * x; }, [](double x) { return x * -2.5; }},
    {"div", [](auto& x) { return x / 2.5; }, [](double x) { return x / 2.5; }},
    {"div", [](auto& x) { return 2.5 / x; }, [](double x) { return 2.5 / x; }, 0.3, 3},
    {"exp", exp, std::exp},
    {"log", log, std::log, 0.1, 5},
    {"sqrt", sqrt, std::sqrt, 0.1, 5},
    {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.1, 5},
    {"square", square, [](double x) { return x * x; }},
    {"pow", [](auto& x) { return pow(x, 2.5); }, [](double x) { return std::pow(x, 2.5); }, 0.1, 3},
    {"pow", [](auto& x) { return pow(x, 3); }, [](double x) { return x * x * x; }},
    {"pow", [](auto& x) { return pow(x, -1); }, [](double x) { return 1 / x; }, 0.3, 3},
    {"pow", [](auto& x) { return pow(x, 0); }, [](double) { return 1.0; }},
    {"abs", abs, [](double x) { return std::abs(x); }},
    {"sign", sign, [](double x) { return x > 0 ? 1.0 : -1.0; }},
    {"clamp", [](auto& x) { return clamp(x, -1, 0.5); }, [](double x) { return x < -1    ? -1
                                                                               : x > 0.5 ? 0.5
                                                                                         : x; }},
    {"relu", relu, [](double x) { return x > 0 ? x : 0; }},
    {"leaky_relu", [](auto& x) { return leaky_relu(x, 0.25); }, [](double x) { return x > 0 ? x : 0.25 * x; }},
    {"leaky_relu", [](auto& x) { return leaky_relu(x, -0.5); }, [](double x) { return x > 0 ? x : -0.5 * x; }},
    {"silu", silu, [](double x) { return x * logistic(x); }, -6, 6},
    {"sigmoid", sigmoid, logistic, -6, 6},
    {"softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }, -6, 6},
    {"tanh", tanh, std::tanh},
};

Tensor mapped(const Tensor& x, double (*f)(double)) {
  const Tensor y = empty(x.shape(), {.dtype = DType::f64});
  const auto values = x.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) y.mutable_data<double>()[i] = f(values[i]);
  return y;
}

TEST(Pointwise, FunctionsOfOneTensor) {
  const Shape shapes[] = {{}, {1}, {0, 3, 2}, {5}, {2, 3, 2, 5}, {1, 3, 7, 5, 3}, {3, 1031}};
  for (const auto& c : unary_cases)
    for (const DType dtype : floating)
      for (const Shape& shape : shapes)
        for (const Lies way : every_way) {
          const Tensor x = laid(random(shape, {.dtype = dtype, .lo = c.lo, .hi = c.hi}), way), y = c.op(x);
          const std::string what = join_text(c.name, " ", dtype, " ", name_of(way));
          EXPECT_EQ(y.dtype(), dtype);
          EXPECT_TRUE(close(y, mapped(x, c.expected), tolerance(dtype))) << what;
          EXPECT_EQ(y.options().layout, x.options().layout) << what;
          const dispatch::Forced plain(join_text(c.name, "=reference"));
          EXPECT_TRUE(close(c.op(x), mapped(x, c.expected), tolerance(dtype))) << what << " reference";
        }
}

TEST(Pointwise, GradientsOfFunctionsOfOneTensor) {
  for (const auto& c : unary_cases) {
    SCOPED_TRACE(c.name);
    // Inputs keep away from the kinks at 0, -1 and 0.5, further than the differences step.
    auto points = random({2, 3, 2, 2}, {.seed = 3, .lo = c.lo, .hi = c.hi}).to_vector();
    for (double& p : points)
      for (const double kink : {0.0, -1.0, 0.5})
        if (std::abs(p - kink) < 0.02) p = kink + 0.03;
    const Tensor x = values(points, {2, 3, 2, 2});
    gradcheck([&](const Tensors& in) { return c.op(in[0]); }, {x}, {.second_order = true});
    gradcheck([&](const Tensors& in) { return square(c.op(in[0])); }, {x}, {.second_order = true});
  }
}

TEST(Pointwise, GradientsAtTheKinks) {
  const auto at = [](double v, const std::function<Tensor(const Tensor&)>& f) {
    const Tensor x = full({1}, v, on_device()).requires_grad(true);
    return grad(f(x), {x})[0].item();
  };
  EXPECT_EQ(at(0, [](auto& x) { return relu(x); }), 0);
  EXPECT_EQ(at(0, [](auto& x) { return leaky_relu(x, 0.5); }), 0.5);
  EXPECT_EQ(at(0, [](auto& x) { return abs(x); }), 0);
  EXPECT_EQ(at(1, [](auto& x) { return clamp(x, -1, 1); }), 1) << "the ends belong to the interval";
  EXPECT_EQ(at(0, [](auto& x) { return pow(x, 0) + x; }), 1);
  EXPECT_EQ(at(0, [](auto& x) { return pow(x, 1); }), 1);
  EXPECT_EQ(at(0, [](auto& x) { return pow(x, 2); }), 0);
}

TEST(Pointwise, LargeArgumentsStayFinite) {
  for (const DType dtype : floating) {
    const double big = dtype == DType::f16 ? 6e4 : 1e30;
    const Tensor x = full({2}, big, on_device({.dtype = dtype})), n = -x;
    const double v = x.to_vector()[0];
    for (const bool plain : {false, true}) {
      const dispatch::Forced forced(plain ? "sigmoid=reference,silu=reference,softplus=reference,tanh=reference" : "");
      EXPECT_EQ(sigmoid(x).to_vector()[0], 1);
      EXPECT_EQ(sigmoid(n).to_vector()[0], 0);
      EXPECT_EQ(silu(x).to_vector()[0], v);
      EXPECT_EQ(silu(n).to_vector()[0], 0);
      EXPECT_EQ(softplus(x).to_vector()[0], v);
      EXPECT_EQ(softplus(n).to_vector()[0], 0);
      EXPECT_EQ(tanh(x).to_vector()[0], 1);
      EXPECT_EQ(tanh(n).to_vector()[0], -1);
    }
    for (const auto op : {sigmoid, silu, softplus, tanh})
      for (const Tensor& t : {x, n}) {
        const Tensor leaf = t.detach().requires_grad(true), one = full({2}, 1, on_device({.dtype = dtype}));
        const double first = grad(op(leaf), {leaf}, {.seed = one})[0].to_vector()[0];
        EXPECT_TRUE(first == 0 || first == 1) << first;
      }
  }
}

// ---- two tensors -------------------------------------------------------------------------------

struct BinaryCase {
  const char* name;
  Tensor (*op)(const Tensor&, const Tensor&);
  double (*expected)(double, double);
};
const BinaryCase binary_cases[] = {
    {"add", [](auto& a, auto& b) { return a + b; }, [](double a, double b) { return a + b; }},
    {"sub", [](auto& a, auto& b) { return a - b; }, [](double a, double b) { return a - b; }},
    {"mul", [](auto& a, auto& b) { return a * b; }, [](double a, double b) { return a * b; }},
    {"div", [](auto& a, auto& b) { return a / b; }, [](double a, double b) { return a / b; }},
};
const std::pair<Shape, Shape> pairs[] = {
    {{2, 3, 2, 5}, {2, 3, 2, 5}},
    {{2, 3, 2, 5}, {1, 3, 1, 1}},
    {{2, 3, 2, 5}, {}},
    {{5}, {2, 3, 2, 5}},
    {{2, 1, 4}, {3, 1}},
    {{1, 3, 1}, {2, 1, 4}},
    {{0, 3}, {1, 3}},
    {{}, {}},
    {{1, 1, 1}, {1}},
    {{4, 1500}, {1500}},
    {{4, 1500}, {4, 1}},
    {{2, 3, 1, 1, 1}, {2, 1, 2, 2, 2}},
};

Tensor combined(const Tensor& a, const Tensor& b, double (*f)(double, double)) {
  const Shape shape = broadcast_shape("test", a.shape(), b.shape());
  const auto x = expand(a, shape).to_vector(), y = expand(b, shape).to_vector();
  const Tensor z = empty(shape, {.dtype = DType::f64});
  for (std::size_t i = 0; i < x.size(); ++i) z.mutable_data<double>()[i] = f(x[i], y[i]);
  return z;
}

TEST(Pointwise, TwoTensors) {
  for (const auto& c : binary_cases)
    for (const auto& [sa, sb] : pairs)
      for (const Lies way_a : every_way)
        for (const Lies way_b : every_way) {
          for (const DType dtype : floating) {
            const Tensor a = laid(random(sa, {.dtype = dtype}), way_a);
            const Tensor b = laid(random(sb, {.seed = 2, .dtype = dtype, .lo = 0.5, .hi = 2}), way_b);
            const std::string what = join_text(c.name, dtype, sa, name_of(way_a), sb, name_of(way_b));
            EXPECT_TRUE(close(c.op(a, b), combined(a, b, c.expected), tolerance(dtype))) << what;
            const dispatch::Forced plain(join_text(c.name, "=reference"));
            EXPECT_TRUE(close(c.op(a, b), combined(a, b, c.expected), tolerance(dtype))) << what << " reference";
          }
          for (const DType dtype : integers) {
            const Tensor a = laid(random(sa, {.dtype = dtype, .lo = 10, .hi = 15, .integers = true}), way_a);
            const Tensor b = laid(random(sb, {.seed = 2, .dtype = dtype, .lo = 1, .hi = 9, .integers = true}), way_b);
            const auto whole = [](const Tensor& t) { return cast(t, DType::i64); };
            const std::string what = join_text(c.name, dtype, sa, name_of(way_a), sb, name_of(way_b));
            EXPECT_TRUE(equal(c.op(a, b), whole(combined(a, b, c.expected)))) << what;
            const dispatch::Forced plain(join_text(c.name, "=reference"));
            EXPECT_TRUE(equal(c.op(a, b), whole(combined(a, b, c.expected)))) << what << " reference";
          }
        }
}

TEST(Pointwise, GradientsOfTwoTensors) {
  for (const auto& c : binary_cases)
    for (const auto& [sa, sb] : pairs) {
      if (broadcast_shape("test", sa, sb).count() > 200) continue;
      SCOPED_TRACE(join_text(c.name, sa, sb));
      gradcheck([&](const Tensors& in) { return c.op(in[0], in[1]); },
                {random(sa, {.lo = 0.5, .hi = 2}), random(sb, {.seed = 2, .lo = 0.5, .hi = 2})}, {.second_order = true});
    }
  gradcheck([](const Tensors& in) { return in[0] * in[0] / (in[0] + 3); }, {random({3, 2})}, {.second_order = true});
}

TEST(Pointwise, ResultsTakeTheLayoutOfTheWholeOperand) {
  const Tensor last = laid(random({2, 3, 4, 4}), Lies::channels_last), scalar = random({});
  const Tensor channel = random({1, 3, 1, 1}), repeated = expand(scalar, {2, 3, 4, 4});
  for (const Tensor& other : {scalar, channel, repeated}) {
    EXPECT_TRUE((last * other).is(Layout::channels_last));
    EXPECT_TRUE((other * last).is(Layout::channels_last));
  }
  const Tensor part = slice(last, 1, 0, 2);
  EXPECT_TRUE((part + 1).is(Layout::channels_last)) << "a slice of channels keeps them fastest";
}

TEST(Pointwise, IntegersWrapAndNeverTrap) {
  const Tensor low = full({2}, -0x1p63, on_device({.dtype = DType::i64}));
  EXPECT_EQ((low / -1.0).to_vector()[0], -0x1p63);
  EXPECT_EQ((low - 1.0).to_vector()[0], 0x1p63) << "wraps to 2^63 - 1";
  EXPECT_EQ((-low).to_vector()[0], -0x1p63);
  const auto one = [](double v, DType dtype) { return full({1}, v, on_device({.dtype = dtype})); };
  EXPECT_EQ((one(200, DType::u8) + one(100, DType::u8)).item(), 44);
  EXPECT_EQ((one(200, DType::u8) - 201.0).item(), 255);
  EXPECT_EQ(relu(one(-7, DType::i32)).item(), 0);
  EXPECT_EQ(clamp(one(-7, DType::i32), -inf, 3).item(), -7);
  EXPECT_EQ((one(-7, DType::i32) / 2.0).item(), -3);
  for (const char* row : {"", "div=reference"}) {
    const dispatch::Forced forced(row);
    const Tensor zero = zeros({2}, on_device({.dtype = DType::i64}));
    if (test_device() == Device::cpu) EXPECT_EQ(error_of([&] { low / zero; }), "div: integer division by zero");
    else EXPECT_TRUE(equal(low / zero, zero)) << "kernels cannot throw";
    EXPECT_EQ(error_of([&] { low / 0.0; }), "div: integer division by zero");
  }
}

// ---- cast --------------------------------------------------------------------------------------

TEST(Cast, BetweenAllTypes) {
  constexpr DType all[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};
  for (const DType from : all)
    for (const DType to : all)
      for (const Lies way : every_way) {
        const Tensor x = laid(random({2, 3, 4, 2}, {.dtype = from, .lo = 0, .hi = 99, .integers = true}), way), y = cast(x, to);
        EXPECT_EQ(y.dtype(), to);
        EXPECT_TRUE(equal(y, x)) << from << to << name_of(way);
        EXPECT_EQ(y.options().layout, x.options().layout);
      }
  const Tensor x = zeros({2}, on_device());
  EXPECT_EQ(cast(x, DType::f32).id(), x.id());
}

TEST(Cast, RoundsSaturatesAndTruncates) {
  const Tensor x = values<double>({-1.9, 1.9, 300, -5, 1e30, -1e30, std::nan("")}, {7});
  EXPECT_EQ(cast(x, DType::u8).to_vector(), (std::vector<double>{0, 1, 255, 0, 255, 0, 0}));
  EXPECT_EQ(cast(x, DType::i32).to_vector(), (std::vector<double>{-1, 1, 300, -5, 0x1p31 - 1, -0x1p31, 0}));
  EXPECT_EQ(cast(full({1}, 1 + 0x1p-8, on_device()), DType::bf16).item(), 1) << "a tie goes to even";
  EXPECT_EQ(cast(full({1}, 1 + 3 * 0x1p-8, on_device()), DType::bf16).item(), 1 + 0x1p-6);
  EXPECT_EQ(cast(full({1}, 65520, on_device()), DType::f16).item(), inf);
}

TEST(Cast, CarriesGradients) {
  const Tensor x = random({3}, {.dtype = DType::f32}).requires_grad(true);
  const Tensor g = grad(sum(cast(x, DType::bf16) * 3), {x})[0];
  EXPECT_EQ(g.dtype(), DType::f32);
  EXPECT_EQ(g.to_vector(), (std::vector<double>{3, 3, 3}));
  EXPECT_FALSE(cast(x, DType::i64).requires_grad());
  gradcheck([](const Tensors& in) { return square(cast(cast(square(in[0]), DType::f64), DType::f64)); }, {random({3})},
            {.second_order = true});
}

// ---- the rest ----------------------------------------------------------------------------------

TEST(Pointwise, ActivationsKeepOneTensor) {
  const std::int64_t mib = 1 << 20, before = memory_stats(test_device()).live;
  Tensor x = zeros({mib / 4}, on_device()).requires_grad(true), y = x;
  for (int i = 0; i < 8; ++i) y = leaky_relu(relu(y));
  EXPECT_EQ(memory_stats(test_device()).live - before, 17 * mib) << "x and one output per op";
}

TEST(Pointwise, SameBitsForAnyNumberOfThreads) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "threads of the CPU";
  const int usual = thread_count();
  const Tensor x = random({3, 5, 40000}, {.dtype = DType::f32});
  std::vector<std::vector<double>> results;
  for (const int threads : {1, 2, 3, 7}) {
    set_thread_count(threads);
    results.push_back(softplus(transpose(x, 0, 2) * 3 + random({40000, 1, 1}, {.dtype = DType::f32})).to_vector());
  }
  set_thread_count(usual);
  for (const auto& r : results) EXPECT_EQ(r, results[0]);
}

TEST(Pointwise, BadArguments) {
  const Tensor x = zeros({2, 3}, on_device()), whole = zeros({2, 3}, on_device({.dtype = DType::i64}));
  const struct {
    const char* says;
    std::function<void()> call;
  } bad[] = {
      {"add: shapes [2,3] and [2,4] do not broadcast",
       [&] {
         x + zeros({2, 4}, on_device());
       }},
      {"mul: f32[2,3] and i64[2,3]; cast one of them", [&] { x* whole; }},
      {"add: 0.5 is not an i64; cast the tensor", [&] { whole + 0.5; }},
      {"mul: inf is not an i64", [&] { whole* inf; }},
      {"exp: needs a floating type, got i64; cast it", [&] { exp(whole); }},
      {"sigmoid: needs a floating type", [&] { sigmoid(whole); }},
      {"clamp: bounds 1 and 0 are not in order", [&] { clamp(x, 1, 0); }},
      {"clamp: bounds nan and 0", [&] { clamp(x, std::nan(""), 0); }},
      {"relu: undefined tensor", [&] { relu(Tensor()); }},
      {"sub: undefined tensor", [&] { x - Tensor(); }},
      {"cast: undefined tensor", [&] { cast(Tensor(), DType::f64); }},
      {"div: undefined tensor", [&] { 1 / Tensor(); }},
  };
  for (const auto& b : bad) EXPECT_NE(error_of(b.call).find(b.says), std::string::npos) << b.says << " | " << error_of(b.call);
}

}  // namespace
