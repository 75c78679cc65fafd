// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

#include "kernels/dispatch.h"
#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

const std::vector<std::int64_t> labels = {2, 0, 1, 2};
const std::vector<double> weights = {0.5, 2, 3};

/// Per sample, number by number: sum over classes of the smoothed, weighted target times -log p.
std::vector<double> reference(const std::vector<double>& logits, double smoothing, bool weighted) {
  std::vector<double> losses;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    long double total = 0, loss = 0;
    for (std::size_t c = 0; c < 3; ++c) total += std::exp(static_cast<long double>(logits[3 * i + c]));
    for (std::size_t c = 0; c < 3; ++c) {
      const bool hit = static_cast<std::int64_t>(c) == labels[i];
      const double target = (hit ? 1 - smoothing : 0) + smoothing / 3;
      loss -= (weighted ? weights[c] : 1) * target * (static_cast<long double>(logits[3 * i + c]) - std::log(total));
    }
    losses.push_back(static_cast<double>(loss));
  }
  return losses;
}

TEST(CrossEntropy, EqualsTheDefinition) {
  const Tensor logits = random({4, 3}, {.lo = -4, .hi = 4}), y = values(labels, {4});
  for (const double smoothing : {0.0, 0.1, 1.0})
    for (const bool weighted : {false, true}) {
      CrossEntropyOptions o{.label_smoothing = smoothing};
      if (weighted) o.class_weights = values(weights, {3});
      const auto expected = reference(logits.to_vector(), smoothing, weighted);
      double total = 0, weight = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        total += expected[i];
        weight += weighted ? weights[static_cast<std::size_t>(labels[i])] : 1;
      }
      EXPECT_NEAR(cross_entropy(logits, y, o).item(), total / weight, 1e-12);
      gradcheck([&](const Tensors& in) { return cross_entropy(in[0], y, o); }, {logits}, {.second_order = true});
      o.reduction = Reduction::sum;
      EXPECT_NEAR(cross_entropy(logits, y, o).item(), total, 1e-12);
      o.reduction = Reduction::none;
      EXPECT_TRUE(close(cross_entropy(logits, y, o), values(expected, {4}), {1e-12, 1e-12}));
    }
}

TEST(CrossEntropy, IsSoundForLargeLogitsAndSmallTypes) {
  const Tensor y = values<std::int64_t>({0}, {1});
  EXPECT_NEAR(cross_entropy(values<float>({-500, 500}, {1, 2}), y).item(), 1000, 1e-3);
  EXPECT_EQ(cross_entropy(values<float>({500, -500}, {1, 2}), y).item(), 0);
  const Tensor halves = random({1, 5}, {.dtype = DType::bf16});
  EXPECT_EQ(cross_entropy(halves, y).dtype(), DType::f32);
}

// One sample and many, few classes and more than a team of threads has, in every memory order: against the definition in
// primitive ops, which is also what second derivatives go through.
TEST(CrossEntropy, EveryRowEqualsTheComposition) {
  const Shape shapes[] = {{1, 1}, {3, 2}, {5, 31}, {300, 3}, {2, 257}, {1500, 2}, {9, 33}};
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
      for (const char* row : {"", "cross_entropy=reference,cross_entropy_grad=reference"}) {
        std::vector<std::int64_t> classes;
        test::Random dice(7);
        for (std::int64_t i = 0; i < shape[0]; ++i) classes.push_back(dice.integer(0, shape[1] - 1));
        const Tensor y = values(classes, {shape[0]}),
                     w = random({shape[1]}, {.seed = 2, .dtype = DType::f32, .lo = 0.5, .hi = 2});
        const Tensor hot = one_hot(y, shape[1], DType::f64), wide = cast(w, DType::f64);
        for (const double smoothing : {0.0, 0.2})
          for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
            const dispatch::Forced forced(row);
            const Lies way = every_way[classes.size() % 3];
            const Tensor x = laid(random(shape, {.dtype = dtype, .lo = -3, .hi = 3}), way).requires_grad(true);
            const Tensor x64 = cast(x.detach(), DType::f64).requires_grad(true);
            const Tensor target = hot * wide * (1 - smoothing) + wide * (smoothing / static_cast<double>(shape[1]));
            Tensor expected = -sum(log_softmax(x64, 1) * target, {1});
            if (reduction != Reduction::none) expected = sum(expected);
            if (reduction == Reduction::mean) expected = expected / sum(hot * wide);
            const Tensor loss = cross_entropy(x, y, {.class_weights = w, .label_smoothing = smoothing, .reduction = reduction});
            const std::string what = join_text(shape, dtype, ' ', row, ' ', smoothing, ' ', static_cast<int>(reduction));
            EXPECT_EQ(loss.dtype(), dtype == DType::f64 ? DType::f64 : DType::f32);
            const Tolerance result = dtype == DType::f64 ? Tolerance{1e-6} : Tolerance{1e-5, 1e-6};
            EXPECT_TRUE(close(loss, expected, result)) << what;
            const Tensor seed = random(loss.shape(), {.seed = 3, .dtype = loss.dtype()});
            const Tensor slope = grad(loss, {x}, {.seed = seed})[0];
            EXPECT_EQ(slope.dtype(), dtype);
            Tolerance t = tolerance(dtype);
            t.rtol = std::max(t.rtol, 1e-5), t.atol = std::max(t.atol, 1e-7);
            EXPECT_TRUE(close(slope, grad(expected, {x64}, {.seed = cast(seed, DType::f64)})[0], t)) << what;
          }
      }
}

