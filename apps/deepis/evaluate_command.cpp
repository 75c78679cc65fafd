// SPDX-License-Identifier: Apache-2.0
// cuboid deepis evaluate
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>

#include "apps/commands.h"
#include "apps/deepis/evaluate.h"
#include "apps/deepis/label_files.h"
#include "apps/deepis/predict_run.h"
#include "apps/deepis/train.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "apps/training/report.h"
#include "data/morphology/components.h"
#include "data/volume.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

struct Settings {
  std::string predictions, model, data, truth, images, split = "auto", head = "auto", output;
  std::vector<std::string> classes;
  bool overwrite = false, no_surfaces = false;
  double spacing_z = 0, spacing_xy = 0;
  PostprocessOptions post;
  double dilate = -1, cleft = -1;
  bool mirror = false;
};

using Files = std::map<std::string, fs::path>;
Files files_of(const std::string& folder) {
  Files files;
  for (const VolumeFile& f : volume_files(folder)) files[f.name] = f.path;
  return files;
}

/// One of `files` by the case's name; without the folders before it where that is enough.
const fs::path* find_file(const Files& files, const std::string& name) {
  if (const auto found = files.find(name); found != files.end()) return &found->second;
  const auto slash = name.rfind('/');
  if (slash == name.npos) return nullptr;
  const auto found = files.find(name.substr(slash + 1));
  return found == files.end() ? nullptr : &found->second;
}

void check_missing(const std::vector<std::string>& missing, std::size_t wanted, const std::string& where) {
  if (missing.empty()) return;
  std::vector<std::string> some(missing.begin(),
                                missing.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, missing.size())));
  fail<DataError>(
      app::with_hint(where + ": no prediction for " + std::to_string(missing.size()) + " of " + std::to_string(wanted) +
                         " cases: " + app::join(some, ", ") + (missing.size() > some.size() ? ", ..." : ""),
                     "files are paired by name: cell_3.labels.nii.gz belongs to the case cell_3; --split chooses the cases"));
}

/// The cases of a dataset that are to be judged.
std::vector<std::int64_t> chosen(const LabelledDataset& dataset, const std::string& split) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  if (split == "all") return all;
  const auto part = dataset.part(split == "auto" ? "test" : split);
  if (split == "auto" && part.empty()) return all;
  check<DataError>(!part.empty(),
                   app::with_hint("--split " + split + ": the dataset has no such cases", "--split all takes every one"));
  return part;
}

std::vector<EvaluationCase> cases_of_dataset(const Settings& s, const LabelledDataset& dataset,
                                             const std::vector<std::int64_t>& indices, const Files& predictions) {
  std::vector<EvaluationCase> cases;
  std::vector<std::string> missing;
  for (const std::int64_t i : indices) {
    const LabelledCase& c = dataset[i];
    const fs::path* file = find_file(predictions, c.name);
    if (!file) {
      missing.push_back(c.name);
      continue;
    }
    cases.push_back({.name = c.name,
                     .reference_file = (c.labels.empty() ? c.target : c.labels).string(),
                     .prediction_file = file->string(),
                     .load = [&s, dataset, i, file = *file] {
                       ShownCase shown = truth_of(dataset, i);
                       shown.prediction = predicted_labels(file, dataset.head(), shown.spacing_um, s.post);
                       return shown;
                     }});
  }
  check_missing(missing, indices.size(), s.predictions);
  return cases;
}

