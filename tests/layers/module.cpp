// SPDX-License-Identifier: Apache-2.0
#include "layers/module.h"

#include "layers/conv.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Leaf : Module {
  Parameter weight, bias;
  Buffer count;
  FIELDS(weight, bias, count)
  explicit Leaf(std::int64_t n)
      : weight(random({n, 2}, {.dtype = DType::f32})), count(zeros({1}, on_device({.dtype = DType::i64}))) {}
};

struct Tree : Module {
  Leaf first{3};
  List<Leaf> layers{"layer", 1};
  FIELDS(first, layers)
  Tree() {
    layers.add(4);
    layers.add(5);
  }
};

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> list;
  for (const auto& [name, t] : tensors) list.push_back(name);
  return list;
}

TEST(ModuleTree, NamesAreThePathsOfTheMembers) {
  Tree tree;
  EXPECT_EQ(names(tree.state_dict()), (std::vector<std::string>{"first.weight", "first.count", "layer1.weight", "layer1.count",
                                                                "layer2.weight", "layer2.count"}))
      << "an undefined bias has no name, a list no path";
  EXPECT_EQ(names(tree.named_parameters()), (std::vector<std::string>{"first.weight", "layer1.weight", "layer2.weight"}));
  EXPECT_EQ(tree.parameter_count(), 2 * (3 + 4 + 5));
  std::vector<std::string> paths;
  for (const auto& [path, m] : tree.modules()) paths.push_back(path);
  EXPECT_EQ(paths, (std::vector<std::string>{"", "first", "", "layer1", "layer2"}));
}

TEST(ModuleTree, TrainReachesEveryModule) {
  Tree tree;
  tree.eval();
  for (const auto& [path, m] : tree.modules()) EXPECT_FALSE(m->training()) << path;
  tree.train();
  for (const auto& [path, m] : tree.modules()) EXPECT_TRUE(m->training()) << path;
}

TEST(ModuleTree, ChangesTypeAndGradients) {
  Tree tree;
  const auto before = tree.first.weight.to_vector();
  tree.to(DType::f64);
  EXPECT_EQ(tree.first.weight.dtype(), DType::f64);
  EXPECT_EQ(tree.first.count.dtype(), DType::i64);
  EXPECT_TRUE(tree.first.weight.requires_grad());
  EXPECT_EQ(tree.first.weight.to_vector(), before);
  tree.requires_grad(false);
  EXPECT_FALSE(tree.layers[1].weight.requires_grad());
  EXPECT_THROW(tree.to(DType::i32), Error);
}

TEST(ModuleTree, MovedModulesKeepTheirTensors) {
  List<Leaf> leaves("x");
  const Tensor handle = leaves.add(1).weight;
  for (int i = 0; i < 10; ++i) leaves.add(2);
  EXPECT_EQ(leaves[0].weight.id(), handle.id());
}

TEST(SequentialTest, NumbersItsSteps) {
  Sequential net(
      Linear(2, 3), [](const Tensor& x) { return x; }, Linear(3, 1, {.bias = false}));
  EXPECT_EQ(names(net.state_dict()), (std::vector<std::string>{"0.weight", "0.bias", "2.weight"}));
}

TEST(StateDict, RoundTrip) {
  Tree a, b;
  fill(a.first.weight, 7);
  fill(a.layers[1].count, 3);
  const Tensor handle = b.first.weight;
  EXPECT_TRUE(b.load_state_dict(a.state_dict()).empty());
  EXPECT_EQ(handle.to_vector(), a.first.weight.to_vector()) << "values are copied into the tensors the optimiser holds";
  EXPECT_EQ(b.layers[1].count.item(), 3);
  EXPECT_NE(handle.storage(), a.first.weight.storage());
}