TEST(CrossEntropy, AnInfiniteLogitOfAnotherClassIsNoLoss) {
  const Tensor x = values<float>({1, -std::numeric_limits<float>::infinity(), 1}, {1, 3}).requires_grad(true);
  const Tensor loss = cross_entropy(x, values<std::int64_t>({0}, {1}));
  EXPECT_NEAR(loss.item(), std::log(2), 1e-6);
  EXPECT_TRUE(close(grad(loss, {x})[0], values<float>({-0.5, 0, 0.5}, {1, 3}), {1e-6}));
}

TEST(CrossEntropy, RefusesBadLabels) {
  const Tensor logits = zeros({2, 3}, on_device());
  EXPECT_EQ(error_of([&] {
              cross_entropy(logits, from_values<std::int64_t>({0, 3}, {2}));
            }),
            "cross_entropy: label 3 of sample 1, but there are 3 classes");
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0, -1}, {2})), DataError);
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0}, {1})), Error);
  EXPECT_THROW(cross_entropy(logits, zeros({2})), Error);
  EXPECT_THROW(cross_entropy(zeros({2, 3, 4}, on_device()), from_values<std::int64_t>({0, 1}, {2})), Error);
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0, 1}, {2}), {.class_weights = zeros({2})}), Error);
}

TEST(Bce, EqualsTheDefinition) {
  const Tensor x = random({4, 3}, {.lo = -3, .hi = 3}), t = random({4, 3}, {.seed = 2, .lo = 0}), w = values(weights, {3});
  const auto xs = x.to_vector(), ts = t.to_vector();
  double plain = 0, weighted = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    const double p = 1 / (1 + std::exp(-xs[i])), positive = -ts[i] * std::log(p), negative = -(1 - ts[i]) * std::log(1 - p);
    plain += positive + negative;
    weighted += weights[i % 3] * positive + negative;
  }
  EXPECT_NEAR(bce_with_logits(x, t).item(), plain / 12, 1e-12);
  EXPECT_NEAR(bce_with_logits(x, t, {.positive_weight = w, .reduction = Reduction::sum}).item(), weighted, 1e-12);
  gradcheck([&](const Tensors& in) { return bce_with_logits(in[0], t, {.positive_weight = w}); }, {x}, {.second_order = true});
  EXPECT_NEAR(bce_with_logits(values<float>({-200}, {1}), full({1}, 1, on_device())).item(), 200, 1e-4);
  EXPECT_THROW(bce_with_logits(x, zeros({4}, on_device())), Error);
}

TEST(Mse, EqualsTheDefinition) {
  const Tensor x = values<double>({1, 2, 4}, {3}), t = values<double>({0, 2, 1}, {3});
  EXPECT_DOUBLE_EQ(mse(x, t).item(), 10.0 / 3);
  EXPECT_DOUBLE_EQ(mse(x, t, Reduction::sum).item(), 10);
  EXPECT_EQ(mse(x, t, Reduction::none).to_vector(), (std::vector<double>{1, 0, 9}));
  gradcheck([&](const Tensors& in) { return mse(in[0], t); }, {x});
  EXPECT_THROW(mse(x, zeros({2}, on_device())), Error);
}

}  // namespace
