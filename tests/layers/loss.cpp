// SPDX-License-Identifier: Apache-2.0
#include "layers/loss.h"

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
  const Tensor logits = random({4, 3}, {.lo = -4, .hi = 4}), y = from_values(labels, {4});
  for (const double smoothing : {0.0, 0.1, 1.0})
    for (const bool weighted : {false, true}) {
      CrossEntropyOptions o{.label_smoothing = smoothing};
      if (weighted) o.class_weights = from_values(weights, {3});
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
      EXPECT_TRUE(close(cross_entropy(logits, y, o), from_values(expected, {4}), {1e-12, 1e-12}));
    }
}

TEST(CrossEntropy, IsSoundForLargeLogitsAndSmallTypes) {
  const Tensor y = from_values<std::int64_t>({0}, {1});
  EXPECT_NEAR(cross_entropy(from_values<float>({-500, 500}, {1, 2}), y).item(), 1000, 1e-3);
  EXPECT_EQ(cross_entropy(from_values<float>({500, -500}, {1, 2}), y).item(), 0);
  const Tensor halves = random({1, 5}, {.dtype = DType::bf16});
  EXPECT_EQ(cross_entropy(halves, y).dtype(), DType::f32);
}

TEST(CrossEntropy, RefusesBadLabels) {
  const Tensor logits = zeros({2, 3});
  EXPECT_EQ(error_of([&] {
              cross_entropy(logits, from_values<std::int64_t>({0, 3}, {2}));
            }),
            "cross_entropy: label 3 of sample 1, but there are 3 classes");
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0, -1}, {2})), DataError);
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0}, {1})), Error);
  EXPECT_THROW(cross_entropy(logits, zeros({2})), Error);
  EXPECT_THROW(cross_entropy(zeros({2, 3, 4}), from_values<std::int64_t>({0, 1}, {2})), Error);
  EXPECT_THROW(cross_entropy(logits, from_values<std::int64_t>({0, 1}, {2}), {.class_weights = zeros({2})}), Error);
}

TEST(Bce, EqualsTheDefinition) {
  const Tensor x = random({4, 3}, {.lo = -3, .hi = 3}), t = random({4, 3}, {.seed = 2, .lo = 0}), w = from_values(weights, {3});
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
  EXPECT_NEAR(bce_with_logits(from_values<float>({-200}, {1}), full({1}, 1)).item(), 200, 1e-4);
  EXPECT_THROW(bce_with_logits(x, zeros({4})), Error);
}

TEST(Mse, EqualsTheDefinition) {
  const Tensor x = from_values<double>({1, 2, 4}, {3}), t = from_values<double>({0, 2, 1}, {3});
  EXPECT_DOUBLE_EQ(mse(x, t).item(), 10.0 / 3);
  EXPECT_DOUBLE_EQ(mse(x, t, Reduction::sum).item(), 10);
  EXPECT_EQ(mse(x, t, Reduction::none).to_vector(), (std::vector<double>{1, 0, 9}));
  gradcheck([&](const Tensors& in) { return mse(in[0], t); }, {x});
  EXPECT_THROW(mse(x, zeros({2})), Error);
}

}  // namespace
