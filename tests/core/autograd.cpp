// SPDX-License-Identifier: Apache-2.0
#include "core/autograd.h"

#include "tests/test.h"

using namespace cuboid;
using test::on_device, test::test_device;

namespace {

TEST(Autograd, SumsOverPaths) {
  const Tensor x = full({3}, 2, on_device()).requires_grad(true);
  const Tensor y = add(add(x, x), x);
  EXPECT_EQ(grad(y, {x}, {.seed = full({3}, 1, on_device())})[0].to_vector(), (std::vector<double>{3, 3, 3}));
}

TEST(Autograd, LongChainDifferentiatesAndDies) {
  const Tensor x = full({1}, 1, on_device()).requires_grad(true);
  Tensor y = x;
  const int length = test_device() == Device::cpu ? 100'000 : 10'000;  // each link launches kernels
  for (int i = 0; i < length; ++i) y = add(y, x);
  EXPECT_EQ(grad(y, {x}, {.retain_graph = true})[0].item(), length + 1);
  y = Tensor();  // dies unswept: no recursion either
}

TEST(Autograd, SecondSweepOverAFreedGraphSaysSo) {
  const Tensor x = full({1}, 1, on_device()).requires_grad(true);
  const Tensor y = add(x, x);
  grad(y, {x});
  EXPECT_THROW(grad(y, {x}), Error);
}

TEST(Autograd, ActivationsDieAsTheSweepGoes) {
  const std::int64_t mib = 1 << 20;
  const std::int64_t before = memory_stats(test_device()).live;
  const Tensor x = zeros({mib / 4}, on_device()).requires_grad(true);
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = add(y, y);
  EXPECT_EQ(memory_stats(test_device()).live - before, 2 * mib) << "add needs no activation, so only x and y live";

  for (int i = 0; i < 10; ++i)  // an op that needs its output keeps it until the sweep has passed
    y = record(
        "kept", add(y.detach(), y.detach()), {y},
        [](const Tensor& g, const Step& step) { return Tensors{add(g, step.output())}; }, Keep::output);
  EXPECT_EQ(memory_stats(test_device()).live - before, 11 * mib);
  const Tensor seed = zeros({mib / 4}, on_device());
  reset_peak_memory(test_device());
  const auto g = grad(y, {x}, {.seed = seed});
  EXPECT_EQ(memory_stats(test_device()).live - before, 4 * mib) << "x, y, seed, gradient";
  EXPECT_LE(memory_stats(test_device()).peak - before, 14 * mib);
}

TEST(Autograd, WhatCanBeMadeAgainIsNotKept) {
  const std::int64_t mib = 1 << 20;
  const std::int64_t before = memory_stats(test_device()).live;
  const Tensor x = full({mib / 4}, 3, on_device()).requires_grad(true);
  int made = 0;
  // y = 2x, of which z's rule needs the value; z's derivative is said to be y + g
  const auto twice = [&] { return add(x.detach(), x.detach()); };
  Tensor y = rebuilt_by(record("twice", twice(), {x}, [](const Tensor& g, const Step&) { return Tensors{add(g, g)}; }), [&] {
    ++made;
    return twice();
  });
  Tensor z = record("keeps", add(y.detach(), y.detach()), {y},
                    [kept = Kept(y)](const Tensor& g, const Step&) { return Tensors{add(kept(), g)}; });
  y = Tensor();
  EXPECT_EQ(memory_stats(test_device()).live - before, 2 * mib) << "x and z, not y";
  const Tensor seed = full({mib / 4}, 1, on_device());
  for (const bool again : {true, false}) {
    const Tensor dx = grad(z, {x}, {.retain_graph = again, .seed = seed})[0];
    EXPECT_EQ(dx.to_vector().front(), 14) << "2 (6 + 1)";
  }
  EXPECT_EQ(made, 2);
  // its place in the graph is kept: d/dx of 2 (y + 1) = 4
  const Tensor w = full({2}, 3, on_device()).requires_grad(true);
  const Tensor v = rebuilt_by(
      record("twice", add(w.detach(), w.detach()), {w}, [](const Tensor& g, const Step&) { return Tensors{add(g, g)}; }),
      [w] { return add(w.detach(), w.detach()); });
  const Tensor u = record("keeps", add(v.detach(), v.detach()), {v},
                          [kept = Kept(v)](const Tensor& g, const Step&) { return Tensors{add(kept(), g)}; });
  const Tensor ones = full({2}, 1, on_device());
  const Tensor first = grad(u, {w}, {.create_graph = true, .seed = ones})[0];
  EXPECT_EQ(grad(first, {w}, {.seed = ones})[0].to_vector(), (std::vector<double>{4, 4}));
}

TEST(Autograd, SumsInPlaceOnlyWhatNobodyElseSees) {
  const Tensor x = full({4}, 1, on_device()), b = full({4}, 2, on_device());
  Tensor a = add(x, x);
  const void* where = a.view().data;
  Tensor sum = add(std::move(a), b);
  EXPECT_EQ(sum.view().data, where);
  EXPECT_EQ(sum.to_vector(), (std::vector<double>{4, 4, 4, 4}));
  const Tensor also = sum;
  const Tensor other = add(std::move(sum), b);
  EXPECT_NE(other.view().data, where);
  EXPECT_EQ(also.to_vector(), (std::vector<double>{4, 4, 4, 4}));
  Tensor leaf = full({4}, 1, on_device()).requires_grad(true);
  const Tensor same = leaf.detach();
  EXPECT_EQ(add(std::move(leaf), b).to_vector(), (std::vector<double>{3, 3, 3, 3}));
  EXPECT_EQ(same.to_vector(), (std::vector<double>{1, 1, 1, 1}));
}

TEST(Autograd, CheckpointEqualsPlain) {
  const Tensor x = full({2}, 3, on_device()).requires_grad(true), w = full({2}, 5, on_device()).requires_grad(true);
  const auto f = [w](const Tensors& in) { return add(add(in[0], w), in[0]); };
  const Tensor seed = test::values<float>({1, 2}, {2});
  const auto plain = grad(f({x}), {x, w}, {.seed = seed}), checked = grad(checkpoint(f, {x}, {w}), {x, w}, {.seed = seed});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(plain[i].to_vector(), checked[i].to_vector());
}

TEST(Autograd, BackwardAccumulatesInLeaves) {
  const Tensor x = full({1}, 1, on_device()).requires_grad(true);
  backward(add(x, x));
  backward(add(x, x));
  EXPECT_EQ(x.grad().item(), 4);
}

}  // namespace