TEST(StateDict, AdoptsTheTensorsWhenAsked) {
  Tree a, b;
  b.load_state_dict(a.state_dict(), {.adopt = true});
  EXPECT_EQ(b.first.weight.storage(), a.first.weight.storage());
  EXPECT_TRUE(b.first.weight.requires_grad());
  Tree doubles;
  doubles.to(DType::f64);
  doubles.load_state_dict(a.state_dict(), {.adopt = true});
  EXPECT_EQ(doubles.first.weight.dtype(), DType::f64) << "another type is converted";
  EXPECT_EQ(doubles.first.weight.to_vector(), a.first.weight.to_vector());
}

TEST(StateDict, ConvertsFloatingTypes) {
  Tree a, b;
  b.to(DType::f64);
  a.load_state_dict(b.state_dict());
  EXPECT_EQ(a.first.weight.dtype(), DType::f32);
}

TEST(StateDict, ReportsEveryFaultAtOnceAndChangesNothing) {
  Tree tree;
  const auto before = tree.layers[1].weight.to_vector();
  NamedTensors state = {{"first.weight", zeros({4, 2})},
                        {"first.count", zeros({1})},
                        {"layer2.weight", zeros({5, 2})},
                        {"layer2.count", zeros({1}, on_device({.dtype = DType::i64}))},
                        {"other.weight", zeros({3})}};
  EXPECT_EQ(error_of([&] { tree.load_state_dict(state, {}, "best.safetensors"); }),
            "best.safetensors: these are the weights of another net:\n"
            "  shape of first.weight: the net has [3,2], the file [4,2]\n"
            "  type of first.count: the net has i64, the file f32\n"
            "  missing: layer1.weight [4,2]\n"
            "  missing: layer1.count [1]\n"
            "  unexpected: other.weight [3]");
  EXPECT_EQ(tree.layers[1].weight.to_vector(), before);
  EXPECT_THROW(tree.load_state_dict(state), DataError);

  state.erase(state.begin(), state.begin() + 2);
  const auto ignored = tree.load_state_dict(
      state, {.allow_missing = true, .ignore = [](const std::string& key) { return key.starts_with("other."); }});
  EXPECT_EQ(ignored, (std::vector<std::string>{"other.weight"}));
  EXPECT_EQ(tree.layers[1].weight.to_vector(), std::vector<double>(10, 0.0));
}

TEST(Init, FollowsTheSeedAndTheFan) {
  const auto build = [](std::uint64_t seed) {
    const InitScope scope(seed);
    Conv a(8, 16, {.kernel = 3, .kaiming = Fan::out}), b(8, 16, {.kernel = 3});
    return std::pair(a.weight.to_vector(), b.weight.to_vector());
  };
  const auto [a, b] = build(1);
  EXPECT_EQ(build(1), std::pair(a, b));
  EXPECT_NE(build(2).first, a);

  double squares = 0, largest = 0;
  for (const double v : a) squares += v * v;
  for (const double v : b) largest = std::max(largest, std::abs(v));
  const double deviation = std::sqrt(squares / static_cast<double>(a.size()));
  EXPECT_NEAR(deviation / std::sqrt(2.0 / (16 * 27)), 1, 0.05);
  EXPECT_LE(largest, 1 / std::sqrt(8 * 27.0));
  EXPECT_GT(largest, 0.99 / std::sqrt(8 * 27.0));
  EXPECT_EQ(fan_of({16, 8, 3, 3, 3}, Fan::in), 8 * 27);
  EXPECT_EQ(fan_of({16, 8, 3, 3, 3}, Fan::out), 16 * 27);

  const InitScope outer(1);
  const RandomKey before = next_init_key();
  {
    const NoInit scope;
    EXPECT_EQ(Linear(3, 4).weight.shape(), (Shape{4, 3}));
  }
  EXPECT_EQ(next_init_key().step, before.step + 1) << "nothing was drawn";
}

TEST(BatchNormLayer, NamesAndFirstValues) {
  BatchNorm norm(3);
  EXPECT_EQ(names(norm.state_dict()), (std::vector<std::string>{"weight", "bias", "running_mean", "running_var"}));
  EXPECT_EQ(norm.weight.to_vector(), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(norm.running_var.to_vector(), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(norm.parameter_count(), 6);
}

}  // namespace
