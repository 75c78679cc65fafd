// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/tune.h"

#include <algorithm>

#include "apps/app.h"
#include "apps/deepis/evaluate.h"
#include "apps/text.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

constexpr const char* told = "interrupted: the weights are as they were, and so is their post-processing";

void stop_if_asked() {
  if (app::stop_signal() != 0) throw app::Interrupted(told);
}

/// Planes of a case that may be predicted, from the middle of it.
struct Planes {
  std::int64_t first = 0, count = 0;
};
Planes planes_of(const Shape& shape, std::int64_t max_voxels) {
  const std::int64_t count = std::clamp<std::int64_t>(max_voxels / (shape[1] * shape[2]), 1, shape[0]);
  return {(shape[0] - count) / 2, count};
}

SweepCase predicted(const Model& model, const LabelledDataset& dataset, std::int64_t i, const Planes& part,
                    const PredictOptions& options) {
  const LabelledVolume volume = dataset.load(i);  // normalised as the model wants it
  const Tensor image = slice(volume.image, 1, part.first, part.count);
  SweepCase one{.scores = empty({model.card.net.out_channels, part.count, image.dim(2), image.dim(3)}),
                .truth = contiguous(slice(truth_of(dataset, i).truth, 0, part.first, part.count)),
                .spacing_um = volume.spacing_um};
  predict_planes(
      model, image.shape(), volume.spacing_known ? volume.spacing_um : Spacing{},
      [&](std::int64_t first, const Tensor& planes) { copy(slice(image, 1, first, planes.dim(1)), planes); },
      [&](std::int64_t first, const Tensor& planes) { copy(planes, slice(one.scores, 1, first, planes.dim(1))); }, options);
  return one;
}

/// Of the objects that were trained on and of those to judge by; of the first cases where there are many.
std::vector<double> true_volumes(const LabelledDataset& dataset, const std::vector<std::int64_t>& cases) {
  constexpr std::size_t enough = 64;
  std::vector<std::int64_t> all = cases;
  for (const std::int64_t i : dataset.part("train"))
    if (std::find(cases.begin(), cases.end(), i) == cases.end()) all.push_back(i);
  if (all.size() > enough) all.resize(enough);
  std::vector<double> volumes;
  for (const std::int64_t i : all) {
    stop_if_asked();
    const ShownCase truth = truth_of(dataset, i);
    const auto more = object_volumes(Head::instances, truth.truth, truth.spacing_um);
    volumes.insert(volumes.end(), more.begin(), more.end());
  }
  return volumes;
}

std::string merit_text(const Sweep& s, const Trial& t) {
  if (!(t.merit == t.merit)) return std::string(s.merit_name()) + " is undefined: nothing is there, and nothing was found";
  std::string text = join_text(s.merit_name(), " ", app::fixed(t.merit, 3));
  if (s.head == Head::instances)
    text += join_text(" (", t.instances.tp, " found, ", t.instances.fn, " missed, ", t.instances.fp, " wrong)");
  return text;
}

}  // namespace

Tuned tune(const Model& model, const LabelledDataset& dataset, const std::vector<std::int64_t>& cases, const TuneOptions& options,
           app::Progress& progress) {
  check(!cases.empty(), "tune: no cases");
  const app::Stopwatch watch;
  Tuned result;
  std::vector<Planes> parts;
  for (const std::int64_t i : cases) {
    const Shape shape = dataset.shape(i);
    const bool first = parts.empty();
    if (!first && result.voxels + shape.count() > options.max_voxels) break;
    parts.push_back(first ? planes_of(shape, options.max_voxels) : Planes{0, shape[0]});
    result.voxels += parts.back().count * shape[1] * shape[2];
    result.cases.push_back(dataset[i].name);
  }
  result.left_out = std::ssize(cases) - std::ssize(parts);
  PredictOptions predict;
  predict.window.mirror = options.mirror;
  predict.window.progress = [](std::int64_t, std::int64_t) { stop_if_asked(); };
  progress.begin("post-processing", std::ssize(parts));
  std::vector<SweepCase> outputs;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    outputs.push_back(predicted(model, dataset, cases[k], parts[k], predict));
    progress.update(static_cast<std::int64_t>(k) + 1, result.cases[k]);
  }
  SweepOptions values{.volumes = {}, .poll = stop_if_asked};
  if (model.card.head == Head::instances) values.volumes = true_volumes(dataset, cases);
  result.sweep = sweep(model.card.head, outputs, model.card.spacing_um, values);
  result.seconds = watch.seconds();
  return result;
}

void keep_postprocess(const fs::path& file, ModelCard card, const PostprocessOptions& options, const fs::path& to) {
  NamedTensors tensors;
  Metadata metadata;
  {
    const SafetensorsFile before(file);
    tensors = before.read_all();
    metadata = before.metadata();
  }
  card.postprocess = to_json(options);
  for (const auto& [key, value] : metadata_of(card)) {
    const auto at = std::find_if(metadata.begin(), metadata.end(), [&, &key = key](const auto& m) { return m.first == key; });
    if (at == metadata.end()) metadata.emplace_back(key, value);
    else at->second = value;
  }
  write_safetensors(to, tensors, metadata);
}

std::string text_of(const Tuned& t) {
  const Sweep& s = t.sweep;
  std::string text = join_text("post-processing: ", s.trials.size(), " values tried on ", t.cases.size(), " of ",
                               std::ssize(t.cases) + t.left_out, " validation cases, ", app::duration_text(t.seconds), "\n  ",
                               values_text(s, s.best()), ": ", merit_text(s, s.best()));
  if (s.chosen == 0) return text + "; no other values are clearly better than these, the defaults";
  return text + "\n  the defaults, " + values_text(s, s.standard()) + ": " + merit_text(s, s.standard());
}

Json to_json(const Tuned& t) {
  Json json = to_json(t.sweep);
  json["cases"] = Json(t.cases);
  json["cases_left_out"] = t.left_out;
  json["voxels"] = t.voxels;
  json["seconds"] = t.seconds;
  return json;
}

void add_tuning(app::Page& page, const app::RunFolder& run) {
  if (!run.has(tuned_file)) return;
  const Json json = run.read_json(tuned_file);
  const std::size_t cases = json.at("cases").size();
  const std::int64_t left_out = json.get("cases_left_out", 0);
  const Json& best = json.at("trials")[static_cast<std::size_t>(json.at("chosen").as_int())];
  const auto merit = [&](const Json& trial) {
    const Json& value = trial.at("merit");
    return value.is_number() ? app::fixed(value.as_double(), 3) : std::string("undefined");
  };
  page.section(
      "Post-processing",
      join_text("What turns the net's output into labels was chosen on ", cases, cases == 1 ? " case" : " cases",
                " for validation",
                left_out > 0 ? join_text(" (", left_out, " more were left out: a few million voxels are enough)") : "",
                " and is kept in the model: ", json.at("merit").as_string(), " ", merit(best), ", with the defaults ",
                merit(json.at("trials")[0]), ". Of values that do equally well, within ", clear_gain,
                json.at("merit").as_string() == "AP" ? " or one object" : "", ", those next to the default are chosen."));
  std::vector<std::vector<std::string>> rows = sweep_table(json);
  const std::vector<std::string> heads = rows.front();
  rows.erase(rows.begin());
  page.html("<details><summary>" + std::to_string(rows.size()) + " values were tried</summary>" + app::Page::table(heads, rows) +
            "</details>\n");
}

}  // namespace cuboid::deepis
