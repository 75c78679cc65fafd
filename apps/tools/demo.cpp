// SPDX-License-Identifier: Apache-2.0
// cuboid demo: the whole way on phantom cells, in a minute.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/explain_run.h"
#include "apps/csf/phantom.h"
#include "apps/csf/report.h"
#include "apps/csf/settings.h"
#include "apps/csf/train.h"
#include "apps/text.h"
#include "data/volume.h"
#include "kernels/views/views.h"

namespace cuboid::app {
namespace fs = std::filesystem;
namespace {

struct DemoSettings {
  std::int64_t cells = 320, size = 32, epochs = 12, explained = 16;
  double lr = 0.002;
  std::string output = "runs/demo", layer = "transition1";
  bool overwrite = false;
  Common common;
};

struct CamSummary {
  double mass = 0, share = 0;  // of the map on the cell, of the volume that is cell; means
  std::int64_t cells = 0;
};

/// Explains test cells of both classes against the phantom's own truth; the first few become pictures.
CamSummary explain_cells(const RunFolder& run, const csf::TrainJob& job, const DemoSettings& settings, Progress& progress) {
  const fs::path data = run.path() / "cells";
  csf::Model model = csf::load_model(run.path(), {.device = settings.common.where()});
  csf::ExplainOptions options;
  options.cam = {.method = CamMethod::gradcam_pp, .layer = settings.layer};
  Json shown = Json::array();
  CamSummary summary;
  const auto& test = job.split.folds[0].test;
  const std::int64_t wanted = std::min<std::int64_t>(settings.explained, static_cast<std::int64_t>(test.size()));
  progress.begin("explain", wanted);
  for (std::int64_t n = 0; n < wanted; ++n) {
    const std::int64_t i = test[static_cast<std::size_t>(n) * test.size() / static_cast<std::size_t>(wanted)];
    const Sample& sample = job.dataset[i];
    const Tensor mask = load_volume(data / "masks" / sample.file.filename()).image;
    const std::string name = sample.file.stem().string();
    const Tensor x = unsqueeze(job.dataset.load(i), 0);
    const Json one = csf::explain_to(run.path() / "explain", name, model, x, mask, options);
    if (one.at("mass_on_cell").is_number()) {
      const auto inside = mask.to_vector();
      summary.mass += one.at("mass_on_cell").as_double();
      summary.share += static_cast<double>(std::count_if(inside.begin(), inside.end(), [](double v) { return v != 0; })) /
                       static_cast<double>(inside.size());
      ++summary.cells;
    }
    if (shown.size() < 4) shown.push_back(one);
    progress.update(n + 1, "");
  }
  summary.mass /= static_cast<double>(std::max<std::int64_t>(1, summary.cells));
  summary.share /= static_cast<double>(std::max<std::int64_t>(1, summary.cells));
  run.write("explain/explain.json", shown);
  run.write("explain/summary.json", Json::object({{"cells", summary.cells},
                                                  {"mass_on_cell", summary.mass},
                                                  {"cell_share_of_volume", summary.share},
                                                  {"layer", settings.layer}}));
  return summary;
}

}  // namespace

int demo(const Arguments& arguments) {
  DemoSettings settings;
  Options options("demo",
                  "Makes phantom cells, trains a small net, judges it on patients it never saw, explains it, writes a report.");
  options.other_commands(command_names());
  options.example("cuboid demo", "results in runs/demo");
  options.add("--cells", &settings.cells, "phantom cells of 16 patients").at_least(64).at_most(100000);
  options.add("--size", &settings.size, "voxels along each edge").choices({"16", "32", "64", "128"});
  options.add("-e,--epochs", &settings.epochs, "passes over the training cells").at_least(1);
  options.add("--lr", &settings.lr, "learning rate").at_least(0);
  options.add("--layer", &settings.layer, "activation that is explained");
  options.add("-o,--output", &settings.output, "run folder; replaced if it is an earlier demo's").not_saved();
  options.add("--overwrite", &settings.overwrite, "write into a folder that holds something else").not_saved();
  settings.common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  settings.common.apply();
  if (settings.common.dry_run) return std::cout << options.origin_table(), success;
  const Stopwatch watch;
  Progress progress("batches", settings.common.quiet ? Progress::Mode::quiet : Progress::Mode::automatic);

  // An earlier demo is nobody's work: it may go.
  if (fs::exists(fs::path(settings.output) / ".demo")) fs::remove_all(settings.output);
  const RunFolder run = RunFolder::at(settings.output, settings.overwrite);
  run.write(".demo", std::string("made by cuboid demo, which replaces this folder\n"));
  progress.say("phantom   " + std::to_string(settings.cells) + " cells of 16 patients, two classes");
  csf::write_phantom(
      {.output = run.path() / "cells",
       .cells = {.cells = settings.cells, .size = settings.size, .seed = static_cast<std::uint64_t>(settings.common.seed)}});

  // The same as `cuboid csf train` with these words, and run.toml says so.
  csf::TrainSettings train;
  Options train_options("csf train", "");
  train.add(train_options);
  train_options.parse({"--data",       (run.path() / "cells").string(),
                       "--device",     settings.common.device,
                       "--folds",      "4",
                       "--only-folds", "1",
                       "--net",        "small",
                       "--blocks",     "2,2,2",
                       "--flip-z",     "0.5",
                       "--jitter",     "0.1",
                       "--lr",         shortest(settings.lr),
                       "--epochs",     std::to_string(settings.epochs),
                       "--patience",   "0",
                       "--ema",        "0.97",
                       "--seed",       std::to_string(settings.common.seed)});
  csf::TrainJob job;
  const auto split = csf::split_data(train.data.source(), train.split_options());
  job.dataset = split.dataset;
  job.split = split.split;
  job.split.folds.resize(1);
  job.card = {.net = train.finish(job.dataset.classes()),
              .classes = job.dataset.class_names(),
              .input = job.dataset.shape(),
              .spacing_um = job.dataset.spacing_um(),
              .data_fingerprint = job.dataset.fingerprint()};
  job.options = train.train;
  run.write("run.toml", train_options.to_toml());
  write_split(run.file("split.json"), job.split, job.dataset);
  Json manifest = environment_manifest(settings.common.where());
  manifest["seed"] = settings.common.seed;
  manifest["data"] =
      Json::object({{"path", "phantom"}, {"fingerprint", job.card.data_fingerprint}, {"cells", job.dataset.size()}});
  manifest["model"] = job.card.to_json();
  progress.say("training  12 patients; 4 others are the test");
  const csf::Predictions predictions = csf::train_folds(job, run, false, progress);
  const Json summary = csf::summarise(predictions, {.bootstrap = 1000, .repeats = 100});
  csf::write_evaluation(run, predictions, summary);
  const CamSummary cam = explain_cells(run, job, settings, progress);
  manifest["finished"] = utc_now();
  manifest["seconds"] = watch.seconds();
  manifest["peak_memory_bytes"] = peak_resident_bytes();
  run.write("manifest.json", manifest);
  const std::string report = csf::write_report(run);
  const Json& auroc = summary.at("pooled").at("auroc");
  if (settings.common.json) {
    std::cout << Json::object({{"auroc", auroc},
                               {"accuracy", summary.at("pooled").at("accuracy")},
                               {"cam_mass_on_cell", cam.mass},
                               {"cell_share_of_volume", cam.share},
                               {"seconds", watch.seconds()},
                               {"report", report}})
                     .dump(2)
              << '\n';
  } else {
    std::cout << csf::summary_text(summary) << "Grad-CAM++         " << fixed(100 * cam.mass, 1)
              << " % of the map lies on the cell, which is " << fixed(100 * cam.share, 1) << " % of the volume ("
              << settings.layer << ", mean of " << cam.cells << " cells)\ntime               " << duration_text(watch.seconds())
              << "\nreport             " << report << '\n';
  }
  return success;
}

}  // namespace cuboid::app
