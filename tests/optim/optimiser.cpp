// SPDX-License-Identifier: Apache-2.0
// Runs of ten steps on given gradients, in f64, against the same runs written out number by number.
#include "optim/optimiser.h"

#include <functional>

#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Problem {
  Tensor matrix = random({3, 4}, {.seed = 1}).requires_grad(true);
  Tensor vector = random({5}, {.seed = 2}).requires_grad(true);
  NamedTensors parameters() const { return {{"matrix", matrix}, {"vector", vector}}; }
  static Tensor gradient(const Tensor& p, int step) {
    return random(p.shape(), {.seed = 100 + static_cast<std::uint64_t>(step)});
  }
};

/// One number's state: p, and two slots.
struct Number {
  double p, m = 0, v = 0;
};
using Rule = std::function<void(Number& n, double g, int step, bool is_vector)>;

void follow(Optimiser& optimiser, Problem& problem, const Rule& rule) {
  std::vector<Number> numbers[2];
  const Tensor tensors[] = {problem.matrix, problem.vector};
  for (int k : {0, 1})
    for (const double p : tensors[k].to_vector()) numbers[k].push_back({p});
  for (int step = 1; step <= 10; ++step) {
    for (int k : {0, 1}) {
      tensors[k].grad() = Problem::gradient(tensors[k], step);
      const auto g = tensors[k].grad().to_vector();
      for (std::size_t i = 0; i < g.size(); ++i) rule(numbers[k][i], g[i], step, k == 1);
    }
    optimiser.step();
    optimiser.zero_grad();
    EXPECT_FALSE(tensors[0].grad().defined());
  }
  for (int k : {0, 1}) {
    const auto got = tensors[k].to_vector();
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], numbers[k][i].p, 1e-13);
  }
  EXPECT_EQ(optimiser.steps(), 10);
}

TEST(Optimisers, SgdPlain) {
  Problem problem;
  Sgd sgd(problem.parameters(), {.lr = 0.1});
  follow(sgd, problem, [](Number& n, double g, int, bool) { n.p -= 0.1 * g; });
}

TEST(Optimisers, SgdMomentumWithCoupledDecay) {
  Problem problem;
  Sgd sgd(problem.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.2});
  follow(sgd, problem, [](Number& n, double g, int, bool) {
    n.m = 0.9 * n.m + g + 0.2 * n.p;
    n.p -= 0.1 * n.m;
  });
}

TEST(Optimisers, SgdNesterovSparesVectorsFromDecay) {
  Problem problem;
  Sgd sgd(problem.parameters(), {.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.2, .decay_vectors = false});
  follow(sgd, problem, [](Number& n, double g, int, bool is_vector) {
    if (!is_vector) g += 0.2 * n.p;
    n.m = 0.9 * n.m + g;
    n.p -= 0.1 * (g + 0.9 * n.m);
  });
}

TEST(Optimisers, AdamBothEpsilons) {
  for (const Epsilon epsilon : {Epsilon::outside, Epsilon::inside}) {
    Problem problem;
    Adam adam(problem.parameters(), {.lr = 0.1, .eps = 1e-3, .epsilon = epsilon, .weight_decay = 0.2});
    follow(adam, problem, [=](Number& n, double g, int step, bool) {
      g += 0.2 * n.p;
      n.m = 0.9 * n.m + 0.1 * g;
      n.v = 0.999 * n.v + 0.001 * g * g;
      const double m = n.m / (1 - std::pow(0.9, step)), v = n.v / (1 - std::pow(0.999, step));
      n.p -= 0.1 * m / (epsilon == Epsilon::outside ? std::sqrt(v) + 1e-3 : std::sqrt(v + 1e-3));
    });
  }
}

TEST(Optimisers, AdamWDecaysTheWeightItself) {
  Problem problem;
  AdamW adamw(problem.parameters(), {.lr = 0.1, .beta1 = 0.8, .beta2 = 0.9, .weight_decay = 0.2});
  follow(adamw, problem, [](Number& n, double g, int step, bool) {
    n.p -= 0.1 * 0.2 * n.p;
    n.m = 0.8 * n.m + 0.2 * g;
    n.v = 0.9 * n.v + 0.1 * g * g;
    n.p -= 0.1 * (n.m / (1 - std::pow(0.8, step))) / (std::sqrt(n.v / (1 - std::pow(0.9, step))) + 1e-8);
  });
}

TEST(Optimisers, LeavesParametersWithoutGradientAlone) {
  Problem problem;
  Sgd sgd(problem.parameters(), {.lr = 0.1, .weight_decay = 0.5});
  const auto before = problem.vector.to_vector();
  problem.matrix.grad() = Problem::gradient(problem.matrix, 1);
  sgd.step();
  EXPECT_EQ(problem.vector.to_vector(), before);
  problem.vector.grad() = Problem::gradient(problem.vector, 1);
  problem.vector.requires_grad(false);
  sgd.step();
  EXPECT_EQ(problem.vector.to_vector(), before) << "frozen";
}

TEST(Optimisers, ClipsTheCommonNorm) {
  Problem problem;
  const Tensor shared = Problem::gradient(problem.matrix, 1);
  problem.matrix.grad() = shared;
  problem.vector.grad() = Problem::gradient(problem.vector, 1);
  double squares = 0;
  for (const auto& t : {problem.matrix, problem.vector})
    for (const double g : t.grad().to_vector()) squares += g * g;
  const double norm = clip_grad_norm({problem.matrix, problem.vector}, 0.5).item();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-12);
  EXPECT_NEAR(clip_grad_norm({problem.matrix, problem.vector}, 10).item(), 0.5, 1e-6);
  EXPECT_TRUE(equal(shared, Problem::gradient(problem.matrix, 1))) << "the old gradient is another's as well";
  EXPECT_NE(problem.matrix.grad().to_vector(), shared.to_vector());
}

TEST(Optimisers, RefuseNonsense) {
  Problem problem;
  EXPECT_THROW(Sgd(problem.parameters(), {.lr = -1}), Error);
  EXPECT_THROW(Sgd(problem.parameters(), {.nesterov = true}), Error);
  EXPECT_THROW(Adam(problem.parameters(), {.beta1 = 1}), Error);
  EXPECT_THROW(clip_grad_norm({problem.matrix}, 0), Error);
}

TEST(Optimisers, StateOfAnotherIsRefusedAndChangesNothing) {
  Problem problem;
  Sgd sgd(problem.parameters(), {.lr = 0.1, .momentum = 0.9});
  Adam adam(problem.parameters());
  EXPECT_THROW(sgd.from_state(adam.to_state()), DataError);
  State state = sgd.to_state();
  state.values["lr"] = 5.0;
  state.tensors[1].second = zeros({6}, {.dtype = DType::f64});
  EXPECT_EQ(error_of([&] { sgd.from_state(state); }), "state: momentum.vector is f64[6], expected f64[5]");
  EXPECT_EQ(sgd.lr(), 0.1);
  state.tensors.clear();
  EXPECT_THROW(sgd.from_state(state), DataError);
}

}  // namespace
