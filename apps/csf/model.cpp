// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/model.h"

#include <algorithm>
#include <cmath>

#include "apps/app.h"
#include "apps/text.h"
#include "core/autograd.h"
#include "data/volume.h"
#include "kernels/views/views.h"
#include "layers/precision.h"

namespace cuboid::csf {
namespace fs = std::filesystem;
namespace {

constexpr const char* format = "cuboid.classifier.1";

Json numbers(const auto& values) {
  Json list = Json::array();
  for (const auto v : values) list.push_back(v);
  return list;
}

/// The views of x (N,C,D,H,W), each made when it is asked for.
class Views {
 public:
  Views(const Tensor& x, Tta tta) : x_(x) {
    flips_ = {{}};
    if (tta != Tta::none) flips_ = {{}, {3}, {4}, {3, 4}};
    if (tta == Tta::turns)
      for (std::size_t i = 0; i < 4; ++i) {
        flips_.push_back(flips_[i]);
        flips_.back().push_back(2);
      }
    count_ = flips_.size() * (tta == Tta::turns ? 2 : 1);
  }
  std::size_t count() const { return count_; }
  Tensor operator[](std::size_t i) const {
    const Shape& axes = flips_[i % flips_.size()];
    const Tensor turned = i < flips_.size() ? x_ : permute(x_, {0, 1, 2, 4, 3});
    return axes.empty() ? turned : flip(turned, axes);
  }

 private:
  Tensor x_;
  std::vector<Shape> flips_;
  std::size_t count_;
};

bool is_training_state(const std::string& name) { return name.starts_with("train."); }

}  // namespace

Json ModelCard::to_json() const {
  return Json::object({{"net", Json::object({{"dims", net.dims},
                                             {"in_channels", net.in_channels},
                                             {"classes", net.classes},
                                             {"growth", net.growth},
                                             {"bn_size", net.bn_size},
                                             {"init_features", net.init_features},
                                             {"blocks", numbers(net.blocks)},
                                             {"stem_kernel", net.stem_kernel},
                                             {"stem_pool", net.stem_pool},
                                             {"leaky_relu", net.activation == Activation::leaky_relu},
                                             {"slope", net.slope},
                                             {"dropout", net.dropout},
                                             {"monai_keys", net.keys == DenseNetKeys::monai}})},
                       {"classes", Json(classes)},
                       {"input", numbers(input)},
                       {"minmax", rescale == Rescale::minmax},
                       {"shrink", shrink},
                       {"spacing_um", numbers(spacing_um)},
                       {"tta", tta_names[static_cast<std::size_t>(tta)]},
                       {"data", data_fingerprint}});
}

ModelCard ModelCard::from_json(const Json& json) {
  ModelCard card;
  const Json& net = json.at("net");
  card.net.dims = static_cast<int>(net.at("dims").as_int());
  card.net.in_channels = net.at("in_channels").as_int();
  card.net.classes = net.at("classes").as_int();
  card.net.growth = net.at("growth").as_int();
  card.net.bn_size = net.at("bn_size").as_int();
  card.net.init_features = net.at("init_features").as_int();
  card.net.blocks.clear();
  for (const Json& layers : net.at("blocks").as_array()) card.net.blocks.push_back(static_cast<int>(layers.as_int()));
  card.net.stem_kernel = net.at("stem_kernel").as_int();
  card.net.stem_pool = net.at("stem_pool").as_bool();
  card.net.activation = net.at("leaky_relu").as_bool() ? Activation::leaky_relu : Activation::relu;
  card.net.slope = net.at("slope").as_double();
  card.net.dropout = net.at("dropout").as_double();
  card.net.keys = net.at("monai_keys").as_bool() ? DenseNetKeys::monai : DenseNetKeys::torchvision;
  for (const auto* size : {&card.net.in_channels, &card.net.growth, &card.net.bn_size, &card.net.init_features})
    check<DataError>(*size > 0 && *size <= 65536, "model card: a size of ", *size);
  check<DataError>(card.net.blocks.size() <= 16, "model card: ", card.net.blocks.size(), " blocks");
  for (const int layers : card.net.blocks)
    check<DataError>(layers > 0 && layers <= 1024, "model card: a block of ", layers, " layers");
  for (const Json& name : json.at("classes").as_array()) card.classes.push_back(name.as_string());
  check<DataError>(static_cast<std::int64_t>(card.classes.size()) == card.net.classes, "model card: ", card.classes.size(),
                   " class names, the net has ", card.net.classes);
  for (const Json& size : json.at("input").as_array()) card.input.push_back(size.as_int());
  card.rescale = json.at("minmax").as_bool() ? Rescale::minmax : Rescale::none;
  card.shrink = json.at("shrink").as_int();
  for (int i = 0; i < 3; ++i) card.spacing_um[static_cast<std::size_t>(i)] = json.at("spacing_um")[i].as_double();
  card.tta = tta_of(json.get("tta", "none"));
  card.data_fingerprint = json.get("data", "");
  return card;
}

Tta tta_of(const std::string& name) {
  const auto at = std::find(tta_names.begin(), tta_names.end(), name);
  check<app::UsageError>(at != tta_names.end(), "--tta: '", name, "' is not one of ", app::join(tta_names, ", "));
  return static_cast<Tta>(at - tta_names.begin());
}

DenseNetOptions named_net(const std::string& name, std::int64_t classes) {
  DenseNetOptions net = csf_densenet(classes);
  if (name == "csf") return net;
  if (name == "densenet121") return monai_densenet121(3, 1, classes);
  if (name == "small") net.blocks = {2, 3, 3}, net.growth = 32, net.init_features = 32, net.bn_size = 1;  // fused widths
  else if (name == "tiny") net.blocks = {2, 2}, net.growth = 8, net.init_features = 8, net.bn_size = 2;
  else
    fail<app::UsageError>("--net: '", name, "' is not one of ", app::join(net_names, ", "), app::did_you_mean(name, net_names));
  return net;
}

Metadata metadata_of(const ModelCard& card) { return {{"format", format}, {"model", card.to_json().dump()}}; }

void save_model(const fs::path& file, DenseNet& net, const ModelCard& card) {
  write_safetensors(file, net.state_dict(), metadata_of(card));
}

std::string checkpoint_name(std::int64_t fold, std::int64_t folds, const std::string& which) {
  return "checkpoints/" + (folds > 1 ? "fold" + std::to_string(fold) + "/" : "") + which + ".safetensors";
}

fs::path model_file(const fs::path& path, std::int64_t fold) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  for (const std::int64_t folds : {2, 1}) {
    const fs::path file = path / checkpoint_name(fold, folds, "best");
    if (fs::exists(file, error)) return file;
  }
  fail<DataError>(app::with_hint(join_text(path.string(), ": no checkpoint of fold ", fold, " in this folder"),
                                 "a run folder has checkpoints/best.safetensors or checkpoints/fold1/best.safetensors"));
}