std::vector<EvaluationCase> cases_of_folders(const Settings& s, Head head, const Files& truths, const Files& predictions) {
  const Files images = s.images.empty() ? Files() : files_of(s.images);
  std::vector<EvaluationCase> cases;
  std::vector<std::string> missing;
  for (const auto& [name, truth] : truths) {
    const fs::path* file =
        truths.size() == 1 && predictions.size() == 1 ? &predictions.begin()->second : find_file(predictions, name);
    if (!file) {
      missing.push_back(name);
      continue;
    }
    const fs::path* image = images.empty() ? nullptr : find_file(images, name);
    cases.push_back({.name = name,
                     .reference_file = truth.string(),
                     .prediction_file = file->string(),
                     .load = [&s, head, truth = truth, file = *file, image = image ? *image : fs::path()] {
                       const LabelVolume v = load_labels(truth);
                       ShownCase shown{.image = {}, .truth = v.labels, .prediction = {}, .spacing_um = v.spacing_um};
                       if (shown.spacing_um[0] <= 0) shown.spacing_um = spacing_beside(truth);
                       if (s.spacing_z > 0) shown.spacing_um = {s.spacing_z, s.spacing_xy, s.spacing_xy};
                       const Spacing known = shown.spacing_um[0] > 0 ? shown.spacing_um : Spacing{1, 1, 1};
                       shown.prediction = predicted_labels(file, head, known, s.post);
                       if (image.empty()) return shown;
                       shown.image = load_volume(image).image;
                       check<DataError>(shown.image.shape() == v.labels.shape(), image.string(), ": image of shape ",
                                        shown.image.shape(), ", labels of shape ", v.labels.shape());
                       return shown;
                     }});
  }
  check_missing(missing, truths.size(), s.predictions);
  return cases;
}

bool is_run(const std::string& path) {
  std::error_code error;
  return fs::is_directory(fs::path(path) / "checkpoints", error);
}

/// The cases that a run kept for testing, or else for validation; all that the dataset says where the run says nothing.
std::vector<std::int64_t> held_out(const app::RunFolder& run, const LabelledDataset& dataset, std::vector<std::string>& notes) {
  const Json parts = run.read_json("cases.json");
  for (const char* part : {"test", "valid"}) {
    const Json* names = parts.find(part);
    if (!names || names->size() == 0) continue;
    if (std::string_view(part) == "valid")
      notes.push_back(
          "The data has no test cases: these are the ones that chose the best epoch, so the figures flatter the model.");
    std::vector<std::int64_t> found;
    for (std::int64_t i = 0; i < dataset.size(); ++i)
      for (const Json& name : names->as_array())
        if (name.as_string() == dataset[i].name) found.push_back(i);
    check<DataError>(found.size() == names->size(), run.path().string(), ": ", names->size(), " cases for '", part,
                     "' in cases.json, the data has ", found.size(), " of them");
    return found;
  }
  return chosen(dataset, "auto");
}

/// Predicts these cases into folder/predicted.
void predict_cases(const Settings& s, const LabelledDataset& dataset, const std::vector<std::int64_t>& indices,
                   const Model& model, const app::RunFolder& folder, app::Progress& progress) {
  std::vector<PredictCase> cases;
  for (const std::int64_t i : indices) {
    const LabelledCase& c = dataset[i];
    PredictCase one;
    one.name = c.name, one.file = c.image, one.entry = c.image_entry, one.series = c.series, one.frame = c.frame;
    one.spacing_um = c.spacing_um;
    cases.push_back(one);
  }
  PredictSettings settings;
  settings.output = folder.path() / "predicted";
  settings.spacing_um = dataset.spacing_um();
  settings.distance = false;
  settings.overwrite = true;
  settings.predict.window.mirror = s.mirror;
  settings.predict.postprocess = postprocess_of(model.card.postprocess);
  if (s.post.threshold_um >= 0) settings.predict.postprocess.threshold_um = s.post.threshold_um;
  PredictRun run(model, cases, settings);
  run.plan(progress);
  const Json record = run.run(progress, [] { return app::stop_signal() != 0; });
  const Json& failed = record.at("failed");
  check<DataError>(failed.size() == 0, folder.path().string(), ": ", failed.size(), " cases could not be predicted");
}

/// A run's page: how well it did, how it was trained.
std::string write_run_report(const app::RunFolder& run, const std::vector<std::string>& notes) {
  app::Page page("Segmentation: " + run.path().filename().string(), "cuboid " + app::version() + ", " + app::utc_now());
  for (const std::string& note : notes) page.note(note);
  evaluation_sections(page, run);
  add_training(page, run);
  training::add_provenance(page, run, "cases");
  run.write("report.html", page.finish("Written by cuboid " + app::version() + ". Research software: not for diagnosis."));
  return (run.path() / "report.html").string();
}

