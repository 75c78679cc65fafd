// SPDX-License-Identifier: Apache-2.0
// The gradient check must be able to fail.
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// x^3 whose gradient is `first` times too large, and the gradient's gradient by x `second` times.
Tensor cube(const Tensor& x, double first, double second);
Tensor cube_grad(const Tensor& g, const Tensor& x, double first, double second) {
  Tensor y = (g * square(x) * (3 * first)).detach();
  return record("cube_grad", y, {g, x}, [=](const Tensor& gg, const Step&) {
    return Tensors{gg * square(x) * (3 * first), gg * g * x * (6 * first * second)};
  });
}
Tensor cube(const Tensor& x, double first, double second) {
  Tensor y = (x * x * x).detach();
  return record("cube", y, {x}, [=](const Tensor& g, const Step&) { return Tensors{cube_grad(g, x, first, second)}; });
}

std::string report(double first, double second, bool second_order) {
  return gradcheck_report([=](const Tensors& in) { return cube(in[0], first, second); }, {random({2, 3, 2})},
                          {.second_order = second_order});
}

TEST(Gradcheck, FindsAGradientOffByOnePercent) {
  EXPECT_EQ(report(1, 1, true), "");
  EXPECT_NE(report(1.01, 1, false).find("gradient of input 0"), std::string::npos);
  EXPECT_NE(report(1 + 1e-5, 1, false), "");
}

TEST(Gradcheck, FindsASecondOrderGradientOffByOnePercent) {
  EXPECT_EQ(report(1, 1.01, false), "");
  EXPECT_NE(report(1, 1.01, true).find("second order"), std::string::npos);
}

TEST(Gradcheck, FindsOneWrongElementAmongMany) {
  const auto once_wrong = [](const Tensors& in) {
    const Tensor x = in[0], y = (x * 2).detach();
    return record("twice", y, {x}, [](const Tensor& g, const Step&) {
      auto gx = (g * 2).to_vector();
      gx[777] *= 1.01;
      return Tensors{values(gx, g.shape())};
    });
  };
  EXPECT_NE(gradcheck_report(once_wrong, {random({1000})}), "");
}

TEST(Gradcheck, FindsAGraphThatWasCut) {
  const auto cut = [](const Tensors& in) {
    const Tensor x = in[0], y = square(x).detach();
    return record("cut", y, {x}, [x](const Tensor& g, const Step&) { return Tensors{g * x.detach() * 2}; });
  };
  EXPECT_EQ(gradcheck_report(cut, {random({4})}), "");
  EXPECT_NE(gradcheck_report(cut, {random({4})}, {.second_order = true}), "");
}

TEST(Close, SaysWhereAndByHowMuch) {
  const double nan = std::nan("");
  const Tensor a = values<double>({0, 0, 0, 0, 0, 0}, {2, 3}), b = values<double>({0, 0, 0, 0, 0.5, 0}, {2, 3});
  EXPECT_TRUE(equal(a, zeros({2, 3})));
  EXPECT_FALSE(close(a, b, {.rtol = 0.9}));
  EXPECT_TRUE(close(a, b, {.atol = 0.5}));
  EXPECT_NE(std::string(close(a, b, {.rtol = 0.1}).message()).find("worst at [1,1]: 0, expected 0.5"), std::string::npos);
  const Tensor c = values<double>({0, 0, 0, 0, 0.5, nan}, {2, 3});
  EXPECT_NE(std::string(close(a, c, {.atol = 1}).message()).find("[1,2]"), std::string::npos) << "NaN is no number";
}

}  // namespace
