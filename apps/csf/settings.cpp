// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/settings.h"

namespace cuboid::csf {

void DataSettings::add(app::Options& options) {
  options.section("data");
  options.add("-d,--data", &data, "folder of volumes with a labels.csv, a stacked array, or the root of a task").required();
  options.add("--task-file", &task_file, "task.yaml: which patients form which class; a file or a shipped name");
  options.add("--task", &task, "task within the file, where it holds several");
  options.add("--shrink", &shrink, "2 = means over 2x2x2 voxels").at_least(1).at_most(16);
  options.add("--minmax", &minmax, "scale each volume to [0,1]");
}

DataSource DataSettings::source() const {
  return {.data = data,
          .task_file = task_file,
          .task = task,
          .options = {.rescale = minmax ? Rescale::minmax : Rescale::none, .shrink = shrink}};
}

app::OptionValues recipe_values(const std::string& name) {
  if (name == "careful") return {};
  // A hundred cells or so of unequal classes, in no particular orientation: none is spared for validation, every turn and
  // mirror image is as likely as the next, averaged weights at the end of a fixed run.
  if (name == "few-cells")
    return {{"valid", {"0"}},
            {"patience", {"0"}},
            {"epochs", {"80"}},
            {"lr", {"0.002"}},
            {"weight-decay", {"0.05"}},
            {"class-weights", {"balanced"}},
            {"label-smoothing", {"0.05"}},
            {"ema", {"0.99"}},
            {"rotate", {"180"}},
            {"linear-rotation", {"true"}},
            {"flip-z", {"0.5"}},
            {"tta", {"turns"}}};
  // Sections 1.1 to 1.3 of the original: 6-12-32-32 net, SGD with weight decay on everything, a cosine of 300 batches
  // that climbs back, corners of rotated cells filled with 0, cell-wise shuffles, and a dropout that never happens.
  return {{"net", {"csf"}},          {"optimiser", {"sgd"}},    {"lr", {"0.0001"}},       {"momentum", {"0.9"}},
          {"weight-decay", {"0.1"}}, {"decay-norms", {"true"}}, {"schedule", {"cosine"}}, {"schedule-length", {"300"}},
          {"batch-size", {"8"}},     {"epochs", {"300"}},       {"patience", {"15"}},     {"best-by", {"loss"}},
          {"dropout", {"0"}},        {"fill", {"zero"}},        {"split", {"legacy"}},    {"folds", {"10"}}};
}

void TrainSettings::add(app::Options& options) {
  data.add(options);
  options.add("--split-file", &split_file, "folds made by 'cuboid csf split'");
  options.add("--split", &split, "how folds are made").choices({"automatic", "grouped", "stratified", "legacy"});
  options.add("--folds", &folds, "0 = 5, or fewer when a class has fewer patients").at_least(0).at_most(1000);
  options.add("--only-folds", &only_folds, "train these folds only, counted from 1");
  options.add("--valid", &valid, "share of the rest that stops the training").at_least(0).at_most(0.9);

  options.section("net");
  options.add("--recipe", &recipe, "a set of values below").choices({"careful", "few-cells", "paper"});
  options.recipe("recipe", recipe_values);
  options.add("--net", &net, "architecture").choices(net_names);
  options.add("--blocks", &blocks, "dense layers per block, instead of the net's own").at_least(1).at_most(256);
  options.add("--growth", &growth, "new channels per layer, 0 = the net's own").at_least(0).at_most(4096);
  options.add("--init-features", &init_features, "channels of the stem, 0 = the net's own").at_least(0).at_most(4096);
  options.add("--bn-size", &bn_size, "bottleneck width in growths, 0 = the net's own").at_least(0).at_most(64);
  options.add("--dropout", &dropout, "probability in each dense layer").at_least(0).at_most(0.95);

  options.section("training");
  run.add_loop(options, "cells");
  options.add("--label-smoothing", &train.label_smoothing, "share of the target spread over all classes").at_least(0).at_most(1);
  options.add("--class-weights", &class_weights, "of the loss").choices({"none", "balanced"});
  run.add_stopping(options, metric_names);
  options.add("--carry-over", &carry_over, "start each fold from the one before, as the original did: leaks test cells");

  options.section("augmentation");
  options.add("--augment", &augment, "turn and flip the training cells");
  options.add("--rotate", &rotate, "degrees, uniform in +-, about z").at_least(0).at_most(180);
  options.add("--linear-rotation", &linear_rotation, "interpolate (default: nearest voxel)");
  options.add("--fill", &fill, "what a rotation uncovers").choices({"background", "zero"});
  options.add("--flip-x", &flip_x, "probability").at_least(0).at_most(1);
  options.add("--flip-y", &flip_y, "probability").at_least(0).at_most(1);
  options.add("--flip-z", &flip_z, "probability").at_least(0).at_most(1);
  options.add("--jitter", &jitter, "of intensity: scale and shift by up to this").at_least(0).at_most(1);

  options.add("--tta", &tta, "predictions average over views of a cell").choices(tta_names);

  run.add_run(options, "cells");
}

DenseNetOptions TrainSettings::finish(std::int64_t classes) {
  run.finish();
  train.loop = run.loop;
  train.balanced_loss = class_weights == "balanced";
  train.augment = {.rotate_degrees = rotate,
                   .flip_x = flip_x,
                   .flip_y = flip_y,
                   .flip_z = flip_z,
                   .fill = fill == "zero" ? RotationFill::zero : RotationFill::background,
                   .interpolation = linear_rotation ? Interpolation::linear : Interpolation::nearest,
                   .jitter_scale = jitter,
                   .jitter_shift = jitter};
  if (!augment) train.augment = AugmentOptions::none();
  DenseNetOptions options = named_net(net, classes);
  if (!blocks.empty()) options.blocks.assign(blocks.begin(), blocks.end());
  if (growth) options.growth = growth;
  if (init_features) options.init_features = init_features;
  if (bn_size) options.bn_size = bn_size;
  options.dropout = dropout;
  options.seed = run.loop.seed;
  return options;
}

SplitOptions TrainSettings::split_options() const {
  return {.method = split_method(split), .folds = folds, .valid = valid, .seed = static_cast<std::uint64_t>(run.common.seed)};
}

}  // namespace cuboid::csf
