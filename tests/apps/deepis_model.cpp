// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/model.h"

#include "apps/app.h"
#include "core/autograd.h"
#include "tests/data/cells.h"

using namespace cuboid;
using namespace cuboid::deepis;
using namespace cuboid::test;

namespace {

namespace fs = std::filesystem;

GcnUnetOptions little(std::int64_t outputs = 1) {
  GcnUnetOptions net;
  net.features = {4, 6, 8, 10, 12};
  net.trans = 4;
  net.blocks = {1, 2, 1, 1};
  net.gcn_kernels = {5, 3, 3, 3};
  net.out_channels = outputs;
  net.in_channels = 2;
  net.seed = 5;
  return net;
}

Tensor run(GcnUnet& net, const Tensor& x) {
  const Recording off(false);
  net.eval();
  return net(x);
}

TEST(DeepisModel, ComesBackAsItWas) {
  const TempFolder folder;
  ModelCard card;
  card.net = little();
  card.head = Head::instances;
  card.classes = {"background", "object"};
  card.normalise = {.kind = Normalisation::Kind::percentiles, .low = 1, .high = 99};
  card.spacing_um = {0.28, 0.127, 0.127};
  card.patch = {32, 48, 64};
  card.postprocess = Json::object({{"threshold_um", 0.2}});
  card.data_fingerprint = "0123";
  GcnUnet net(card.net);
  const Tensor x = noise({1, 2, 9, 10, 11}, 3);
  const Tensor expected = run(net, x);
  fs::create_directories(folder / "run/checkpoints");
  save_model(folder / "run" / best_checkpoint, net, card);
  for (const auto& path : {folder / "run", folder / "run" / best_checkpoint}) {
    const Model m = load_model(path);
    EXPECT_EQ(m.card.to_json(), card.to_json());
    EXPECT_FALSE(m.net->classifier3) << "only training needs it";
    EXPECT_TRUE(equal(run(*m.net, x), expected));
  }
  EXPECT_TRUE(load_model(folder / "run", {.auxiliary = true}).net->classifier3);
}

TEST(DeepisModel, OriginalWeights) {
  const TempFolder folder;
  for (const std::int64_t outputs : {1, 3}) {
    GcnUnetOptions options = little(outputs);
    options.legacy_block = true;
    GcnUnet net(options);
    NamedTensors state;
    for (const auto& [name, tensor] : net.state_dict()) {
      state.emplace_back("module." + name, tensor);
      if (name.ends_with("running_var"))
        state.emplace_back("module." + name.substr(0, name.size() - 11) + "num_batches_tracked",
                           full({}, 3, {.dtype = DType::i64}));
    }
    write_safetensors(folder / "original.safetensors", state);
    const Model m = load_model(folder / "original.safetensors");
    EXPECT_EQ(m.card.net.features, options.features);
    EXPECT_EQ(m.card.net.blocks, options.blocks);
    EXPECT_EQ(m.card.net.gcn_kernels, options.gcn_kernels);
    EXPECT_EQ(m.card.net.trans, options.trans);
    EXPECT_EQ(m.card.net.in_channels, 2);
    EXPECT_EQ(m.card.net.out_channels, outputs);
    EXPECT_EQ(m.card.net.auxiliary, 3);
    EXPECT_TRUE(m.card.net.legacy_block);
    EXPECT_EQ(m.card.head, outputs == 1 ? Head::signed_distance : Head::classes);
    EXPECT_EQ(m.card.classes.size(), 3u);
    EXPECT_EQ(m.card.normalise.kind, Normalisation::Kind::none);
    EXPECT_FALSE(m.ignored.empty());
    const Tensor x = noise({1, 2, 8, 9, 10}, 4);
    EXPECT_TRUE(equal(run(*m.net, x), run(net, x)));
    EXPECT_EQ(ModelCard::from_json(m.card.to_json()).to_json(), m.card.to_json());
  }
}

TEST(DeepisModel, WhatIsNoModel) {
  const TempFolder folder;
  EXPECT_SAYS(data_error([&] { load_model(folder.path()); }), "no checkpoint in this folder", "checkpoints/best.safetensors");
  write_safetensors(folder / "a.safetensors", {{"weight", zeros({2, 2})}});
  EXPECT_SAYS(data_error([&] { load_model(folder / "a.safetensors"); }), "no tensor 'conv1.conv1.0.weight'", "ResNet-GCN U-Net");
  write_safetensors(folder / "b.safetensors", {{"weight", zeros({2, 2})}}, {{"format", "cuboid.classifier.1"}});
  EXPECT_SAYS(data_error([&] { load_model(folder / "b.safetensors"); }), "cuboid.classifier.1", "not a segmenter");
  GcnUnet net(little());
  ModelCard card;
  card.net = little();
  card.net.trans = 8;
  save_model(folder / "c.safetensors", net, card);
  EXPECT_SAYS(data_error([&] { load_model(folder / "c.safetensors"); }), "c.safetensors", "gcn1.weight");
  NamedTensors state = net.state_dict();
  std::erase_if(state, [](const auto& t) { return t.first == "gcn3.conv_l2.weight"; });
  write_safetensors(folder / "d.safetensors", state);
  EXPECT_SAYS(data_error([&] { load_model(folder / "d.safetensors"); }), "d.safetensors", "gcn3.conv_l2.weight");
}

TEST(DeepisModel, CardsThatMakeNoSense) {
  const auto refused = [](auto change) {
    ModelCard card;
    Json json = card.to_json();
    change(json);
    return data_error([&] { ModelCard::from_json(json); });
  };
  EXPECT_EQ(refused([](Json&) {}), "no error");
  EXPECT_SAYS(refused([](Json& j) { j["head"] = "mask"; }), "'mask'");
  EXPECT_SAYS(refused([](Json& j) { j["head"] = "classes"; }), "needs 3 outputs, the net has 1");
  EXPECT_SAYS(refused([](Json& j) { j["classes"] = Json::array({"a"}); }), "1 class names");
  EXPECT_SAYS(refused([](Json& j) { j["net"]["trans"] = std::int64_t{1} << 40; }), "channels on the way up");
  EXPECT_SAYS(refused([](Json& j) { j["net"]["features"] = Json::array({4, 5, 6, 7, 8}); }), "features 5 are odd");
  EXPECT_SAYS(refused([](Json& j) { j["net"]["features"] = Json::array({4}); }), "5 numbers");
  EXPECT_SAYS(refused([](Json& j) { j["net"]["gcn_kernels"] = Json::array({4, 3, 3, 3}); }), "kernel of 4");
  EXPECT_SAYS(refused([](Json& j) { j["net"]["blocks"] = Json::array({0, 1, 1, 1}); }), "0 blocks");
  EXPECT_SAYS(refused([](Json& j) { j["patch"] = Json::array({4, 4}); }), "3 sizes");
  EXPECT_SAYS(refused([](Json& j) { j["spacing_um"] = Json::array({-1, 1, 1}); }), "spacing of -1");
  EXPECT_SAYS(refused([](Json& j) { j["postprocess"] = 3; }), "postprocess");
}

TEST(DeepisModel, NamedNets) {
  EXPECT_EQ(named_net("deepis").features, (std::array<std::int64_t, 5>{64, 128, 256, 512, 1024}));
  const GcnUnetOptions net = named_net("tiny", 2, 4);
  EXPECT_EQ(net.in_channels, 2);
  EXPECT_EQ(net.out_channels, 4);
  EXPECT_SAYS(error_of([] { named_net("smal"); }), "'smal'", "did you mean 'small'");
}

}  // namespace
