// SPDX-License-Identifier: Apache-2.0
// Training of a segmentation net: what the training loop must be told about patches and their truth.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/deepis/model.h"
#include "apps/deepis/parts.h"
#include "apps/training/trainer.h"
#include "data/patch_loader.h"
#include "layers/volume_loss.h"

namespace cuboid::deepis {

enum class Loss : std::uint8_t { edge_l1, l1, dice, cross_entropy, dice_cross_entropy };
inline const std::vector<std::string> loss_names = {"edge-l1", "l1", "dice", "ce", "dice-ce"};
/// edge-l1 for distances and dice-ce for classes when the name is "auto". UsageError for a loss that does not fit the head.
Loss loss_of(const std::string& name, Head head);
const char* name_of(Loss loss);

/// What validation tells, as --best-by takes them: the loss, and the mean Dice over all voxels, of the classes, or of instances
/// at several depths (overlap.h).
inline const std::vector<std::string> metric_names = {"loss", "dice"};

struct TrainOptions {
  training::Options loop;
  Loss loss = Loss::edge_l1;
  EdgeOptions edge = {};
  bool supervised = false;  // auxiliary heads, weighted by the schedule of the original
  Shape patch = {};         // D,H,W; 0 along an axis: all of it
  std::int64_t patches_per_case = 1;
  double foreground = 0.33;
  PairAugmentOptions augment = PairAugmentOptions::none();
  std::array<std::int64_t, 3> margin{};  // z,y,x voxels round a patch that augmentation sees
};

/// How batches of this part are made: for training in random order with augmentation, for validation the same patches each time,
/// as they are.
PatchLoaderOptions loading(const TrainOptions& options, bool training);

/// A fresh net; the card's net is that of `options.loop.seed`, its patch what the loader makes of the options'.
std::unique_ptr<training::Trainer> make_trainer(const TrainOptions& options, ModelCard card, const LabelledDataset& dataset,
                                                const Parts& parts, const std::filesystem::path& checkpoints);

}  // namespace cuboid::deepis
