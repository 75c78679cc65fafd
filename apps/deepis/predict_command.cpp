// SPDX-License-Identifier: Apache-2.0
// cuboid deepis predict
#include <algorithm>
#include <cmath>
#include <iostream>

#include "apps/commands.h"
#include "apps/deepis/predict_run.h"
#include "apps/text.h"

namespace cuboid::deepis {
namespace {

Spacing spacing_of(const std::vector<std::string>& texts) {
  Spacing spacing{};
  if (texts.empty()) return spacing;
  check<app::UsageError>(texts.size() == 3, "--spacing: ", texts.size(), " numbers, expected z,y,x");
  for (std::size_t i = 0; i < 3; ++i) {
    char* end = nullptr;
    spacing[i] = std::strtod(texts[i].c_str(), &end);
    check<app::UsageError>(end != texts[i].c_str() && *end == 0 && spacing[i] > 0 && std::isfinite(spacing[i]), "--spacing: '",
                           texts[i], "' is no size of a voxel");
  }
  return spacing;
}

std::string line_of(const Json& one, const std::vector<std::string>& classes) {
  std::string text = one.get("name", "");
  const Json& found = one.at("found");
  if (const Json* instances = found.find("instances")) text += "  " + std::to_string(instances->as_int()) + " instances";
  if (const Json* voxels = found.find("voxels"))
    for (std::size_t label = 1; label < std::max(voxels->size(), classes.size()); ++label)
      text += "  " + (label < classes.size() ? classes[label] : "label " + std::to_string(label)) + " " +
              app::grouped(label < voxels->size() ? (*voxels)[label].as_int() : 0) + " voxels";
  text += "  " + app::duration_text(one.get("seconds", 0.0)) + " ";
  for (const auto& [what, file] : one.at("files").as_object()) text += " " + file.as_string();
  return text + "\n";
}

}  // namespace

int predict_command(const Arguments& arguments) {
  std::vector<std::string> inputs, spacing;
  std::vector<std::int64_t> patch;
  std::string model_path, output, tta = "none", max_ram, entry, split, precision = "fp32";
  bool no_resample = false, no_distance = false, no_labels = false, no_series = false, no_holes = false, all_components = false;
  PredictSettings settings;
  PostprocessOptions given;
  app::Common common;
  app::Options options("deepis predict", "Segments volumes of any size: distances in micrometres, and labels.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis predict runs/latest cell.nii.gz -o out/", "cell.distance.nii.gz and cell.labels.nii.gz");
  options.example("cuboid deepis predict runs/latest timelapse/ -o out/", "the frames of a folder, as a series");
  options.example("cuboid deepis predict model.safetensors big.npy -o out/ --max-ram 2G --dry-run", "what would it take?");
  options.positional("inputs", &inputs, "the model (unless --model names it), then volumes, folders of frames, datasets")
      .required();
  options.add("-m,--model", &model_path, "weights, or a run folder");
  options.add("-o,--output", &output, "folder for the results and predict.json").required();
  options.add("--format", &settings.format, "of the results; default: as the input, npy where that is neither")
      .choices({"", "npy", "nii.gz", "mat"});
  options.add("--resume", &settings.resume, "leave alone what is there and whole, make the rest").not_saved();
  options.add("--overwrite", &settings.overwrite, "make everything again").not_saved();
  options.add("--entry", &entry, "which array of files with several");
  options.add("--split", &split, "of datasets only this part").choices({"", "train", "valid", "test"});
  options.add("--spacing", &spacing, "z,y,x in micrometres, where the files do not say");
  options.add("--no-series", &no_series, "the files of a folder are no time-lapse");
  options.add("--no-distance", &no_distance, "labels only");
  options.add("--no-labels", &no_labels, "distances only");
  options.section("prediction");
  options.add("--patch", &patch, "z,y,x voxels of a window; default: what the model was trained on").at_least(1).at_most(4096);
  options.add("--overlap", &settings.predict.window.overlap, "share of a window that the next one covers, too")
      .at_least(0)
      .at_most(0.95);
  options.add("--tta", &tta, "mirror: the mean over 8 mirror images, 8 times the work").choices({"none", "mirror"});
  options.add("--no-resample", &no_resample, "also when the voxels are not as large as the model's");
  options.add("--precision", &precision, "of convolutions").choices({"fp32", "bf16"});
  options.add("-b,--batch-size", &settings.predict.window.batch, "windows at a time").at_least(1).at_most(1024);
  options.add("--max-ram", &max_ram, "2G: refuse what needs more, and never take more");
  options.section("from distances to labels");
  options.add("--threshold", &given.threshold_um, "um; a voxel is inside beyond this distance; -1: the model's, or half a voxel");
  options.add("--min-volume", &given.min_volume_um3, "um^3; smaller components go").at_least(0);
  options.add("--all-components", &all_components, "keep all of a class, not only the largest");
  options.add("--no-fill-holes", &no_holes, "leave holes open");
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  app::catch_signals();
  if (model_path.empty()) {
    model_path = inputs.front();
    inputs.erase(inputs.begin());
  }
  check<app::UsageError>(!inputs.empty(),
                         app::with_hint("predict: '" + model_path + "' is taken as the model; nothing is left to predict",
                                        "cuboid deepis predict MODEL INPUT... -o OUT"));
  check<app::UsageError>(!(no_distance && no_labels), "--no-distance and --no-labels leave nothing to write");
  check<app::UsageError>(patch.empty() || patch.size() == 3, "--patch: ", patch.size(), " numbers, expected z,y,x");
  check<app::UsageError>(!(settings.resume && settings.overwrite), "--resume and --overwrite exclude each other");
  settings.output = output;
  settings.spacing_um = spacing_of(spacing);
  settings.distance = !no_distance;
  settings.labels = !no_labels;
  if (!max_ram.empty()) settings.max_ram = bytes_of(max_ram, "max-ram");
  for (const auto n : patch) settings.predict.window.window.push_back(n);
  settings.predict.window.mirror = tta == "mirror";
  settings.predict.resample = !no_resample;
  settings.predict.bf16 = precision == "bf16";

  const Model model = load_model(model_path, {.device = common.where()});
  settings.predict.postprocess = postprocess_of(model.card.postprocess);
  if (options.origin("threshold") != app::Origin::standard) settings.predict.postprocess.threshold_um = given.threshold_um;
  if (options.origin("min-volume") != app::Origin::standard) settings.predict.postprocess.min_volume_um3 = given.min_volume_um3;
  if (all_components) settings.predict.postprocess.keep_largest = false;
  if (no_holes) settings.predict.postprocess.fill_holes = false;

  app::Progress progress("windows", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  PredictRun run(model, find_cases(inputs, {.series = !no_series, .entry = entry, .split = split}), settings);
  run.plan(progress);
  if (common.dry_run) {
    if (common.json) std::cout << Json::object({{"memory", run.memory().to_json()}}).dump(2) << '\n';
    else std::cout << options.origin_table() << run.plan_text();
    for (const auto& note : run.notes()) progress.say("note: " + note);
    run.check_memory();
    return app::success;
  }
  run.check_memory();
  std::string plan = run.plan_text();
  plan.pop_back();
  progress.say(plan);
  for (const auto& note : run.notes()) progress.say("note: " + note);
  const Json record = run.run(progress, [] { return app::stop_signal() != 0; });
  progress.say("peak memory " + app::bytes_text(static_cast<double>(app::peak_resident_bytes())));
  if (common.json) std::cout << record.dump(2) << '\n';
  else
    for (const Json& one : record.at("cases").as_array()) std::cout << line_of(one, model.card.classes);
  return record.at("failed").size() == 0 ? app::success : app::bad_data;
}

}  // namespace cuboid::deepis
