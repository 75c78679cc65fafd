// SPDX-License-Identifier: Apache-2.0
#include "apps/training/run.h"

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <iostream>
#include <mutex>
#include <thread>

#include "apps/app.h"
#include "apps/text.h"

namespace cuboid::training {
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

Json log_line(const Telling& telling, const EpochReport& r) {
  Json line = telling.about;
  line["epoch"] = r.epoch + 1;
  line["step"] = r.steps;
  line["train_loss"] = app::finite(r.train_loss);
  for (const auto& [name, value] : r.valid) {
    std::string key = "valid_" + name;
    for (char& c : key)
      if (c == '-') c = '_';
    line[key] = app::finite(value);
  }
  line["lr"] = r.lr;
  line["seconds"] = r.seconds;
  line[telling.unit + "_per_second"] = r.samples_per_second;
  line["best"] = r.best;
  line["peak_memory_bytes"] = app::peak_resident_bytes();
  if (r.device_peak_bytes > 0) line["device_peak_memory_bytes"] = r.device_peak_bytes;
  return line;
}

std::string epoch_text(const Telling& telling, const EpochReport& r, std::int64_t epochs) {
  std::string text = telling.part ? telling.title + "  " : "";
  text += "epoch " + std::to_string(r.epoch + 1) + "/" + std::to_string(epochs) + "  loss " + app::fixed(r.train_loss, 4);
  if (r.validated) text += "  valid " + app::fixed(r.metric("loss"), 4);
  if (r.validated && telling.metrics) text += "  " + telling.metrics(r);
  return text + "  lr " + app::shortest(std::round(r.lr * 1e9) / 1e9) + "  " + app::fixed(r.samples_per_second, 1) + " " +
         telling.unit + "/s  " + app::bytes_text(static_cast<double>(app::resident_bytes())) + (r.best ? "  *" : "");
}

/// Of this training, only epochs up to limit's; of others, all.
bool stays_in_log(const Json& line, const Json& limit) {
  for (const auto& [key, value] : limit.as_object())
    if (key != "epoch" && !(line.at(key) == value)) return true;
  return line.at("epoch").as_int() <= limit.at("epoch").as_int();
}

}  // namespace

std::vector<std::string> with_run_options(const std::vector<std::string>& arguments) {
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

Group join(const Launch& launch, Device device) {
  return Group(launch, {.device = device, .on_lost = [](const std::string& what) { loss_of_rank.tell(what); }});
}

app::RunFolder folder_of(const Settings& settings, const Group& group, const std::string& name,
                         const std::function<void(const app::RunFolder&)>& begin) {
  if (!group.first()) return app::RunFolder::existing(group.broadcast(std::string()));
  const bool resume = !settings.resume.empty();
  app::RunFolder folder = resume                    ? app::RunFolder::existing(settings.resume)
                          : settings.output.empty() ? app::RunFolder::numbered(settings.runs, name)
                                                    : app::RunFolder::at(settings.output, settings.overwrite);
  if (!resume) begin(folder);
  group.broadcast(fs::absolute(folder.path()).string());
  return folder;
}

Manifest::Manifest(const app::RunFolder& folder, const Settings& settings, const Group& group, Json data, Json model)
    : folder_(folder), json_(app::environment_manifest(settings.common.where())) {
  json_["seed"] = settings.common.seed;
  json_["data"] = std::move(data);
  json_["model"] = std::move(model);
  if (group.size() > 1) json_["ranks"] = Json::object({{"count", group.size()}, {"transport", group.transport()}});
  json_["finished"] = Json();
  folder_.write("manifest.json", json_);
}

void Manifest::finish(double seconds) {
  json_["finished"] = app::utc_now();
  json_["seconds"] = seconds;
  json_["peak_memory_bytes"] = app::peak_resident_bytes();
  folder_.write("manifest.json", json_);
}

void run(Trainer& trainer, const app::RunFolder& folder, const Telling& telling, app::Progress& progress, bool resumed) {
  app::catch_signals();
  if (resumed && trainer.finished()) return progress.say(telling.name + ": finished before");
  if (resumed)
    progress.say(telling.name + ": continues in epoch " + std::to_string(trainer.epoch() + 1) + " at step " +
                 std::to_string(trainer.step()));
  const bool first = trainer.options().rank() == 0;
  Json limit = telling.about;
  limit["epoch"] = trainer.epoch();
  if (first) folder.trim_log(stays_in_log, limit);
  std::int64_t shown_epoch = -1;
  const Trainer::Hooks hooks{.on_batch =
                                 [&](std::int64_t epoch, std::int64_t batch, std::int64_t batches, double loss) {
                                   if (epoch != shown_epoch)
                                     progress.begin(telling.title + " epoch " + std::to_string(epoch + 1), batches);
                                   shown_epoch = epoch;
                                   progress.update(batch, "loss " + app::fixed(loss, 4));
                                 },
                             .on_epoch =
                                 [&](const EpochReport& report) {
                                   if (!first) return;
                                   folder.log(log_line(telling, report));
                                   progress.say(epoch_text(telling, report, trainer.options().epochs));
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

}  // namespace cuboid::training
