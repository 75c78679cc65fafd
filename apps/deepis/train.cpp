// SPDX-License-Identifier: Apache-2.0
// cuboid deepis train.
#include "apps/deepis/train.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "apps/commands.h"
#include "apps/deepis/settings.h"
#include "apps/deepis/tune.h"
#include "apps/text.h"
#include "apps/training/run.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;

namespace {

std::string validation_text(const training::EpochReport& report) {
  const double dice = report.metric("dice");
  return "Dice " + (std::isnan(dice) ? "-" : app::fixed(dice, 4));
}

Shape with_batch(std::int64_t batch, std::int64_t channels, const Shape& patch) {
  return {batch, channels, patch[0], patch[1], patch[2]};
}

void print_plan(const app::Options& options, const TrainJob& job, std::int64_t ranks) {
  const LabelledDataset& data = job.dataset;
  const PatchLoader loader(data, job.parts.train, loading(job.options, true));
  GcnUnet net(job.card.net);
  std::int64_t macs = 0;
  for (const auto& stage : net.stages(with_batch(1, job.card.net.in_channels, loader.patch()))) macs += stage.macs;
  const Spacing& um = data.spacing_um();
  const std::int64_t batch = (job.options.loop.batch + ranks - 1) / ranks;
  std::cout << "options\n" << options.origin_table() << "\nplan\n";
  std::cout << "  head         " << name_of(job.card.head) << ": " << app::join(job.card.classes, ", ") << "\n";
  std::cout << "  voxels       "
            << (um[0] > 0 ? join_text(um[0], " x ", um[1], " x ", um[2], " um (z, y, x)") : "of unknown size") << ", intensities "
            << job.card.normalise.text() << "\n";
  std::cout << "  loss         " << name_of(job.options.loss) << (job.options.supervised ? ", auxiliary heads" : "") << "\n";
  std::cout << "  patches      " << loader.patch() << ", " << loader.samples() << " in an epoch, " << loader.batches()
            << " batches\n";
  std::cout << "  parameters   " << app::grouped(net.parameter_count()) << "\n";
  std::cout << "  work         " << app::fixed(static_cast<double>(macs) / 1e9, 1) << " GMAC forward for a patch\n";
  std::cout << "  memory       about " << app::bytes_text(training_memory_estimate(job.card, job.options, loader.patch()))
            << " for a batch of " << batch << (ranks > 1 ? " in each process" : "") << "\n\ncases\n"
            << job.parts.table(data);
}

}  // namespace

void train(const TrainJob& job, const app::RunFolder& run, bool resume, app::Progress& progress) {
  app::catch_signals();
  const auto trainer = make_trainer(job.options, job.card, job.dataset, job.parts, run.file(last_checkpoint).parent_path());
  const bool resumed = resume && trainer->resume();
  training::run(*trainer, run, {.unit = "patches", .metrics = validation_text}, progress, resumed);
}

void tune_run(const TrainJob& job, const app::RunFolder& run, app::Progress& progress) {
  if (job.parts.valid.empty())
    return progress.say("post-processing: the defaults, as there are no validation cases to choose anything else on");
  const Model model = load_model(run.path(), {.device = job.options.loop.device});
  if (model.card.postprocess.size() > 0) return;  // these weights have theirs
  const Tuned tuned = tune(model, job.dataset, job.parts.valid, {}, progress);
  keep_postprocess(model.source, model.card, tuned.sweep.best().options, model.source);
  run.write(tuned_file, to_json(tuned));
  progress.say(text_of(tuned));
}

double training_memory_estimate(const ModelCard& card, const TrainOptions& options, const Shape& patch) {
  GcnUnet net(card.net);
  const Shape input = with_batch(options.loop.batch, card.net.in_channels, patch);
  double activations = 0;
  for (const auto& stage : net.stages(input)) activations += static_cast<double>(stage.output.count());
  // Kept until the backward pass: what goes into each convolution and norm of a stage; and a few tensors more at a time.
  const double bytes = options.loop.bf16 ? 2 : 4;
  const double slots = options.loop.optimiser == "sgd" ? (options.loop.momentum > 0 ? 1 : 0) : 2;
  return activations * bytes * 4 +
         4.0 * static_cast<double>(net.parameter_count()) * (2 + slots + (options.loop.ema > 0 ? 1 : 0)) +
         4.0 * static_cast<double>(input.count()) * 4;
}

