// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize/resize.h"

#include "kernels/dispatch.h"
#include "tests/gradcheck.h"
#include "tests/kernels/threads.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr const char* reference = "resize=reference,resize_backward=reference";
constexpr ResizeOptions modes[] = {{Resize::nearest}, {Resize::linear}, {Resize::linear, true}};

struct Problem {
  Shape x, size;
};
const std::vector<Problem>& problems() {
  static const std::vector<Problem> all{{{2, 3, 5}, {8}},
                                        {{1, 17, 4, 6}, {7, 3}},
                                        {{2, 4, 3, 4, 5}, {6, 8, 10}},
                                        {{1, 2, 6, 7, 5}, {3, 7, 9}},
                                        {{1, 5, 1, 1, 4}, {3, 1, 1}},
                                        {{1, 2, 8, 8}, {8, 8}},
                                        {{1, 1, 9, 4, 3}, {1, 2, 7}}};
  return all;
}

struct Results {
  Tensor y, dx;
};
Results run_all(const Problem& p, ResizeOptions o, DType dtype, Lies how) {
  const Tensor x = laid(random(p.x, {.dtype = dtype}), how).requires_grad(true);
  const Tensor y = resize(x, p.size, o);
  return {y.detach(), grad(y, {x}, {.seed = laid(random(y.shape(), {.seed = 2, .dtype = dtype}), how)})[0]};
}

TEST(Resize, EveryRowAgrees) {
  const Threads one(1);  // many tiny problems
  for (const Problem& p : problems())
    for (const ResizeOptions o : modes)
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
        for (const Lies how : every_way) {
          const Results got = run_all(p, o, dtype, how);
          const dispatch::Forced forced(reference);
          const Results expected = run_all(p, o, dtype, Lies::contiguous);
          Tolerance t = tolerance(dtype);
          t.atol = std::max(t.atol, 2 * t.rtol);
          EXPECT_TRUE(close(got.y, expected.y, t)) << dtype << p.x << p.size << name_of(how);
          EXPECT_TRUE(close(got.dx, expected.dx, t)) << dtype << p.x << p.size << name_of(how);
        }
}

// What torch.nn.functional.interpolate gives.
TEST(Resize, KnownResults) {
  const Tensor x = values<double>({1, 2, 3, 4}, {1, 1, 4});
  const auto expect = [&](const Tensor& got, const std::vector<double>& expected) {
    EXPECT_TRUE(close(got, from_values(expected, {1, 1, static_cast<std::int64_t>(expected.size())}), {1e-12, 0}));
  };
  expect(resize(x, {8}), {1, 1, 2, 2, 3, 3, 4, 4});
  expect(resize(x, {3}), {1, 2, 3});
  expect(resize(x, {6}), {1, 1, 2, 3, 3, 4});
  expect(resize(x, {8}, {Resize::linear}), {1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4});
  expect(resize(x, {2}, {Resize::linear}), {1.5, 3.5});
  expect(resize(x, {7}, {Resize::linear, true}), {1, 1.5, 2, 2.5, 3, 3.5, 4});
  expect(resize(x, {1}, {Resize::linear, true}), {1});
}

// A linear function stays one between the corners.
TEST(Resize, LinearIsExactOnALinearFunction) {
  std::vector<double> plane;
  for (std::int64_t i = 0; i < 120; ++i)
    plane.push_back(static_cast<double>(i / 30) + 10. * static_cast<double>(i / 6 % 5) - 3. * static_cast<double>(i % 6));
  const Tensor y = resize(values(plane, {1, 1, 4, 5, 6}), {7, 9, 11}, {Resize::linear, true});
  const auto got = y.to_vector();
  for (std::int64_t i = 0; i < y.size(); ++i)
    EXPECT_NEAR(
        got[static_cast<std::size_t>(i)],
        static_cast<double>(i / 99) * 0.5 + 10. * static_cast<double>(i / 11 % 9) * 0.5 - 3. * static_cast<double>(i % 11) * 0.5,
        1e-12);
}

TEST(Resize, Gradcheck) {
  for (const ResizeOptions o : modes)
    for (const Problem& p : {Problem{{1, 2, 3, 4}, {5, 3}}, Problem{{1, 2, 3, 2, 3}, {2, 4, 5}}})
      gradcheck([&](const Tensors& in) { return square(resize(in[0], p.size, o)); }, {random(p.x)},
                {.second_order = true, .coordinates = 10});
}

TEST(Resize, BitsDoNotDependOnTheThreads) {
  const Problem p{{2, 24, 10, 11, 12}, {20, 22, 24}};
  const auto with = [&](int threads) {
    const Threads scope(threads);
    return run_all(p, {Resize::linear}, DType::f32, Lies::channels_last);
  };
  const Results one = with(1), many = with(3);
  EXPECT_TRUE(equal(many.y, one.y));
  EXPECT_TRUE(equal(many.dx, one.dx));
}

TEST(Resize, Errors) {
  EXPECT_EQ(error_of([] { resize(zeros({1, 2, 3}), {4, 5}); }), "resize: x [1,2,3] to size [4,5]");
  EXPECT_EQ(error_of([] { resize(zeros({1, 2, 3}), {0}); }), "resize: x [1,2,3] to size [0] is empty");
}

}  // namespace
