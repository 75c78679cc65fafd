// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/model.h"

#include <algorithm>
#include <cmath>

#include "apps/app.h"
#include "apps/text.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

constexpr const char* format = "cuboid.segmenter.1";

Json numbers(const auto& values) {
  Json list = Json::array();
  for (const auto v : values) list.push_back(v);
  return list;
}

template <class T, std::size_t n>
void read_numbers(const Json& list, std::array<T, n>& to, const char* what) {
  check<DataError>(list.is_array() && list.size() == n, "model card: ", what, " must be a list of ", n, " numbers");
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (std::is_floating_point_v<T>) to[i] = static_cast<T>(list[i].as_double());
    else to[i] = static_cast<T>(list[i].as_int());
  }
}

bool is_training_state(const std::string& name) { return name.starts_with("train."); }

void check_net(const GcnUnetOptions& net) {
  const auto width = [](std::int64_t n, const char* what) {
    check<DataError>(n > 0 && n <= 65536, "model card: ", n, " ", what);
  };
  width(net.in_channels, "input channels");
  width(net.out_channels, "outputs");
  width(net.trans, "channels on the way up");
  for (const auto n : net.features) width(n, "features");
  for (std::size_t i = 1; i < 5; ++i)
    check<DataError>(net.features[i] % 2 == 0, "model card: features ", net.features[i], " are odd; bottlenecks halve them");
  for (const int n : net.blocks) check<DataError>(n > 0 && n <= 1024, "model card: a layer of ", n, " blocks");
  for (const auto n : net.gcn_kernels) check<DataError>(n > 0 && n <= 255 && n % 2 == 1, "model card: a GCN kernel of ", n);
  check<DataError>(net.auxiliary >= 0 && net.auxiliary <= 65536, "model card: ", net.auxiliary, " auxiliary classes");
  check<DataError>(net.dropout >= 0 && net.dropout < 1, "model card: dropout ", net.dropout);
}

std::vector<std::string> class_names(Head head, std::int64_t outputs) {
  if (head == Head::instances) return {"background", "object"};
  std::vector<std::string> names = {"background"};
  for (std::int64_t c = 1; c < (head == Head::signed_distance ? 3 : outputs); ++c) names.push_back(std::to_string(c));
  return names;
}

}  // namespace

Json ModelCard::to_json() const {
  return Json::object({{"net", Json::object({{"in_channels", net.in_channels},
                                             {"out_channels", net.out_channels},
                                             {"features", numbers(net.features)},
                                             {"trans", net.trans},
                                             {"blocks", numbers(net.blocks)},
                                             {"gcn_kernels", numbers(net.gcn_kernels)},
                                             {"auxiliary", net.auxiliary},
                                             {"dropout", net.dropout},
                                             {"legacy_block", net.legacy_block}})},
                       {"head", name_of(head)},
                       {"classes", Json(classes)},
                       {"normalise", normalise.to_json()},
                       {"spacing_um", numbers(spacing_um)},
                       {"patch", numbers(patch)},
                       {"postprocess", postprocess},
                       {"data", data_fingerprint}});
}

ModelCard ModelCard::from_json(const Json& json) {
  ModelCard card;
  const Json& net = json.at("net");
  card.net.in_channels = net.at("in_channels").as_int();
  card.net.out_channels = net.at("out_channels").as_int();
  read_numbers(net.at("features"), card.net.features, "features");
  card.net.trans = net.at("trans").as_int();
  read_numbers(net.at("blocks"), card.net.blocks, "blocks");
  read_numbers(net.at("gcn_kernels"), card.net.gcn_kernels, "gcn_kernels");
  card.net.auxiliary = net.at("auxiliary").as_int();
  card.net.dropout = net.at("dropout").as_double();
  card.net.legacy_block = net.at("legacy_block").as_bool();
  check_net(card.net);
  card.head = head_of(json.at("head").as_string());
  card.classes.clear();
  for (const Json& name : json.at("classes").as_array()) card.classes.push_back(name.as_string());
  const std::int64_t outputs = card.head == Head::classes ? static_cast<std::int64_t>(card.classes.size()) : 1;
  check<DataError>(card.net.out_channels == outputs, "model card: the head '", name_of(card.head), "' with ", card.classes.size(),
                   " classes needs ", outputs, " outputs, the net has ", card.net.out_channels);
  check<DataError>(card.classes.size() == class_names(card.head, outputs).size(), "model card: ", card.classes.size(),
                   " class names for the head '", name_of(card.head), "'");
  card.normalise = Normalisation::from_json(json.at("normalise"));
  read_numbers(json.at("spacing_um"), card.spacing_um, "spacing_um");
  for (const double s : card.spacing_um) check<DataError>(std::isfinite(s) && s >= 0, "model card: a spacing of ", s, " um");
  const Json& patch = json.at("patch");
  check<DataError>(patch.size() == 0 || patch.size() == 3, "model card: a patch has 3 sizes, not ", patch.size());
  for (const Json& n : patch.as_array()) {
    card.patch.push_back(n.as_int());
    check<DataError>(n.as_int() > 0, "model card: a patch of ", n.as_int(), " voxels");
  }
  if (const Json* post = json.find("postprocess")) {
    check<DataError>(post->is_object(), "model card: postprocess is a ", name_of(post->kind()));
    card.postprocess = *post;
  }
  card.data_fingerprint = json.get("data", "");
  return card;
}

