// SPDX-License-Identifier: Apache-2.0
// The ResNet-GCN U-Net: sizes and names as published, shapes of every stage, the folded layers against the published ones.
#include "nets/gcn_unet.h"

#include <cmath>
#include <set>
#include <string>

#include "core/autograd.h"
#include "core/profiler.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// The net without weights: quick to build, and all there is to count.
GcnUnet unfilled(const GcnUnetOptions& options) {
  const NoInit scope;
  return GcnUnet(options);
}

std::int64_t count(GcnUnetOptions o, bool legacy, std::int64_t auxiliary = 3) {
  o.legacy_block = legacy;
  o.auxiliary = auxiliary;
  return unfilled(o).parameter_count();
}

TEST(GcnUnetSize, Published) {
  EXPECT_EQ(count(deepis_unet(1), true), 9'584'071);
  EXPECT_EQ(count(deepis_unet(1), false), 9'358'599);
  EXPECT_EQ(count(deepis_unet(1), false, 0), 9'247'681);
  EXPECT_EQ(count(deepis_unet(2), true), 3'927'207);
  EXPECT_EQ(count(deepis_unet(2), false), 3'701'735);
  EXPECT_EQ(count(deepis_unet(4), true), 2'359'831);
  EXPECT_THROW(deepis_unet(3), Error);
}

TEST(GcnUnetSize, Variant1111) {
  GcnUnetOptions o = deepis_unet();
  o.gcn_kernels = {9, 7, 5, 3};
  o.trans = 24;
  EXPECT_EQ(count(o, false, 0), 7'346'897);
}

