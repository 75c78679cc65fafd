// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/matmul.h"

#include "kernels/dispatch.h"
#include "kernels/views/views.h"
#include "tests/gradcheck.h"
#include "tests/kernels/threads.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

TEST(Matmul, EqualsTheReference) {
  const std::array<Shape, 7> sizes{{{3, 4, 5}, {1, 1, 1}, {1, 7, 3}, {64, 33, 17}, {200, 64, 48}, {5, 1, 9}, {6, 0, 2}}};
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
    for (const Shape& s : sizes)
      for (const bool turn_a : {false, true})
        for (const bool turn_b : {false, true}) {
          const auto operand = [&](std::int64_t rows, std::int64_t columns, bool turn, std::uint64_t seed) {
            const RandomOptions o{.seed = seed, .dtype = dtype, .lo = -2, .hi = 2, .integers = true};
            return turn ? transpose(random({columns, rows}, o), 0, 1) : random({rows, columns}, o);
          };
          const Tensor a = operand(s[0], s[1], turn_a, 1), b = operand(s[1], s[2], turn_b, 2);
          const Tensor got = matmul(a, b);
          const dispatch::Forced forced("matmul=reference");
          EXPECT_TRUE(equal(got, matmul(laid(a, Lies::view), laid(b, Lies::view)))) << dtype << s << turn_a << turn_b;
        }
}

TEST(Matmul, KnownResult) {
  const Tensor a = values<float>({1, 2, 3, 4, 5, 6}, {2, 3}), b = values<float>({1, 0, 2, 1, 0, 3}, {3, 2});
  EXPECT_EQ(matmul(a, b).to_vector(), (std::vector<double>{5, 11, 14, 23}));
  const Tensor batch = matmul(reshape(a, {2, 1, 3}), reshape(a, {2, 3, 1}));
  EXPECT_EQ(batch.to_vector(), (std::vector<double>{14, 77}));
}

TEST(Matmul, Gradcheck) {
  const GradcheckOptions o{.second_order = true, .coordinates = 12};
  gradcheck([](const Tensors& in) { return matmul(in[0], in[1]); }, {random({3, 4}), random({4, 2})}, o);
  gradcheck([](const Tensors& in) { return matmul(in[0], in[1]); }, {random({2, 3, 4}), random({2, 4, 2})}, o);
  gradcheck([](const Tensors& in) { return linear(in[0], in[1], in[2]); }, {random({2, 3, 4}), random({5, 4}), random({5})}, o);
}

TEST(Matmul, BitsDoNotDependOnTheThreads) {
  if (test_device() != Device::cpu) GTEST_SKIP() << "threads of the CPU";
  const Tensor a = random({300, 500}, {.dtype = DType::f32}), b = random({500, 200}, {.seed = 2, .dtype = DType::f32});
  const auto with = [&](int threads) {
    const Threads scope(threads);
    return matmul(a, b);
  };
  EXPECT_TRUE(equal(with(3), with(1)));
}

TEST(Matmul, ErrorsNameBothSides) {
  EXPECT_EQ(error_of([] { matmul(zeros({2, 3}), zeros({2, 3})); }), "matmul: [2,3] times [2,3] does not fit");
  EXPECT_EQ(error_of([] { linear(zeros({2, 3}), zeros({5, 4})); }), "linear: x is [2,3], w [5,4] expects 4 features");
}

}  // namespace
