// SPDX-License-Identifier: Apache-2.0
// cuboid csf train: folds, one trainer each, then evaluation and report.
#include "apps/csf/train.h"

#include <algorithm>
#include <cmath>
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/evaluation.h"
#include "apps/csf/report.h"
#include "apps/csf/settings.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "apps/training/run.h"

namespace cuboid::csf {
namespace fs = std::filesystem;
namespace {

std::string validation_text(const training::EpochReport& report) {
  const auto percent = [](double v) { return std::isnan(v) ? "-" : app::fixed(100 * v, 1) + " %"; };
  return "bal.acc " + percent(report.metric("balanced-accuracy")) + "  AUROC " + app::fixed(report.metric("auroc"), 3);
}

void train_fold(const TrainJob& job, const app::RunFolder& run, std::int64_t number, bool resume, app::Progress& progress) {
  const auto folds = static_cast<std::int64_t>(job.split.folds.size());
  const auto checkpoints = [&](std::int64_t fold) { return run.file(checkpoint_name(fold, folds, "last")).parent_path(); };
  const auto trainer = make_trainer(job.options, job.card, job.dataset, job.split.folds[static_cast<std::size_t>(number - 1)],
                                    checkpoints(number));
  const bool resumed = resume && trainer->resume();
  if (!resumed && job.carry_over && number > 1) trainer->carry_over(checkpoints(number - 1));
  const std::string name = "fold " + std::to_string(number);
  training::run(*trainer, run,
                {.name = name,
                 .title = folds > 1 ? name + "/" + std::to_string(folds) : "training",
                 .part = folds > 1,
                 .unit = "cells",
                 .about = Json::object({{"fold", number}}),
                 .metrics = validation_text},
                progress, resumed);
}

}  // namespace

Predictions train_folds(const TrainJob& job, const app::RunFolder& run, bool resume, app::Progress& progress) {
  app::catch_signals();
  const auto folds = static_cast<std::int64_t>(job.split.folds.size());
  Predictions predictions{job.dataset.class_names(), {}};
  for (std::int64_t number = 1; number <= folds; ++number) {
    if (!job.only.empty() && std::find(job.only.begin(), job.only.end(), number) == job.only.end()) continue;
    train_fold(job, run, number, resume, progress);
    if (job.options.loop.rank() > 0) continue;
    Model model = load_model(run.file(checkpoint_name(number, folds, "best")), {.device = job.options.loop.device});
    const Fold& fold = job.split.folds[static_cast<std::size_t>(number - 1)];
    predict_cells(model, job.dataset, fold.test, number, job.options.loop.batch, {.bf16 = job.options.loop.bf16}, predictions);
  }
  return predictions;
}

double training_memory_estimate(const ModelCard& card, const TrainOptions& options) {
  DenseNet net(card.net);
  Shape input = {options.loop.batch};
  for (const auto d : card.input) input.push_back(d);
  double activations = 0;
  for (const auto& stage : net.stages(input)) activations += static_cast<double>(stage.output.count());
  // Kept until the backward pass: the slab of a block and its bottlenecks (bn_size x growth for each growth channels), and the
  // gradient of one slab.
  const double per_value = 4.0 * (2.0 + static_cast<double>(card.net.bn_size));
  const double slots = options.loop.optimiser == "sgd" ? (options.loop.momentum > 0 ? 1 : 0) : 2;
  return activations * per_value +
         4.0 * static_cast<double>(net.parameter_count()) * (2 + slots + (options.loop.ema > 0 ? 1 : 0)) +
         4.0 * static_cast<double>(input.count()) * 4;
}

namespace {

void print_plan(const app::Options& options, const TrainJob& job, const std::string& folds_table) {
  DenseNet net(job.card.net);
  std::cout << "options\n" << options.origin_table() << "\nplan\n";
  std::cout << "  cells        " << job.dataset.size() << " of shape " << job.card.input << ", " << job.dataset.classes()
            << " classes\n";
  std::cout << "  parameters   " << app::grouped(net.parameter_count()) << "\n";
  std::cout << "  memory       about " << app::bytes_text(training_memory_estimate(job.card, job.options)) << " for a batch of "
            << job.options.loop.batch << "\n\nfolds\n"
            << folds_table;
}

}  // namespace

int train_command(const Arguments& arguments) {
  TrainSettings settings;
  app::Options options("csf train", "Trains a classifier of 3D cells, fold by fold, and evaluates it on the cells left out.");
  options.other_commands(app::command_names());
  options.example("cuboid csf train -d cells/", "5 folds, patients kept apart, small net");
  options.example("cuboid csf train -d cells/ --recipe few-cells", "for a hundred cells or so, at any orientation");
  options.example("cuboid csf train -d cells/ --recipe paper", "as the original repository did");
  options.example("cuboid csf train --resume runs/latest", "go on where a run stopped");
  options.example("mpirun -n 2 cuboid csf train -d cells/", "two processes share each batch; torchrun's variables do as well");
  settings.add(options);
  if (!app::parse_or_help(options, training::with_run_options(arguments))) return app::success;
  const Launch launch = launch_of_environment();
  use_local_device(launch);
  settings.run.common.apply();
  const app::Stopwatch watch;
  app::Progress progress(
      "batches", settings.run.common.quiet || launch.rank > 0 ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);

  if (fs::exists(settings.data.data)) settings.data.data = fs::absolute(settings.data.data).lexically_normal().string();
  TrainJob job;
  std::string table;
  if (settings.split_file.empty()) {
    const SplitReport report = split_data(settings.data.source(), settings.split_options());
    job.dataset = report.dataset;
    job.split = report.split;
    table = report.table();
  } else {
    job.dataset = open_data(settings.data.source());
    job.split = read_split(settings.split_file, job.dataset);
    table = "  from " + settings.split_file + "\n";
  }
  job.card = {.net = settings.finish(job.dataset.classes()),
              .classes = job.dataset.class_names(),
              .input = job.dataset.shape(),
              .rescale = job.dataset.options().rescale,
              .shrink = job.dataset.options().shrink,
              .spacing_um = job.dataset.spacing_um(),
              .tta = tta_of(settings.tta),
              .data_fingerprint = job.dataset.fingerprint()};
  job.card.net.in_channels = job.card.input[0];
  job.options = settings.train;
  job.only = settings.only_folds;
  job.carry_over = settings.carry_over;
  check<app::UsageError>(job.options.loop.batch >= launch.size, "--batch-size ", job.options.loop.batch,
                         ": the cells of a batch are shared by ", launch.size, " processes, and each needs one");
  for (const auto& note : job.split.notes) progress.say("note: " + note);
  if (settings.carry_over) progress.say("warning: --carry-over leaks test cells of one fold into the training of the next");
  if (settings.run.common.dry_run) {
    if (launch.rank > 0) return app::success;
    print_plan(options, job, table);
    job.dataset.verify();
    std::cout << "\nall " << job.dataset.size() << " cells can be read\n";
    return app::success;
  }

  const Group group = training::join(launch, job.options.loop.device);
  job.options.loop.group = &group;
  check<DataError>(group.broadcast(job.card.data_fingerprint) == job.card.data_fingerprint, settings.data.data, ": rank ",
                   group.rank(), " sees other cells here than rank 0");
  const bool resume = !settings.run.resume.empty();
  const app::RunFolder run = training::folder_of(
      settings.run, group, settings.run.name.empty() ? fs::path(settings.data.data).filename().string() : settings.run.name,
      [&](const app::RunFolder& folder) {
        folder.write("run.toml", options.to_toml());
        write_split(folder.file("split.json"), job.split, job.dataset);
      });
  if (!group.first()) {
    train_folds(job, run, resume, progress);
    return app::success;
  }
  training::Manifest manifest(
      run, settings.run, group,
      Json::object({{"path", settings.data.data}, {"fingerprint", job.card.data_fingerprint}, {"cells", job.dataset.size()}}),
      job.card.to_json());
  progress.say("run folder " + run.path().string());
  if (group.size() > 1) progress.say(join_text(group.size(), " processes over ", group.transport()));
  const Predictions predictions = train_folds(job, run, resume, progress);
  manifest.finish(watch.seconds());
  if (!settings.run.report || predictions.cells.empty()) return app::success;
  const Json summary = summarise(predictions, {.seed = settings.run.loop.seed});
  write_evaluation(run, predictions, summary);
  const std::string report = write_report(run);
  if (settings.run.common.json) std::cout << summary.dump(2) << '\n';
  else std::cout << summary_text(summary) << "report             " << report << '\n';
  return app::success;
}

}  // namespace cuboid::csf