/// background, 1, 2, ... as far as there are labels.
std::vector<std::string> classes_found(const std::vector<EvaluationCase>& cases) {
  std::int32_t most = 1;
  for (const EvaluationCase& c : cases) {
    const ShownCase v = c.load();
    for (const Tensor* labels : {&v.truth, &v.prediction})
      if (const auto present = labels_present(*labels); !present.empty()) most = std::max(most, present.back());
  }
  check<DataError>(most < 256, app::with_hint("labels up to " + std::to_string(most) + " are no classes", "--head instances"));
  std::vector<std::string> names = {"background"};
  for (std::int32_t i = 1; i <= most; ++i) names.push_back(std::to_string(i));
  return names;
}

/// A model on the cases of a dataset, or of the run that made it.
int evaluate_model(Settings& s, const app::Common& common, const app::Options& options) {
  const bool of_run = is_run(s.model);
  std::vector<std::string> notes;
  app::catch_signals();
  const Model model = load_model(s.model, {.device = common.where()});
  if (s.data.empty()) {
    check<app::UsageError>(of_run, "evaluate: --model without --data: ", s.model, " is no run folder, which would know its data");
    s.data = app::RunFolder::existing(s.model).read_json("manifest.json").at("data").at("path").as_string();
  }
  LabelledOptions labelled{.head = model.card.head, .class_names = model.card.classes};
  if (s.spacing_z > 0) labelled.spacing_um = Spacing{s.spacing_z, s.spacing_xy, s.spacing_xy};
  const LabelledDataset dataset = open_labelled_dataset(s.data, labelled);
  const bool own_cases = of_run && s.split == "auto" && app::RunFolder::existing(s.model).has("cases.json") &&
                         options.origin("data") == app::Origin::standard;
  const auto indices = own_cases ? held_out(app::RunFolder::existing(s.model), dataset, notes) : chosen(dataset, s.split);
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const std::int64_t i : indices) std::cout << dataset[i].name << ": " << dataset[i].image.string() << '\n';
    return app::success;
  }
  const bool into_run = of_run && s.output.empty();
  const app::RunFolder folder =
      into_run ? app::RunFolder::existing(s.model) : app::RunFolder::at(s.output.empty() ? "evaluated" : s.output, s.overwrite);
  app::Progress progress("windows", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  predict_cases(s, dataset, indices, model, folder, progress);
  s.predictions = (folder.path() / "predicted").string();
  const ScoreOptions score_options{.head = dataset.head(),
                                   .classes = dataset.class_names(),
                                   .surfaces = !s.no_surfaces,
                                   .dilate_um = s.dilate,
                                   .cleft_um = s.cleft};
  const Evaluation result =
      evaluate(cases_of_dataset(s, dataset, indices, files_of(s.predictions)), score_options, folder, progress);
  const std::string report =
      into_run ? write_run_report(folder, notes) : write_evaluation_report(folder, fs::path(s.model).filename().string(), notes);
  if (common.json) std::cout << result.summary.dump(2) << '\n';
  else std::cout << summary_text(result.summary) << "report             " << report << '\n';
  return app::success;
}

}  // namespace

