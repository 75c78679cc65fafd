// SPDX-License-Identifier: Apache-2.0
#include "optim/ema.h"

#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "optim/accumulate.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Net : Module {
  Parameter weight{full({3}, 1, on_device())};
  Buffer statistics{full({2}, 10, on_device())};
  FIELDS(weight, statistics)
};

TEST(EmaTest, AveragesAndSwaps) {
  Net net;
  Ema ema(net, {.decay = 0.9, .warmup = false});
  fill(net.weight, 2);
  fill(net.statistics, 20);
  ema.update();
  {
    const EmaScope scope(ema);
    EXPECT_NEAR(net.weight.to_vector()[0], 1.1, 1e-6);
    EXPECT_NEAR(net.statistics.to_vector()[0], 11, 1e-5);
    EXPECT_THROW(ema.update(), Error);
    EXPECT_THROW(ema.to_state(), Error);
  }
  EXPECT_EQ(net.weight.to_vector()[0], 2);
  EXPECT_TRUE(net.weight.requires_grad());
}

TEST(EmaTest, WarmsUp) {
  Net net;
  Ema ema(net, {.decay = 0.5});
  double expected = 1;
  for (int k = 1; k <= 20; ++k) {
    fill(net.weight, k);
    ema.update();
    const double decay = std::min(0.5, k / (9.0 + k));
    expected = decay * expected + (1 - decay) * k;
  }
  ema.swap();
  EXPECT_NEAR(net.weight.to_vector()[0], expected, 1e-5);
  EXPECT_THROW(Ema(net, {.decay = 1}), Error);
}

TEST(Accumulator, GivesTheGradientOfTheMean) {
  const Tensor w = random({4}).requires_grad(true);
  const auto loss = [&](int i) { return sum(square(w) * random({4}, {.seed = static_cast<std::uint64_t>(i)})); };
  Tensor whole = zeros({4}, on_device({.dtype = DType::f64}));
  for (int i = 0; i < 3; ++i) add_into(whole, grad(loss(i) * (1.0 / 3), {w})[0]);

  GradAccumulator first({{"w", w}}, 3);
  EXPECT_FALSE(first.backward(loss(0)));
  EXPECT_EQ(first.pending(), 1);
  const State state = first.to_state();
  w.grad() = Tensor();

  GradAccumulator second({{"w", w}}, 3);  // continues in the middle of a group
  second.from_state(state);
  EXPECT_FALSE(second.backward(loss(1)));
  EXPECT_TRUE(second.backward(loss(2)));
  EXPECT_TRUE(equal(w.grad(), whole));
  EXPECT_EQ(second.pending(), 0);
  EXPECT_TRUE(second.to_state().tensors.empty());
  EXPECT_THROW(GradAccumulator({}, 0), Error);
  EXPECT_THROW(GradAccumulator({{"w", w}}, 1).from_state(state), DataError);
}

}  // namespace