TEST(GcnUnetStages, PublishedTable) {
  struct Row {
    const char* name;
    Shape output;
    std::int64_t parameters;
    double gmac;
  };
  const Row expected[] = {
      {"conv1", {1, 64, 128, 128, 64}, 112'704, 117.78}, {"layer1", {1, 128, 64, 64, 32}, 79'360, 12.08},
      {"layer2", {1, 256, 32, 32, 16}, 314'368, 6.04},   {"layer3", {1, 512, 16, 16, 8}, 1'251'328, 3.02},
      {"layer4", {1, 1024, 8, 8, 4}, 4'993'024, 1.51},   {"gcn1", {1, 64, 128, 128, 64}, 4'160, 4.29},
      {"gcn2", {1, 64, 64, 64, 32}, 229'760, 30.06},     {"gcn3", {1, 64, 32, 32, 16}, 344'448, 5.64},
      {"gcn4", {1, 64, 16, 16, 8}, 573'824, 1.17},       {"gcn5", {1, 64, 8, 8, 4}, 442'752, 0.11},
      {"ConBR4", {1, 64, 16, 16, 8}, 225'472, 0.46},     {"ConBR3", {1, 64, 32, 32, 16}, 225'472, 3.69},
      {"ConBR2", {1, 64, 64, 64, 32}, 225'472, 29.53},   {"ConBR1", {1, 64, 128, 128, 64}, 225'472, 236.22},
      {"final.0", {1, 1, 128, 128, 64}, 65, 0.07},       {"classifier3", {1, 3, 32, 32, 16}, 55'459, 0.91},
      {"classifier4", {1, 3, 16, 16, 8}, 55'459, 0.11},
  };
  GcnUnet net = unfilled({});
  const std::vector<Stage> stages = net.stages({1, 1, 128, 128, 64});
  ASSERT_EQ(stages.size(), std::size(expected));
  double macs = 0;
  std::int64_t parameters = 0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    EXPECT_EQ(stages[i].name, expected[i].name);
    EXPECT_EQ(stages[i].output, expected[i].output) << stages[i].name;
    EXPECT_EQ(stages[i].parameters, expected[i].parameters) << stages[i].name;
    EXPECT_NEAR(static_cast<double>(stages[i].macs) / 1e9, expected[i].gmac, 0.0051) << stages[i].name;
    macs += static_cast<double>(stages[i].macs);
    parameters += stages[i].parameters;
  }
  EXPECT_NEAR(macs / 1e9, 452.7, 0.05);
  EXPECT_EQ(parameters, net.parameter_count());
  EXPECT_THROW(net.stages({1, 2, 128, 128, 64}), Error);
  double half = 0;
  for (const Stage& s : unfilled(deepis_unet(2)).stages({1, 1, 128, 128, 64})) half += static_cast<double>(s.macs);
  EXPECT_NEAR(half / 1e9, 335.8, 0.05);
}

GcnUnetOptions small() {
  GcnUnetOptions o;
  o.in_channels = 2;
  o.out_channels = 4;
  o.features = {4, 6, 8, 10, 12};
  o.trans = 8;
  o.blocks = {2, 1, 1, 2};
  o.gcn_kernels = {5, 3, 3, 1};
  o.auxiliary = 4;
  o.seed = 5;
  return o;
}

TEST(GcnUnetStages, ShapesAreThoseOfTheForwardPass) {
  GcnUnet net(small());
  net.to(test_device());
  net.eval();
  const Shape shape{2, 2, 17, 12, 9};  // odd sizes: the way up meets each skip's size
  Activations keep;
  for (const auto& name : GcnUnet::activation_names()) keep[name] = {};
  const GcnUnetOutput y = net.forward(random(shape, {.dtype = DType::f32}), &keep);
  EXPECT_EQ(y.main.shape(), (Shape{2, 4, 17, 12, 9}));
  EXPECT_EQ(y.aux3.shape(), (Shape{2, 4, 5, 3, 3}));
  EXPECT_EQ(y.aux4.shape(), (Shape{2, 4, 3, 2, 2}));
  for (const Stage& stage : net.stages(shape))
    if (keep.count(stage.name)) {
      EXPECT_EQ(keep.at(stage.name).shape(), stage.output) << stage.name;
      EXPECT_TRUE(keep.at(stage.name).is(Layout::channels_last)) << stage.name;
    }
  Activations wrong{{"layer5", {}}};
  EXPECT_THROW(net.forward(random(shape, {.dtype = DType::f32}), &wrong), Error);
  EXPECT_THROW(net(random({1, 1, 16, 16, 16}, {.dtype = DType::f32})), Error);
}

TEST(GcnUnetStages, ProfilerMeetsEveryConvolutionOfTheTable) {
  // Layer by layer the profiler meets each convolution once. It leaves out taps on padding, which the table counts as the paper
  // does: less than a fifth in this small volume. With linear layers merged there are fewer multiply-adds.
  GcnUnetOptions o = small();
  const Shape shape{1, 2, 16, 16, 8};
  double counted[2] = {}, table = 0;
  for (const bool fused : {false, true}) {
    o.fused = fused;
    GcnUnet net(o);
    net.to(test_device());
    net.eval();
    if (!fused)
      for (const Stage& s : net.stages(shape)) table += static_cast<double>(s.macs);
    const Recording off(false);
    profiler::clear();
    profiler::enable(true);
    net.forward(random(shape, {.dtype = DType::f32}));
    profiler::enable(false);
    std::int64_t met = 0, kernels = 0;
    for (const auto& e : profiler::events())
      if (e.op == std::string("conv")) counted[fused] += e.flops / 2, ++met;
    profiler::clear();
    for (const auto& [name, p] : net.named_parameters()) kernels += p.rank() == 5;
    if (!fused) {
      EXPECT_EQ(met, kernels);
    }
  }
  EXPECT_LT(counted[0], table);
  EXPECT_GT(counted[0], 0.8 * table);
  EXPECT_LT(counted[1], 0.95 * counted[0]);
}

TEST(GcnUnetFused, MergedLinearLayersComputeTheSame) {
  GcnUnetOptions o = small();
  o.dropout = 0;
  GcnUnet merged(o);
  o.fused = false;
  GcnUnet plain(o);
  Tensors results[2];
  for (GcnUnet* net : {&merged, &plain}) {
    net->to(DType::f64);
    net->to(test_device());
    const Tensor x = random({2, 2, 9, 8, 7}, {.seed = 3});
    const GcnUnetOutput y = net->forward(x);
    Tensor sum_of = sum(y.main * random(y.main.shape(), {.seed = 4})) + sum(y.aux3 * random(y.aux3.shape(), {.seed = 5})) +
                    sum(y.aux4 * random(y.aux4.shape(), {.seed = 6}));
    Tensors& r = results[net == &plain];
    r = grad(sum_of, net->parameters());
    r.push_back(y.main.detach());
    r.push_back(y.aux3.detach());
    r.push_back(y.aux4.detach());
  }
  for (std::size_t i = 0; i < results[0].size(); ++i)
    EXPECT_TRUE(close(results[0][i], results[1][i], {.rtol = 1e-8, .atol = 1e-9})) << i;
}

TEST(GcnUnetKeys, AreTheOriginals) {
  GcnUnetOptions o;
  o.legacy_block = true;
  GcnUnet net = unfilled(o);
  std::set<std::string> keys;
  for (const auto& [name, t] : net.state_dict()) keys.insert(name);
  for (const char* key :
       {"conv1.conv1.0.weight", "conv1.conv1.1.running_var", "conv1.conv2.0.bias", "layer1.blocks.0.reduce.0.weight",
        "layer1.blocks.0.conv3.1.weight", "layer4.blocks.1.increase.0.bias", "layer2.blocks.0.proj.1.running_mean", "gcn1.weight",
        "gcn2.conv_l1.weight", "gcn5.conv_r3.bias", "ConBR0.conv1.weight", "ConBR4.conv3.weight", "final.0.weight",
        "classifier3.0.weight", "classifier3.1.bias", "classifier4.4.weight", "classifier4.4.bias"})
    EXPECT_TRUE(keys.count(key)) << key;
  EXPECT_FALSE(keys.count("classifier3.0.bias"));
  EXPECT_FALSE(keys.count("layer1.blocks.1.proj.0.weight"));
}

TEST(GcnUnetKeys, TakesTheOriginalsFiles) {
  GcnUnetOptions o = small();
  o.legacy_block = true;
  GcnUnet original(o);
  NamedTensors file;
  for (const auto& [name, t] : original.state_dict()) file.emplace_back("module." + name, t);
  file.emplace_back("module.conv1.conv1.1.num_batches_tracked", from_values<std::int64_t>({3}, {}));
  o.legacy_block = false;
  o.auxiliary = 0;
  o.seed = 6;
  GcnUnet net(o);
  EXPECT_EQ(net.load(file, "file").size(), 1 + 6u + 2 * 7);
  std::vector<std::string> ignored;
  GcnUnet shared = GcnUnet::with_weights(o, file, "file", &ignored);
  EXPECT_EQ(ignored.size(), 21u);
  original.eval();
  net.eval();
  const Recording off(false);
  const Tensor x = random({1, 2, 8, 8, 8}, {.dtype = DType::f32});
  for (GcnUnet* n : {&original, &net, &shared}) n->to(test_device());
  EXPECT_TRUE(equal(net(x), original(x)));
  EXPECT_TRUE(equal(shared(x), original(x)));
  file.pop_back();
  file.erase(file.begin());
  EXPECT_NE(error_of([&] { net.load(file, "broken.safetensors"); }).find("missing: conv1.conv1.0.weight"), std::string::npos);
}

TEST(GcnUnetInit, StemAsHeEtAl) {
  GcnUnet net(deepis_unet(2));
  const auto moments = [](const Tensor& t) {
    double sum = 0, squares = 0;
    for (const double v : t.to_vector()) sum += v, squares += v * v;
    const double n = static_cast<double>(t.size());
    return std::pair{sum / n, std::sqrt(squares / n - sum * sum / n / n)};
  };
  EXPECT_NEAR(moments(net.conv1.conv2.conv.weight).second, std::sqrt(2. / (32 * 27)), 2e-3);
  EXPECT_NEAR(moments(net.conv1.conv2.norm.weight).first, 1, 0.02);
  EXPECT_NEAR(moments(net.conv1.conv2.norm.weight).second, 0.02, 0.01);
  EXPECT_NEAR(moments(net.layer1.blocks[0].reduce.conv.weight).second, 1 / std::sqrt(3. * 32), 5e-3);
}

}  // namespace
