// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/settings.h"

#include <algorithm>
#include <cstdlib>

#include "apps/text.h"

namespace cuboid::deepis {
namespace {

const std::vector<std::string> head_choices = {"auto", "signed", "instances", "classes"};

std::vector<double> numbers(const std::vector<std::string>& words, const char* option) {
  std::vector<double> values;
  for (const std::string& word : words) {
    char* end = nullptr;
    values.push_back(std::strtod(word.c_str(), &end));
    check<app::UsageError>(!word.empty() && *end == 0, option, ": '", word, "' is no number");
  }
  return values;
}

}  // namespace

TrainSettings::TrainSettings() {
  run.loop.epochs = 120;
  run.loop.batch = 2;
  run.loop.lr = 0.003;
  run.loop.weight_decay = 1e-4;
  run.loop.ema = 0.98;
  run.loop.patience = 0;
  run.loop.best_by = "dice";
}

app::OptionValues recipe_values(const std::string& name) {
  if (name == "careful") return {};
  // Section 2.3 of the original: widths of scale 1, Adam with a short memory and nothing beside it, volumes as they are, always
  // rotated; the best of 400 epochs.
  return {{"net", {"deepis"}},
          {"optimiser", {"adam"}},
          {"beta1", {"0.5"}},
          {"beta2", {"0.999"}},
          {"lr", {"5e-05"}},
          {"weight-decay", {"0"}},
          {"schedule", {"constant"}},
          {"batch-size", {"2"}},
          {"epochs", {"400"}},
          {"patience", {"0"}},
          {"best-by", {"loss"}},
          {"ema", {"0"}},
          {"loss", {"edge-l1"}},
          {"edge-weight", {"1"}},
          {"edge-reach", {"2"}},
          {"supervision", {"paper"}},
          {"dropout", {"0.1"}},
          {"normalise", {"none"}},
          {"rotate", {"1"}},
          {"elastic", {"0.5"}},
          {"zoom", {"0"}},
          {"jitter", {"0"}},
          {"interpolation", {"cubic"}},
          {"fill", {"zero"}},
          {"legacy-augmentation", {"true"}}};
}

void TrainSettings::add(app::Options& options) {
  options.section("data");
  options.add("-d,--data", &data, "prepared folder; or images/ and labels/; or .mat files with input and target").required();
  options.add("--head", &head, "what the net tells of a voxel; auto = as the data says").choices(head_choices);
  options.add("--spacing", &spacing, "z,y,x in micrometres, where the files do not say");
  options.add("--normalise", &normalise, "of intensities").choices(normalisation_names);
  options.add("--range", &range, "low,high: values of 'scale', percents of 'percentiles'");
  options.add("--valid", &valid, "share of the training cases to hold out where the data has no part for validation")
      .at_least(0)
      .at_most(0.9);

  options.section("net");
  options.add("--recipe", &recipe, "a set of values below").choices({"careful", "paper"});
  options.recipe("recipe", recipe_values);
  options.add("--net", &net, "architecture").choices(net_names);
  options.add("--features", &features, "channels of the five scales, instead of the net's own").at_least(2).at_most(8192);
  options.add("--trans", &trans, "channels on the way up, 0 = the net's own").at_least(0).at_most(4096);
  options.add("--supervision", &supervision, "auxiliary heads at 1/4 and 1/8, weighted as the original's")
      .choices({"none", "paper"});
  options.add("--dropout", &dropout, "probability in the auxiliary heads").at_least(0).at_most(0.95);

  options.section("training");
  options.add("--loss", &loss, "auto = edge-l1 for distances, dice-ce for classes")
      .choices({"auto", "edge-l1", "l1", "dice", "ce", "dice-ce"});
  options.add("--edge-weight", &edge_weight, "of voxels near an edge, in edge-l1").at_least(0);
  options.add("--edge-reach", &edge_reach, "voxels that count as near").at_least(1).at_most(16);
  options.add("--outside", &outside, "micrometres; a smaller distance is outside of every cell; 0 = half a voxel, at most 0.1")
      .at_least(0);
  options.add("--patch", &patch, "z,y,x voxels cut from a volume, 0 = all of it").at_least(0).at_most(4096);
  options.add("--patches", &patches, "of each volume in an epoch").at_least(1);
  options.add("--foreground", &foreground, "share of the patches that are centred on a labelled voxel").at_least(0).at_most(1);
  run.add_loop(options, "patches");
  run.add_stopping(options, metric_names);
  options.add("--tune", &tune, "at the end choose post-processing on the cases for validation");

  options.section("augmentation");
  options.add("--augment", &augment, "flip, rotate and bend the training patches");
  options.add("--flip-x", &flip_x, "probability").at_least(0).at_most(1);
  options.add("--flip-y", &flip_y, "probability").at_least(0).at_most(1);
  options.add("--flip-z", &flip_z, "probability").at_least(0).at_most(1);
  options.add("--rotate", &rotate, "probability of a rotation about z").at_least(0).at_most(1);
  options.add("--rotate-degrees", &rotate_degrees, "uniform in +-").at_least(0).at_most(180);
  options.add("--elastic", &elastic, "probability of a small elastic deformation in y and x").at_least(0).at_most(1);
  options.add("--zoom", &zoom, "probability of a magnification by 1.1 to 1.3").at_least(0).at_most(1);
  options.add("--jitter", &jitter, "of intensity: scale and shift by up to this").at_least(0).at_most(1);
  options.add("--interpolation", &interpolation, "of intensities").choices({"linear", "cubic"});
  options.add("--fill", &fill, "what a rotation uncovers").choices({"background", "zero"});
  options.add("--margin", &margin, "z,y,x voxels round a patch that a rotation may turn into it").at_least(0).at_most(1024);
  options.add("--legacy-augmentation", &legacy, "distances are moved along as the original does, not computed anew");
  run.add_run(options, "patches");
}

LabelledOptions TrainSettings::labelled() const {
  LabelledOptions o;
  if (head != "auto") o.head = head_of(head);
  if (!spacing.empty()) {
    const std::vector<double> s = numbers(spacing, "--spacing");
    check<app::UsageError>(s.size() == 3 && *std::min_element(s.begin(), s.end()) > 0,
                           "--spacing: three numbers above 0, z,y,x, not ", app::join(spacing, ","));
    o.spacing_um = Spacing{s[0], s[1], s[2]};
  }
  using Kind = Normalisation::Kind;
  const auto at = std::find(normalisation_names.begin(), normalisation_names.end(), normalise) - normalisation_names.begin();
  o.normalise.kind = static_cast<Kind>(at);
  const bool ranged = o.normalise.kind == Kind::scale || o.normalise.kind == Kind::percentiles;
  check<app::UsageError>(range.empty() || ranged, "--range: --normalise ", normalise, " has none");
  if (o.normalise.kind == Kind::percentiles) o.normalise.low = 0.5, o.normalise.high = 99.5;
  if (range.empty()) return o;
  const std::vector<double> r = numbers(range, "--range");
  check<app::UsageError>(r.size() == 2 && r[0] < r[1], "--range: low,high, not ", app::join(range, ","));
  o.normalise.low = r[0], o.normalise.high = r[1];
  return o;
}

ModelCard TrainSettings::card(const LabelledDataset& dataset) const {
  ModelCard card{.net = named_net(net, dataset.channels(), dataset.outputs()),
                 .head = dataset.head(),
                 .classes = dataset.class_names(),
                 .normalise = dataset.options().normalise,
                 .spacing_um = dataset.spacing_um(),
                 .data_fingerprint = dataset.fingerprint()};
  check<app::UsageError>(features.empty() || features.size() == card.net.features.size(),
                         "--features: ", card.net.features.size(), " numbers, one per scale, not ", features.size());
  std::copy(features.begin(), features.end(), card.net.features.begin());
  if (trans) card.net.trans = trans;
  card.net.auxiliary = supervision == "none"               ? 0
                       : dataset.head() == Head::instances ? 2
                                                           : std::max<std::int64_t>(3, dataset.outputs());
  card.net.dropout = dropout;
  return card;
}

TrainOptions TrainSettings::finish(const LabelledDataset& dataset) {
  run.finish();
  TrainOptions o{.loop = run.loop,
                 .loss = loss_of(loss, dataset.head()),
                 .edge = {.outside = outside, .weight = edge_weight, .reach = edge_reach},
                 .supervised = supervision != "none",
                 .patches_per_case = patches,
                 .foreground = foreground};
  if (outside == 0) {
    const Spacing voxel = dataset.spacing_um();
    const double smallest = *std::min_element(voxel.begin(), voxel.end());
    o.edge.outside = smallest > 0 ? std::min(0.1, smallest / 2) : 0.1;
  }
  check<app::UsageError>(patch.empty() || patch.size() == 3, "--patch: three numbers, z,y,x, not ", patch.size());
  for (const auto n : patch) o.patch.push_back(n);
  check<app::UsageError>(margin.empty() || margin.size() == 3, "--margin: three numbers, z,y,x, not ", margin.size());
  if (!margin.empty()) std::copy(margin.begin(), margin.end(), o.margin.begin());
  if (augment)
    o.augment = {.flip_x = flip_x,
                 .flip_y = flip_y,
                 .flip_z = flip_z,
                 .rotate = rotate,
                 .rotate_degrees = rotate_degrees,
                 .elastic = elastic,
                 .zoom = zoom,
                 .fill = fill == "zero" ? RotationFill::zero : RotationFill::background,
                 .interpolation = interpolation == "cubic" ? ImageInterpolation::cubic : ImageInterpolation::linear,
                 .jitter_scale = jitter,
                 .jitter_shift = jitter,
                 .legacy = legacy};
  return o;
}

}  // namespace cuboid::deepis
