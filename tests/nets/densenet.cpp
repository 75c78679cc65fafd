// SPDX-License-Identifier: Apache-2.0
// Sizes and names of the published nets: parameter counts, keys, the shape of every stage.
#include "nets/densenet.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/autograd.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// The net with zero weights: quick to build, and all there is to count.
DenseNet unfilled(const DenseNetOptions& options) {
  const NoInit scope;
  return DenseNet(options);
}

template <class Layer>
int count_of(Module& net) {
  int count = 0;
  for (const auto& [path, m] : net.modules()) count += dynamic_cast<Layer*>(m) != nullptr;
  return count;
}

std::set<std::string> keys_of(DenseNet& net) {
  std::set<std::string> keys;
  for (const auto& [name, t] : net.state_dict()) keys.insert(name);
  return keys;
}

TEST(DenseNetSize, Csf) {
  DenseNet net = unfilled(csf_densenet());
  EXPECT_EQ(net.parameter_count(), 18'525'826);
  EXPECT_EQ(count_of<Conv>(net), 168);
  EXPECT_EQ(count_of<BatchNorm>(net), 169);
  std::int64_t statistics = -net.parameter_count();
  for (const auto& [name, t] : net.state_dict()) statistics += t.size();
  EXPECT_EQ(statistics, 158'400);
}

TEST(DenseNetSize, Published) {
  DenseNetOptions stem3 = monai_densenet121(), deep = monai_densenet121();
  stem3.stem_kernel = 3;
  deep.blocks = {6, 12, 32, 32};
  EXPECT_EQ(unfilled(monai_densenet121()).parameter_count(), 11'244'674);
  EXPECT_EQ(unfilled(stem3).parameter_count(), 11'224'450);
  EXPECT_EQ(unfilled(deep).parameter_count(), 18'546'050);
  EXPECT_EQ(unfilled(torchvision_densenet121()).parameter_count(), 7'978'856);
}

TEST(DenseNetStages, CsfTable) {
  struct Row {
    const char* name;
    Shape output;
    std::int64_t parameters;
  };
  const Row expected[] = {
      {"conv0", {1, 64, 32, 32, 32}, 1'856},         {"denseblock1", {1, 256, 32, 32, 32}, 777'408},
      {"transition1", {1, 128, 16, 16, 16}, 33'280}, {"denseblock2", {1, 512, 16, 16, 16}, 1'804'416},
      {"transition2", {1, 256, 8, 8, 8}, 132'096},   {"denseblock3", {1, 1280, 8, 8, 8}, 6'675'456},
      {"transition3", {1, 640, 4, 4, 4}, 821'760},   {"denseblock4", {1, 1664, 4, 4, 4}, 8'272'896},
      {"norm5", {1, 1664, 4, 4, 4}, 3'328},          {"classifier", {1, 2}, 3'330},
  };
  DenseNet net = unfilled(csf_densenet());
  const std::vector<Stage> stages = net.stages({1, 1, 64, 64, 64});
  ASSERT_EQ(stages.size(), std::size(expected));
  double macs = 0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    EXPECT_EQ(stages[i].name, expected[i].name);
    EXPECT_EQ(stages[i].output, expected[i].output) << stages[i].name;
    EXPECT_EQ(stages[i].parameters, expected[i].parameters) << stages[i].name;
    macs += static_cast<double>(stages[i].macs);
  }
  EXPECT_NEAR(macs / 1e9, 38.72, 0.005);
  EXPECT_THROW(net.stages({1, 2, 64, 64, 64}), Error);
}

DenseNetOptions small(int dims) {
  return {.dims = dims,
          .in_channels = 2,
          .classes = 3,
          .growth = 4,
          .bn_size = 2,
          .init_features = 8,
          .blocks = {2, 3, 1},
          .seed = 5};
}

TEST(DenseNetStages, ShapesAreThoseOfTheForwardPass) {
  for (int dims : {2, 3})
    for (bool pool : {false, true}) {
      DenseNetOptions o = small(dims);
      o.stem_pool = pool;
      DenseNet net(o);
      net.to(test_device());
      Shape shape{2, 2};
      for (int i = 0; i < dims; ++i) shape.push_back(33 + i);
      Activations keep;
      for (const auto& name : net.activation_names()) keep[name] = {};
      const Tensor y = net.classify(net.forward_features(random(shape, {.dtype = DType::f32}), &keep));
      for (const Stage& stage : net.stages(shape))
        EXPECT_EQ(stage.name == "classifier" ? y.shape() : keep.at(stage.name).shape(), stage.output) << stage.name;
      for (const auto& [name, activation] : keep) EXPECT_TRUE(activation.is(Layout::channels_last)) << name;
      EXPECT_EQ(keep.size(), net.activation_names().size());
    }
}

TEST(DenseNetStages, PredictionIsThatOfTrainingMode) {
  // without a recording the stem goes sample by sample
  DenseNet net({.dims = 3, .growth = 8, .init_features = 8, .blocks = {2, 2}});
  net.to(test_device());
  net.eval();
  const Tensor x = random({3, 1, 16, 18, 20}, {.dtype = DType::f32});
  const Tensor recorded = net(x).detach();
  const Recording off(false);
  EXPECT_TRUE(equal(net(x), recorded));
}

TEST(DenseNetKeysTest, TorchvisionAndMonai) {
  DenseNet torchvision = unfilled(torchvision_densenet121()), monai = unfilled(monai_densenet121());
  const auto a = keys_of(torchvision), b = keys_of(monai);
  for (const char* key : {"features.conv0.weight", "features.norm0.running_var", "features.denseblock1.denselayer1.norm1.weight",
                          "features.denseblock4.denselayer16.conv2.weight", "features.transition3.conv.weight",
                          "features.transition1.norm.bias", "features.norm5.weight", "classifier.weight", "classifier.bias"})
    EXPECT_TRUE(a.count(key)) << key;
  for (const char* key : {"features.conv0.weight", "features.denseblock1.denselayer1.layers.norm1.running_mean",
                          "features.denseblock3.denselayer24.layers.conv2.weight", "features.transition1.conv.weight",
                          "class_layers.out.weight", "class_layers.out.bias"})
    EXPECT_TRUE(b.count(key)) << key;
  EXPECT_EQ(a.size(), 121u * 4 + 120 + 2) << "121 norms, 120 convolutions, one linear";
  EXPECT_EQ(b.size(), a.size());
}

TEST(DenseNetInit, FollowsTheRecipeAndTheSeed) {
  DenseNetOptions o = csf_densenet();
  o.blocks = {2, 2};
  DenseNet net(o), again(o);
  o.seed = 1;
  DenseNet other(o);
  EXPECT_TRUE(equal(net.features.conv0.weight, again.features.conv0.weight));
  EXPECT_NE(net.features.conv0.weight.to_vector(), other.features.conv0.weight.to_vector());
  const auto deviation = [](const Tensor& t) {
    double squares = 0;
    for (const double v : t.to_vector()) squares += v * v;
    return std::sqrt(squares / static_cast<double>(t.size()));
  };
  DenseLayer& layer = net.features.denseblocks[0].layers[0];
  EXPECT_NEAR(deviation(layer.conv2.weight) / std::sqrt(2.0 / (32 * 27)), 1, 0.02) << "fan out";
  EXPECT_NEAR(deviation(layer.conv1.weight) / std::sqrt(2.0 / 128), 1, 0.03);
  const double bound = 1 / std::sqrt(static_cast<double>(net.classifier.weight.dim(1)));
  for (const double v : net.classifier.bias.to_vector()) EXPECT_TRUE(v != 0 && std::abs(v) <= bound);
  EXPECT_EQ(DenseNet(small(2)).classifier.bias.to_vector(), std::vector<double>(3, 0.0));
}

TEST(DenseNetLoad, OwnFileAndTheOriginals) {
  DenseNetOptions o = small(3);
  DenseNet a(o);
  o.seed = 9;
  DenseNet b(o);
  const auto path = std::filesystem::temp_directory_path() / "cuboid_densenet_load.safetensors";
  write_safetensors(path, a.state_dict());
  const NamedTensors stored = read_safetensors(path);
  std::filesystem::remove(path);
  EXPECT_TRUE(b.load(stored, path.string()).empty());
  DenseNet c = DenseNet::with_weights(o, stored, path.string());
  EXPECT_FALSE(c.training());
  a.eval();
  b.eval();
  for (DenseNet* net : {&a, &b, &c}) net->to(test_device());
  const Tensor x = random({1, 2, 16, 16, 16}, {.dtype = DType::f32});
  EXPECT_TRUE(equal(a(x), b(x)));
  EXPECT_TRUE(equal(a(x), c(x)));

  NamedTensors original = a.state_dict();
  for (const char* head : {"gram", "shape", "mot", "genus"}) original.emplace_back(std::string(head) + ".weight", zeros({1, 8}));
  original.emplace_back("features.norm0.num_batches_tracked", zeros({}, {.dtype = DType::i64}));
  EXPECT_EQ(b.load(original, "original").size(), 5u);
  original.emplace_back("features.surplus", zeros({1}));
  EXPECT_THROW(b.load(original, "original"), DataError);
  DenseNet wider = unfilled(small(2));
  EXPECT_THROW(wider.load(a.state_dict(), "three dimensions"), DataError);
}

TEST(DenseNetOptionsTest, RefusesNonsense) {
  EXPECT_EQ(error_of([] { densenet_options("csv"); }),
            "densenet: no configuration 'csv'; there are csf, densenet121_3d and densenet121_2d");
  EXPECT_THROW(DenseNet({.dims = 4}), Error);
  EXPECT_THROW(DenseNet({.blocks = {}}), Error);
  EXPECT_THROW(DenseNet({.blocks = {0}}), Error);
  EXPECT_THROW(DenseNet({.stem_kernel = 4}), Error);
  DenseNet net(small(3));
  EXPECT_THROW(net(zeros({1, 1, 16, 16, 16})), Error);
  EXPECT_THROW(net(zeros({1, 2, 16, 16})), Error);
  Activations keep{{"norm6", {}}};
  EXPECT_NE(error_of([&] { net.forward_features(zeros({1, 2, 16, 16, 16}), &keep); }).find("'norm6'"), std::string::npos);
}

}  // namespace
