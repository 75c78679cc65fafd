// SPDX-License-Identifier: Apache-2.0
// cuboid csf train: folds, one trainer each, then evaluation and report.
#include "apps/csf/train.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iostream>
#include <mutex>
#include <thread>

#include "apps/commands.h"
#include "apps/csf/evaluation.h"
#include "apps/csf/report.h"
#include "apps/csf/settings.h"
#include "apps/csf/trainer.h"
#include "apps/progress.h"
#include "apps/run_folder.h"
#include "apps/text.h"

namespace cuboid::csf {
namespace fs = std::filesystem;
namespace {

/// What the group's watch says of a rank that is gone.
class Loss {
 public:
  void tell(const std::string& what) {
    const std::scoped_lock lock(guard_);
    what_ = what;
  }
  std::string what() const {
    const std::scoped_lock lock(guard_);
    return what_;
  }

 private:
  mutable std::mutex guard_;
  std::string what_;
};
Loss loss_of_rank;

/// A training step of a large net may take longer than a user, or the system, waits. When the training has not stopped
/// by itself after `patience`, this thread saves what was true after the last step and ends the process. Likewise where another
/// process was lost and this one is too busy to notice.
class LastResort {
 public:
  explicit LastResort(Trainer& trainer)
      : watcher_([this, &trainer] {
          double waited = 0;
          while (!done_) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            const std::string lost = loss_of_rank.what();
            if (!app::stop_signal() && lost.empty()) continue;
            const double patience = app::stop_signal() ? 1.5 : 5;
            if ((waited += 0.05) < patience) continue;
            try {
              trainer.save_from_outside();
            } catch (const std::exception& e) {
              std::cerr << "error: " << e.what() << '\n';
              app::end_suddenly(app::runtime_error);
            }
            if (done_) return;
            if (!app::stop_signal()) {
              std::cerr << "error: " << lost << '\n';
              _exit(app::runtime_error);
            }
            std::cerr << "interrupted: the checkpoint is saved\n";
            app::end_suddenly(app::interrupted);
          }
        }) {}
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;
  ~LastResort() {
    done_ = true;
    watcher_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread watcher_;
};

Json log_line(std::int64_t fold, const EpochReport& r) {
  Json line = Json::object({{"fold", fold},
                            {"epoch", r.epoch + 1},
                            {"step", r.steps},
                            {"train_loss", finite(r.train_loss)},
                            {"valid_loss", finite(r.valid_loss)},
                            {"valid_accuracy", finite(r.valid_accuracy)},
                            {"valid_balanced_accuracy", finite(r.valid_balanced_accuracy)},
                            {"valid_auroc", finite(r.valid_auroc)},
                            {"lr", r.lr},
                            {"seconds", r.seconds},
                            {"cells_per_second", r.cells_per_second},
                            {"best", r.best},
                            {"peak_memory_bytes", app::peak_resident_bytes()}});
  if (r.device_peak_bytes > 0) line["device_peak_memory_bytes"] = r.device_peak_bytes;
  return line;
}

std::string epoch_text(const EpochReport& r, std::int64_t epochs) {
  const auto percent = [](double v) { return std::isnan(v) ? "-" : app::fixed(100 * v, 1) + " %"; };
  const std::string valid = std::isnan(r.valid_loss)
                                ? ""
                                : "  valid " + app::fixed(r.valid_loss, 4) + "  bal.acc " + percent(r.valid_balanced_accuracy) +
                                      "  AUROC " + app::fixed(r.valid_auroc, 3);
  return "epoch " + std::to_string(r.epoch + 1) + "/" + std::to_string(epochs) + "  loss " + app::fixed(r.train_loss, 4) + valid +
         "  lr " + app::shortest(std::round(r.lr * 1e9) / 1e9) + "  " + app::fixed(r.cells_per_second, 1) + " cells/s  " +
         app::bytes_text(static_cast<double>(app::resident_bytes())) + (r.best ? "  *" : "");
}

void train_fold(const TrainJob& job, const app::RunFolder& run, std::int64_t number, bool resume, app::Progress& progress) {
  const auto folds = static_cast<std::int64_t>(job.split.folds.size());
  const fs::path checkpoints = run.file(checkpoint_name(number, folds, "last")).parent_path();
  Trainer trainer(job.options, job.card, job.dataset, job.split.folds[static_cast<std::size_t>(number - 1)], checkpoints);
  bool resumed = resume && trainer.resume();
  if (!resumed && job.carry_over && number > 1)
    trainer.carry_over(run.file(checkpoint_name(number - 1, folds, "last")).parent_path());
  if (resumed && trainer.finished()) return progress.say("fold " + std::to_string(number) + ": finished before");
  if (resumed)
    progress.say("fold " + std::to_string(number) + ": continues in epoch " + std::to_string(trainer.epoch() + 1) + " at step " +
                 std::to_string(trainer.step()));
  const bool first = !job.options.group || job.options.group->first();
  if (first)
    run.trim_log(
        [](const Json& line, const Json& limit) {
          return line.at("fold").as_int() != limit[0].as_int() || line.at("epoch").as_int() <= limit[1].as_int();
        },
        Json::array({number, trainer.epoch()}));
  const std::string title = folds > 1 ? "fold " + std::to_string(number) + "/" + std::to_string(folds) : "training";
  std::int64_t shown_epoch = -1;
  const Trainer::Hooks hooks{.on_batch =
                                 [&](std::int64_t epoch, std::int64_t batch, std::int64_t batches, double loss) {
                                   if (epoch != shown_epoch)
                                     progress.begin(title + " epoch " + std::to_string(epoch + 1), batches);
                                   shown_epoch = epoch;
                                   progress.update(batch, "loss " + app::fixed(loss, 4));
                                 },
                             .on_epoch =
                                 [&](const EpochReport& report) {
                                   if (!first) return;
                                   run.log(log_line(number, report));
                                   progress.say((folds > 1 ? title + "  " : "") + epoch_text(report, job.options.epochs));
                                 },
                             .stop = [] { return app::stop_signal() != 0; }};
  const LastResort last_resort(trainer);
  try {
    trainer.run(hooks);
  } catch (const RankLost&) {
    trainer.save_from_outside();
    if (app::stop_signal()) throw app::Interrupted("interrupted: the checkpoint is saved");
    throw;
  }
}

}  // namespace

Predictions train_folds(const TrainJob& job, const app::RunFolder& run, bool resume, app::Progress& progress) {
  app::catch_signals();
  const auto folds = static_cast<std::int64_t>(job.split.folds.size());
  Predictions predictions{job.dataset.class_names(), {}};
  for (std::int64_t number = 1; number <= folds; ++number) {
    if (!job.only.empty() && std::find(job.only.begin(), job.only.end(), number) == job.only.end()) continue;
    train_fold(job, run, number, resume, progress);
    if (job.options.group && !job.options.group->first()) continue;
    Model model = load_model(run.file(checkpoint_name(number, folds, "best")), {.device = job.options.device});
    const Fold& fold = job.split.folds[static_cast<std::size_t>(number - 1)];
    predict_cells(model, job.dataset, fold.test, number, job.options.batch, {.bf16 = job.options.bf16}, predictions);
  }
  return predictions;
}

double training_memory_estimate(const ModelCard& card, const TrainOptions& options) {
  DenseNet net(card.net);
  Shape input = {options.batch};
  for (const auto d : card.input) input.push_back(d);
  double activations = 0;
  for (const auto& stage : net.stages(input)) activations += static_cast<double>(stage.output.count());
  // Kept until the backward pass: the slab of a block and its bottlenecks (bn_size x growth for each growth channels), and the
  // gradient of one slab.
  const double per_value = 4.0 * (2.0 + static_cast<double>(card.net.bn_size));
  const double slots = options.optimiser == "sgd" ? (options.momentum > 0 ? 1 : 0) : 2;
  return activations * per_value + 4.0 * static_cast<double>(net.parameter_count()) * (2 + slots + (options.ema > 0 ? 1 : 0)) +
         4.0 * static_cast<double>(input.count()) * 4;
}

namespace {

/// --resume FOLDER reads the options from FOLDER/run.toml.
app::Arguments with_run_options(const app::Arguments& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string folder;
    if (arguments[i] == "--resume" && i + 1 < arguments.size()) folder = arguments[i + 1];
    if (arguments[i].starts_with("--resume=")) folder = arguments[i].substr(9);
    if (folder.empty()) continue;
    app::Arguments all = {"--config", (app::RunFolder::existing(folder).path() / "run.toml").string()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
  return arguments;
}

void print_plan(const app::Options& options, const TrainJob& job, const std::string& folds_table) {
  DenseNet net(job.card.net);
  std::cout << "options\n" << options.origin_table() << "\nplan\n";
  std::cout << "  cells        " << job.dataset.size() << " of shape " << job.card.input << ", " << job.dataset.classes()
            << " classes\n";
  std::cout << "  parameters   " << app::grouped(net.parameter_count()) << "\n";
  std::cout << "  memory       about " << app::bytes_text(training_memory_estimate(job.card, job.options)) << " for a batch of "
            << job.options.batch << "\n\nfolds\n"
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
  if (!app::parse_or_help(options, with_run_options(arguments))) return app::success;
  const Launch launch = launch_of_environment();
  use_local_device(launch);
  settings.common.apply();
  const app::Stopwatch watch;
  app::Progress progress("batches",
                         settings.common.quiet || launch.rank > 0 ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);

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
  check<app::UsageError>(job.options.batch >= launch.size, "--batch-size ", job.options.batch,
                         ": the cells of a batch are shared by ", launch.size, " processes, and each needs one");
  for (const auto& note : job.split.notes) progress.say("note: " + note);
  if (settings.carry_over) progress.say("warning: --carry-over leaks test cells of one fold into the training of the next");
  if (settings.common.dry_run) {
    if (launch.rank > 0) return app::success;
    print_plan(options, job, table);
    job.dataset.verify();
    std::cout << "\nall " << job.dataset.size() << " cells can be read\n";
    return app::success;
  }

  const std::string name = settings.name.empty() ? fs::path(settings.data.data).filename().string() : settings.name;
  const bool resume = !settings.resume.empty();
  const Group group(launch, {.device = job.options.device, .on_lost = [](const std::string& what) { loss_of_rank.tell(what); }});
  job.options.group = &group;
  check<DataError>(group.broadcast(job.card.data_fingerprint) == job.card.data_fingerprint, settings.data.data, ": rank ",
                   group.rank(), " sees other cells here than rank 0");
  const auto make_folder = [&] {
    const app::RunFolder run = resume                    ? app::RunFolder::existing(settings.resume)
                               : settings.output.empty() ? app::RunFolder::numbered(settings.runs, name)
                                                         : app::RunFolder::at(settings.output, settings.overwrite);
    if (!resume) {
      run.write("run.toml", options.to_toml());
      write_split(run.file("split.json"), job.split, job.dataset);
    }
    group.broadcast(fs::absolute(run.path()).string());
    return run;
  };
  const app::RunFolder run = group.first() ? make_folder() : app::RunFolder::existing(group.broadcast(std::string()));
  if (!group.first()) {
    train_folds(job, run, resume, progress);
    return app::success;
  }
  Json manifest = app::environment_manifest(settings.common.where());
  manifest["seed"] = settings.common.seed;
  manifest["data"] =
      Json::object({{"path", settings.data.data}, {"fingerprint", job.card.data_fingerprint}, {"cells", job.dataset.size()}});
  manifest["model"] = job.card.to_json();
  if (group.size() > 1) manifest["ranks"] = Json::object({{"count", group.size()}, {"transport", group.transport()}});
  manifest["finished"] = Json();
  run.write("manifest.json", manifest);
  progress.say("run folder " + run.path().string());
  if (group.size() > 1) progress.say(join_text(group.size(), " processes over ", group.transport()));
  const Predictions predictions = train_folds(job, run, resume, progress);
  manifest["finished"] = app::utc_now();
  manifest["seconds"] = watch.seconds();
  manifest["peak_memory_bytes"] = app::peak_resident_bytes();
  run.write("manifest.json", manifest);
  if (!settings.report || predictions.cells.empty()) return app::success;
  const Json summary = summarise(predictions, {.seed = settings.train.seed});
  write_evaluation(run, predictions, summary);
  const std::string report = write_report(run);
  if (settings.common.json) std::cout << summary.dump(2) << '\n';
  else std::cout << summary_text(summary) << "report             " << report << '\n';
  return app::success;
}

}  // namespace cuboid::csf
