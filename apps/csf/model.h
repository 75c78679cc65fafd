// SPDX-License-Identifier: Apache-2.0
// A classifier on disk: weights under PyTorch's names, and in the metadata all that is needed to use them.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/safetensors.h"
#include "data/dataset.h"
#include "nets/densenet.h"

namespace cuboid::csf {

/// Test-time augmentation: the views of a volume that a prediction averages over. `flips`: the four in-plane flips; `turns`:
/// the eight in-plane turns and mirror images, each also upside down.
enum class Tta : std::uint8_t { none, flips, turns };
inline const std::vector<std::string> tta_names = {"none", "flips", "turns"};
/// UsageError for another name.
Tta tta_of(const std::string& name);

/// How the net is built, what it was shown, what its outputs mean.
struct ModelCard {
  DenseNetOptions net;
  std::vector<std::string> classes;
  Shape input;  // C,D,H,W after preparation
  Rescale rescale = Rescale::minmax;
  std::int64_t shrink = 1;
  std::array<double, 3> spacing_um = {0, 0, 0};  // z,y,x of an input voxel; zeros: unknown
  Tta tta = Tta::none;                           // what a prediction averages over unless told otherwise
  std::string data_fingerprint;

  Json to_json() const;
  static ModelCard from_json(const Json& json);
};

struct Model {
  ModelCard card;
  std::unique_ptr<DenseNet> net;
  std::string source;
};

/// What --net offers: csf, densenet121, small, tiny. UsageError for another name.
DenseNetOptions named_net(const std::string& name, std::int64_t classes);
inline const std::vector<std::string> net_names = {"csf", "densenet121", "small", "tiny"};

/// For write_safetensors.
Metadata metadata_of(const ModelCard& card);
void save_model(const std::filesystem::path& file, DenseNet& net, const ModelCard& card);

struct LoadModelOptions {
  std::string net = "";         // the architecture of weights that do not say
  std::int64_t fold = 1;        // of a run folder with several
  Device device = Device::cpu;  // where the net will compute
};
/// A model file, or a run folder: its best checkpoint, of fold `fold` (counted from 1) when it has several. Training state in
/// the file is not read. For weights without a card (from elsewhere) `net` must be named. DataError when the file
/// is broken, holds another model (which key, which shapes), or says too little.
Model load_model(const std::filesystem::path& path, const LoadModelOptions& options = {});
/// Its checkpoint, without reading it.
std::filesystem::path model_file(const std::filesystem::path& path, std::int64_t fold = 1);
/// "checkpoints/fold2/best.safetensors"; without the fold when there is only one.
std::string checkpoint_name(std::int64_t fold, std::int64_t folds, const std::string& which);

/// Class probabilities for x (N,C,D,H,W, on any device), in f64, averaged over the views of `tta`.
struct InferenceOptions {
  std::optional<Tta> tta = {};  // a Model's own card decides when nothing is said, otherwise none
  bool bf16 = false;
};
std::vector<std::vector<double>> predict(DenseNet& net, const Tensor& x, const InferenceOptions& options = {});
std::vector<std::vector<double>> predict(const Model& model, const Tensor& x, InferenceOptions options = {});

/// A file on its own as the model wants it: 1,C,D,H,W.
Tensor load_input(const std::filesystem::path& file, const ModelCard& card);

}  // namespace cuboid::csf