GcnUnetOptions named_net(const std::string& name, std::int64_t channels, std::int64_t outputs) {
  GcnUnetOptions net;
  if (name == "deepis") net = deepis_unet(1);
  else if (name == "deepis2") net = deepis_unet(2);
  else if (name == "deepis4") net = deepis_unet(4);
  else if (name == "small") net.features = {16, 32, 64, 128, 128}, net.trans = 16;
  else if (name == "tiny") net.features = {8, 16, 32, 32, 32}, net.trans = 8;
  else
    fail<app::UsageError>("--net: '", name, "' is not one of ", app::join(net_names, ", "), app::did_you_mean(name, net_names));
  net.in_channels = channels;
  net.out_channels = outputs;
  return net;
}

GcnUnetOptions net_of(const std::vector<StoredTensor>& tensors, const std::string& source) {
  const auto shape_of = [&](const std::string& key) -> const Shape* {
    for (const auto& t : tensors)
      if (t.name == key || t.name == "module." + key) return &t.shape;
    return nullptr;
  };
  const auto find = [&](const std::string& key, int rank) -> const Shape& {
    const Shape* shape = shape_of(key);
    check<DataError>(shape, source, ": no tensor '", key, "': these are no weights of the ResNet-GCN U-Net");
    check<DataError>(shape->rank() == rank, source, ": ", key, " has shape ", *shape, ", expected ", rank, " axes");
    return *shape;
  };
  GcnUnetOptions net;
  const Shape& stem = find("conv1.conv1.0.weight", 5);
  net.features[0] = stem[0];
  net.in_channels = stem[1];
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string layer = "layer" + std::to_string(i + 1) + ".blocks.";
    net.features[i + 1] = find(layer + "0.increase.0.weight", 5)[0];
    net.blocks[i] = 1;
    while (net.blocks[i] < 1024 && shape_of(layer + std::to_string(net.blocks[i]) + ".increase.0.weight")) ++net.blocks[i];
    net.gcn_kernels[i] = find("gcn" + std::to_string(i + 2) + ".conv_l1.weight", 5)[2];
  }
  net.trans = find("gcn1.weight", 5)[0];
  net.out_channels = find("final.0.weight", 5)[0];
  const Shape* heads = shape_of("classifier3.4.weight");
  net.auxiliary = heads && heads->rank() > 0 ? (*heads)[0] : 0;
  net.legacy_block = shape_of("ConBR0.conv1.weight") != nullptr;
  check_net(net);
  return net;
}

Metadata metadata_of(const ModelCard& card) { return {{"format", format}, {"model", card.to_json().dump()}}; }

void save_model(const fs::path& file, GcnUnet& net, const ModelCard& card) {
  write_safetensors(file, net.state_dict(), metadata_of(card));
}

fs::path model_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  check<DataError>(fs::exists(path / best_checkpoint, error),
                   app::with_hint(path.string() + ": no checkpoint in this folder",
                                  join_text("a run folder has ", best_checkpoint, " once an epoch is done")));
  return path / best_checkpoint;
}

Model load_model(const fs::path& path, const LoadModelOptions& options) {
  Model model;
  const fs::path where = model_file(path);
  const SafetensorsFile file(where);
  model.source = where.string();
  if (const std::string said = file.metadata("format"); said == format) {
    try {
      model.card = ModelCard::from_json(Json::parse(file.metadata("model"), model.source));
    } catch (const DataError& error) {
      const std::string text = error.what();
      fail<DataError>(text.starts_with(model.source) ? text : model.source + ": " + text);
    }
  } else {
    check<DataError>(!said.starts_with("cuboid."), model.source, ": a model of another kind (", said, "), not a segmenter");
    model.card.net = net_of(file.tensors(), model.source);
    model.card.head = model.card.net.out_channels == 1 ? Head::signed_distance : Head::classes;
    model.card.classes = class_names(model.card.head, model.card.net.out_channels);
    model.card.normalise = {.kind = Normalisation::Kind::none};  // the original's loader has none
  }
  GcnUnetOptions net = model.card.net;
  net.legacy_block = false;
  if (!options.auxiliary) net.auxiliary = 0;
  NamedTensors state;
  for (const auto& stored : file.tensors())
    if (!is_training_state(stored.name)) state.emplace_back(stored.name, file.read(stored.name));
  model.net = std::make_unique<GcnUnet>(GcnUnet::with_weights(net, state, model.source, &model.ignored));
  model.net->to(options.device);
  return model;
}

}  // namespace cuboid::deepis