int train_command(const Arguments& arguments) {
  TrainSettings settings;
  app::Options options("deepis train",
                       "Trains a net that says of each voxel which cell it belongs to, or how deep inside it lies.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis train -d pairs/", "a narrow net, minutes on two cores");
  options.example("cuboid deepis train -d pairs/ --net deepis2 --patch 64,128,128", "half the published widths, on patches");
  options.example("cuboid deepis train -d pairs/ --recipe paper", "as the original was trained");
  options.example("cuboid deepis train --resume runs/latest", "go on where a run stopped");
  options.example("mpirun -n 2 cuboid deepis train -d pairs/", "two processes share each batch; torchrun's variables do as well");
  settings.add(options);
  if (!app::parse_or_help(options, training::with_run_options(arguments))) return app::success;
  const Launch launch = launch_of_environment();
  use_local_device(launch);
  settings.run.common.apply();
  const app::Stopwatch watch;
  app::Progress progress(
      "batches", settings.run.common.quiet || launch.rank > 0 ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);

  if (fs::exists(settings.data)) settings.data = fs::absolute(settings.data).lexically_normal().string();
  TrainJob job;
  job.dataset = open_labelled_dataset(settings.data, settings.labelled());
  job.parts = parts_of(job.dataset, settings.valid, static_cast<std::uint64_t>(settings.run.common.seed));
  job.card = settings.card(job.dataset);
  job.options = settings.finish(job.dataset);
  check<app::UsageError>(job.options.loop.batch >= launch.size, "--batch-size ", job.options.loop.batch,
                         ": the patches of a batch are shared by ", launch.size, " processes, and each needs one");
  std::vector<std::string> warnings;
  job.dataset.verify(&warnings);
  constexpr std::size_t shown = 5;
  for (std::size_t i = 0; i < std::min(shown, warnings.size()); ++i) progress.say("warning: " + warnings[i]);
  if (warnings.size() > shown) progress.say(join_text("warning: ", warnings.size() - shown, " more like these"));
  if (!job.parts.note.empty()) progress.say(job.parts.note);
  if (settings.run.common.dry_run) {
    if (launch.rank > 0) return app::success;
    print_plan(options, job, launch.size);
    std::cout << "\nall " << job.dataset.size() << " cases can be read\n";
    return app::success;
  }

  const Group group = training::join(launch, job.options.loop.device);
  job.options.loop.group = &group;
  check<DataError>(group.broadcast(job.card.data_fingerprint) == job.card.data_fingerprint, settings.data, ": rank ",
                   group.rank(), " sees other volumes here than rank 0");
  const bool resume = !settings.run.resume.empty();
  const app::RunFolder run = training::folder_of(
      settings.run, group, settings.run.name.empty() ? fs::path(settings.data).filename().string() : settings.run.name,
      [&](const app::RunFolder& folder) {
        folder.write("run.toml", options.to_toml());
        folder.write("cases.json", job.parts.to_json(job.dataset));
      });
  if (!group.first()) {
    train(job, run, resume, progress);
    return app::success;
  }
  training::Manifest manifest(
      run, settings.run, group,
      Json::object({{"path", settings.data}, {"fingerprint", job.card.data_fingerprint}, {"cases", job.dataset.size()}}),
      job.card.to_json());
  progress.say("run folder " + run.path().string());
  if (group.size() > 1) progress.say(join_text(group.size(), " processes over ", group.transport()));
  train(job, run, resume, progress);
  manifest.finish(watch.seconds());
  const auto report = [&] {
    if (settings.run.report) std::cout << "report             " << write_training_report(run) << '\n';
  };
  try {
    if (settings.tune) tune_run(job, run, progress);
  } catch (const app::Interrupted&) {
    report();
    throw app::Interrupted(app::with_hint("interrupted: the training is done, its post-processing is not chosen yet",
                                          "cuboid deepis tune " + run.path().string()));
  }
  report();
  return app::success;
}

}  // namespace cuboid::deepis
