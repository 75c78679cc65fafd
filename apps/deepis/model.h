// SPDX-License-Identifier: Apache-2.0
// A segmentation net on disk: weights under the original's names, and in the metadata all that is needed to use them.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/safetensors.h"
#include "data/labelled.h"
#include "nets/gcn_unet.h"

namespace cuboid::deepis {

/// How the net is built, what it was shown, what its outputs mean.
struct ModelCard {
  GcnUnetOptions net;
  Head head = Head::signed_distance;
  std::vector<std::string> classes = {"background", "1", "2"};  // by label; instances: background, object
  Normalisation normalise;
  Spacing spacing_um{};               // of the voxels it was trained on; zeros: unknown
  Shape patch;                        // D,H,W it was trained on; empty: unknown
  Json postprocess = Json::object();  // how outputs become labels (apps/deepis/postprocess.h); empty: the defaults
  std::string data_fingerprint;

  Json to_json() const;
  /// DataError for what no net could be built of.
  static ModelCard from_json(const Json& json);
};

struct Model {
  ModelCard card;
  std::unique_ptr<GcnUnet> net;
  std::string source;                // the file
  std::vector<std::string> ignored;  // keys of the file that the net has no use for
};

/// What --net offers: deepis, deepis2, deepis4 (the published widths, and halved and quartered), small, tiny. UsageError for
/// another name.
GcnUnetOptions named_net(const std::string& name, std::int64_t channels = 1, std::int64_t outputs = 1);
inline const std::vector<std::string> net_names = {"deepis", "deepis2", "deepis4", "small", "tiny"};

/// The net that a state dict belongs to, read off the names and shapes of its tensors; a prefix "module." is understood.
/// DataError when it is none.
GcnUnetOptions net_of(const std::vector<StoredTensor>& tensors, const std::string& source);

/// For write_safetensors.
Metadata metadata_of(const ModelCard& card);
void save_model(const std::filesystem::path& file, GcnUnet& net, const ModelCard& card);

struct LoadModelOptions {
  Device device = Device::cpu;  // where the net will compute
  bool auxiliary = false;       // keep the auxiliary heads, which only training needs
};
/// A model file, or a run folder: its best checkpoint. Training state in the file is not read. Weights without a card (the
/// original's, as safetensors) become a net of the shapes found; their head is a signed distance when there is one output, the
/// classes otherwise. DataError when the file is broken or holds another net (which key, which shapes).
Model load_model(const std::filesystem::path& path, const LoadModelOptions& options = {});
/// Its checkpoint, without reading it.
std::filesystem::path model_file(const std::filesystem::path& path);
inline constexpr const char* best_checkpoint = "checkpoints/best.safetensors";
inline constexpr const char* last_checkpoint = "checkpoints/last.safetensors";

}  // namespace cuboid::deepis