int evaluate_command(const Arguments& arguments) {
  Settings s;
  app::Common common;
  app::Options options("deepis evaluate", "Judges predicted labels against the truth: per class, per case, per instance.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis evaluate runs/latest",
                  "a run on the cases it kept for testing; writes eval/ and report.html into it");
  options.example("cuboid deepis evaluate -m model.safetensors -d prepared/", "a model on the test cases of a dataset");
  options.example("cuboid deepis evaluate predicted/ -d prepared/ -o evaluated/", "predictions that are there already");
  options.example("cuboid deepis evaluate predicted/ --truth labels/ --head instances", "two folders of label volumes");
  options.positional("predictions", &s.predictions, "folder of NAME.labels.* or NAME.distance.*, a single file, or a run folder");
  options.add("-m,--model", &s.model, "weights, or a run folder: predicts first, into predicted/");
  options.add("-d,--data", &s.data, "the dataset the predictions are of; a run knows its own");
  options.add("--split", &s.split, "its cases; auto: those for testing, all when there are none")
      .choices({"auto", "train", "valid", "test", "all"});
  options.add("-o,--output", &s.output, "folder for eval/ and report.html; default: the run itself, else evaluated/");
  options.add("--overwrite", &s.overwrite, "write into a folder that holds something").not_saved();
  options.section("instead of a dataset");
  options.add("--truth", &s.truth, "folder of label volumes, or one file");
  options.add("--images", &s.images, "images of the same names, for the pictures");
  options.add("--head", &s.head, "what the labels mean; auto: as the dataset says, else classes")
      .choices({"auto", "signed", "instances", "classes"});
  options.add("--classes", &s.classes, "their names, background first");
  options.add("--spacing-z", &s.spacing_z, "um per voxel, instead of what the files say").at_least(0);
  options.add("--spacing-xy", &s.spacing_xy, "um per voxel").at_least(0);
  options.section("evaluation");
  options.add("--mirror", &s.mirror, "with --model: the mean over the 8 mirror images");
  options.add("--no-surfaces", &s.no_surfaces, "without HD95 and ASSD, which take most of the time");
  options.add("--dilate", &s.dilate, "um around each cell that may belong to the synapse; negative: the largest spacing");
  options.add("--threshold", &s.post.threshold_um, "um; of distance maps; negative: half the smallest spacing");
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  if (s.model.empty() && is_run(s.predictions)) std::swap(s.model, s.predictions);
  check<app::UsageError>(s.model.empty() != s.predictions.empty(), "evaluate: name predictions, a run, or --model");
  check<app::UsageError>(s.model.empty() || s.truth.empty(),
                         "evaluate: --model predicts cases of --data; --truth is for predictions");
  if (!s.model.empty()) return evaluate_model(s, common, options);
  check<DataError>(std::filesystem::exists(s.predictions), s.predictions, ": no such file, folder or run");
  check<app::UsageError>(s.data.empty() != s.truth.empty(), "evaluate: name the truth, --data or --truth");
  check<app::UsageError>((s.spacing_z > 0) == (s.spacing_xy > 0), "evaluate: --spacing-z and --spacing-xy belong together");
  const Files predictions = files_of(s.predictions);
  ScoreOptions score_options{.surfaces = !s.no_surfaces, .dilate_um = s.dilate, .cleft_um = s.cleft};
  std::vector<EvaluationCase> cases;
  if (!s.data.empty()) {
    LabelledOptions labelled{.class_names = s.classes};
    if (s.head != "auto") labelled.head = head_of(s.head);
    if (s.spacing_z > 0) labelled.spacing_um = Spacing{s.spacing_z, s.spacing_xy, s.spacing_xy};
    const LabelledDataset dataset = open_labelled_dataset(s.data, labelled);
    score_options.head = dataset.head();
    score_options.classes = dataset.class_names();
    cases = cases_of_dataset(s, dataset, chosen(dataset, s.split), predictions);
  } else {
    score_options.head = s.head == "auto" ? Head::classes : head_of(s.head);
    cases = cases_of_folders(s, score_options.head, files_of(s.truth), predictions);
    score_options.classes = s.classes;
    if (s.classes.empty())
      score_options.classes = score_options.head == Head::classes     ? classes_found(cases)
                              : score_options.head == Head::instances ? std::vector<std::string>{"background", "object"}
                                                                      : std::vector<std::string>{"background", "cart19", "k562"};
  }
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const EvaluationCase& c : cases)
      std::cout << c.name << ": " << c.prediction_file << "  against  " << c.reference_file << '\n';
    return app::success;
  }
  const app::RunFolder folder = app::RunFolder::at(s.output.empty() ? "evaluated" : s.output, s.overwrite);
  app::Progress progress("cases", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  const Evaluation result = evaluate(cases, score_options, folder, progress);
  const std::string report = write_evaluation_report(folder, fs::path(s.predictions).lexically_normal().filename().string(), {});
  if (common.json) std::cout << result.summary.dump(2) << '\n';
  else std::cout << summary_text(result.summary) << "report             " << report << '\n';
  return app::success;
}

}  // namespace cuboid::deepis