Model load_model(const fs::path& path, const LoadModelOptions& options) {
  Model model;
  const std::string& net = options.net;
  const fs::path where = model_file(path, options.fold);
  const SafetensorsFile file(where);
  model.source = where.string();
  NamedTensors state;
  for (const auto& stored : file.tensors())
    if (!is_training_state(stored.name)) state.emplace_back(stored.name, Tensor());
  if (file.metadata("format") == format && net.empty()) {
    model.card = ModelCard::from_json(Json::parse(file.metadata("model"), model.source));
  } else {
    check<DataError>(!net.empty(), app::with_hint(model.source + ": the file does not say which net its weights belong to",
                                                  "name it: --net " + app::join(net_names, " | --net ")));
    const std::string head = file.contains("classifier.weight") ? "classifier.weight" : "class_layers.out.weight";
    model.card.net = named_net(net, file.contains(head) ? file.find(head).shape[0] : 2);
    for (std::int64_t c = 0; c < model.card.net.classes; ++c) model.card.classes.push_back("class " + std::to_string(c));
  }
  for (auto& [name, tensor] : state) tensor = file.read(name);
  model.net = std::make_unique<DenseNet>(DenseNet::with_weights(model.card.net, state, model.source));
  model.net->to(options.device);
  return model;
}

std::vector<std::vector<double>> predict(DenseNet& net, const Tensor& x, const InferenceOptions& options) {
  const Recording off(false);
  net.eval();
  std::vector<std::vector<double>> result(static_cast<std::size_t>(x.dim(0)));
  const Views views(to(x, net.device()), options.tta.value_or(Tta::none));
  for (std::size_t view = 0; view < views.count(); ++view) {
    std::optional<ComputeIn> scope;
    if (options.bf16) scope.emplace(DType::bf16);
    const std::vector<double> logits = net(views[view]).to_vector();
    const auto classes = logits.size() / result.size();
    for (std::size_t i = 0; i < result.size(); ++i) {
      const double* row = logits.data() + i * classes;
      const double top = *std::max_element(row, row + classes);
      double sum = 0;
      for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - top);
      result[i].resize(classes, 0);
      for (std::size_t c = 0; c < classes; ++c) result[i][c] += std::exp(row[c] - top) / sum / static_cast<double>(views.count());
    }
  }
  return result;
}

std::vector<std::vector<double>> predict(const Model& model, const Tensor& x, InferenceOptions options) {
  if (!options.tta) options.tta = model.card.tta;
  return predict(*model.net, x, options);
}

Tensor load_input(const fs::path& file, const ModelCard& card) {
  const Dataset one({Sample{.name = file.filename().string(), .file = file}}, {},
                    {.need_labels = false, .rescale = card.rescale, .shrink = card.shrink});
  const Tensor x = one.load(0);
  if (!card.input.empty()) {
    check<DataError>(x.shape() == card.input, app::with_hint(join_text(file.string(), ": volume of shape ", x.shape(),
                                                                       ", the model was trained on ", card.input),
                                                             "'cuboid csf prepare' crops volumes to the right size"));
  }
  return unsqueeze(x, 0);
}

}  // namespace cuboid::csf
