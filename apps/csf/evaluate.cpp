// SPDX-License-Identifier: Apache-2.0
// cuboid csf evaluate and cuboid csf predict.
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/evaluation.h"
#include "apps/csf/report.h"
#include "apps/csf/settings.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "core/files.h"
#include "data/volume.h"

namespace cuboid::csf {
namespace fs = std::filesystem;
namespace {

/// The test cells of each fold of a run, by the weights of that fold.
Predictions predict_run(const app::RunFolder& run, Device device, std::int64_t batch, const InferenceOptions& inference,
                        app::Progress& progress) {
  TrainSettings settings;
  app::Options options("csf train", "");
  options.other_commands(app::command_names());
  settings.add(options);
  options.parse({"--config", (run.path() / "run.toml").string()});
  const Dataset dataset = open_data(settings.data.source());
  const Split split = read_split(run.path() / "split.json", dataset);
  Predictions predictions{dataset.class_names(), {}};
  const auto folds = static_cast<std::int64_t>(split.folds.size());
  for (std::int64_t fold = 1; fold <= folds; ++fold) {
    if (!run.has(checkpoint_name(fold, folds, "best"))) {
      progress.say("note: fold " + std::to_string(fold) + " has no checkpoint, it is left out");
      continue;
    }
    Model model = load_model(run.file(checkpoint_name(fold, folds, "best")), {.device = device});
    const auto& test = split.folds[static_cast<std::size_t>(fold - 1)].test;
    progress.begin("fold " + std::to_string(fold), static_cast<std::int64_t>(test.size()));
    predict_cells(model, dataset, test, fold, batch, inference, predictions,
                  [&](std::int64_t done) { progress.update(done, ""); });
  }
  check<DataError>(!predictions.cells.empty(), run.path().string(), ": no fold of this run has a checkpoint");
  return predictions;
}

/// Every labelled cell of a dataset by one model; its classes must be the model's.
Predictions predict_dataset(const DataSettings& data, Model& model, std::int64_t batch, const InferenceOptions& inference,
                            app::Progress& progress) {
  const Dataset dataset = open_data(data.source());
  check<DataError>(dataset.classes() == static_cast<std::int64_t>(model.card.classes.size()), data.data, ": ", dataset.classes(),
                   " classes (", app::join(dataset.class_names(), ", "), "), ", model.source, " knows ",
                   model.card.classes.size(), " (", app::join(model.card.classes, ", "), ")");
  check<DataError>(model.card.input.empty() || dataset.shape() == model.card.input, data.data, ": cells of shape ",
                   dataset.shape(), ", the model was trained on ", model.card.input);
  Predictions predictions{dataset.class_names(), {}};
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  progress.begin("cells", dataset.size());
  predict_cells(model, dataset, all, 1, batch, inference, predictions, [&](std::int64_t done) { progress.update(done, ""); });
  return predictions;
}

/// Files, and all volumes of folders.
std::vector<fs::path> expand(const std::vector<std::string>& inputs) {
  std::vector<fs::path> files;
  for (const auto& input : inputs) {
    std::error_code error;
    check<DataError>(fs::exists(input, error), input, ": no such file or folder");
    if (!fs::is_directory(input, error)) files.emplace_back(input);
    else
      for (const auto& name : list_volumes(input)) files.push_back(fs::path(input) / name);
  }
  check<DataError>(!files.empty(),
                   app::with_hint(app::join(inputs, ", ") + ": no volumes there", "readable: " + volume_formats()));
  return files;
}

}  // namespace

int evaluate_command(const Arguments& arguments) {
  std::string run_folder, model_path, output, net;
  DataSettings data;
  EvaluationOptions evaluation;
  InferenceOptions inference;
  std::string tta = "model";
  std::int64_t batch = 8, bins = 10, bootstrap = 2000, repeats = 200;
  app::Common common;
  app::Options options("csf evaluate", "Judges a run on the test cells of its folds, or a model on labelled cells.");
  options.other_commands(app::command_names());
  options.example("cuboid csf evaluate runs/latest", "writes eval/ and report.html into the run");
  options.example("cuboid csf evaluate -m model.safetensors -d cells/ -o eval/", "one model, other cells");
  options.positional("run", &run_folder, "run folder of 'cuboid csf train'");
  options.section("instead of a run");
  options.add("-m,--model", &model_path, "weights");
  options.add("-d,--data", &data.data, "labelled cells");
  options.add("--task-file", &data.task_file, "task.yaml");
  options.add("--task", &data.task, "task within the file");
  options.add("--shrink", &data.shrink, "2 = means over 2x2x2 voxels").at_least(1).at_most(16);
  options.add("--net", &net, "architecture of weights that do not say");
  options.add("-o,--output", &output, "folder for summary.json and predictions.csv");
  options.section("evaluation");
  options.add("-b,--batch-size", &batch, "cells at a time").at_least(1);
  options.add("--tta", &tta, "average over views of a cell").choices({"model", "none", "flips", "turns"});
  options.add("--bootstrap", &bootstrap, "resamples").at_least(10).at_most(1000000);
  options.add("--repeats", &repeats, "draws per point of the k-cells curve").at_least(100).at_most(100000);
  options.add("--max-k", &evaluation.max_k, "cells of one patient").at_least(1).at_most(1000);
  options.add("--bins", &bins, "of the calibration").at_least(1).at_most(1000);
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  if (tta != "model") inference.tta = tta_of(tta);
  evaluation.bootstrap = static_cast<int>(bootstrap);
  evaluation.repeats = static_cast<int>(repeats);
  evaluation.bins = static_cast<int>(bins);
  evaluation.seed = static_cast<std::uint64_t>(common.seed);
  const bool of_run = !run_folder.empty();
  check<app::UsageError>(of_run != (!model_path.empty() || !data.data.empty()),
                         "evaluate: name a run folder, or --model and --data");
  check<app::UsageError>(of_run || (!model_path.empty() && !data.data.empty()), "evaluate: --model and --data belong together");
  if (common.dry_run) return std::cout << options.origin_table(), app::success;
  app::Progress progress("cells", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  Predictions predictions;
  if (of_run) predictions = predict_run(app::RunFolder::existing(run_folder), common.where(), batch, inference, progress);
  else {
    Model model = load_model(model_path, {.net = net, .device = common.where()});
    predictions = predict_dataset(data, model, batch, inference, progress);
  }
  const Json summary = summarise(predictions, evaluation);
  if (of_run) {
    const auto run = app::RunFolder::existing(run_folder);
    write_evaluation(run, predictions, summary);
    write_report(run);
  } else if (!output.empty()) {
    write_evaluation(app::RunFolder::at(output, false), predictions, summary);
  }
  std::cout << (common.json ? summary.dump(2) + "\n" : summary_text(summary));
  return app::success;
}

int predict_command(const Arguments& arguments) {
  std::vector<std::string> inputs;
  std::string model_path, output, net;
  std::int64_t fold = 1;
  bool overwrite = false;
  InferenceOptions inference;
  std::string tta = "model";
  app::Common common;
  app::Options options("csf predict", "Classifies files: one line each, with the probability of every class.");
  options.other_commands(app::command_names());
  options.example("cuboid csf predict -m runs/latest cell.npy other.tcf", "csv on standard output");
  options.positional("inputs", &inputs, "volumes, or folders of volumes").required();
  options.add("-m,--model", &model_path, "weights, or a run folder").required();
  options.add("--fold", &fold, "which fold's weights of a run folder").at_least(1);
  options.add("--net", &net, "architecture of weights that do not say");
  options.add("-o,--output", &output, "csv file instead of standard output");
  options.add("--overwrite", &overwrite, "replace the csv file").not_saved();
  options.add("--tta", &tta, "average over views of a cell").choices({"model", "none", "flips", "turns"});
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  if (tta != "model") inference.tta = tta_of(tta);
  const auto files = expand(inputs);
  check<app::UsageError>(output.empty() || overwrite || !fs::exists(output), output, ": exists; pass --overwrite to replace it");
  Model model = load_model(model_path, {.net = net, .fold = fold, .device = common.where()});
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const auto& file : files) load_input(file, model.card);
    std::cout << files.size() << " files can be read\n";
    return app::success;
  }
  app::Progress progress("files", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  progress.begin("predict", static_cast<std::int64_t>(files.size()));
  Predictions predictions{model.card.classes, {}};
  for (const auto& file : files) {
    const app::Stopwatch watch;
    const auto probabilities = predict(model, load_input(file, model.card), inference);
    predictions.cells.push_back({file.string(), "", -1, fold, probabilities.front(), watch.seconds()});
    progress.update(static_cast<std::int64_t>(predictions.cells.size()), "");
  }
  std::string text;
  if (common.json) {
    Json all = Json::array();
    for (const auto& cell : predictions.cells) {
      const auto best = std::max_element(cell.probabilities.begin(), cell.probabilities.end()) - cell.probabilities.begin();
      all.push_back(Json::object({{"case", cell.name},
                                  {"pred", static_cast<std::int64_t>(best)},
                                  {"class", model.card.classes[static_cast<std::size_t>(best)]},
                                  {"probabilities", Json(cell.probabilities)},
                                  {"seconds", cell.seconds}}));
    }
    text = all.dump(2) + "\n";
  } else {
    text = predictions_csv(predictions);
  }
  if (output.empty()) std::cout << text;
  else atomic_write(output, text);
  return app::success;
}

}  // namespace cuboid::csf
