// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/predict_run.h"

#include <algorithm>
#include <cmath>

#include "apps/app.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/files.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

constexpr const char* record_name = "predict.json";

bool known(const Spacing& s) {
  return std::all_of(s.begin(), s.end(), [](double v) { return std::isfinite(v) && v > 0; });
}

std::string spacing_text(const Spacing& s) {
  return known(s) ? app::shortest(s[0]) + " x " + app::shortest(s[1]) + " x " + app::shortest(s[2]) + " um" : "unknown voxels";
}

template <class T>
Json numbers(const T& values) {
  Json list = Json::array();
  for (const auto v : values) list.push_back(v);
  return list;
}

std::string size_text(const Shape& s) {
  return std::to_string(s[0]) + " x " + std::to_string(s[1]) + " x " + std::to_string(s[2]);
}

std::string checksum(const fs::path& file) {
  const FileReader reader(file);
  std::string piece;
  std::uint32_t crc = 0;
  for (std::int64_t at = 0; at < reader.size(); at += 1 << 20) {
    piece = reader.read_at(at, static_cast<std::size_t>(std::min<std::int64_t>(1 << 20, reader.size() - at)));
    crc = crc32c(piece.data(), piece.size(), crc);
  }
  return hex8(crc);
}

std::int64_t bytes_in(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  return error ? -1 : static_cast<std::int64_t>(size);
}

}  // namespace

PredictRun::PredictRun(const Model& model, std::vector<PredictCase> cases, const PredictSettings& settings)
    : model_(model), cases_(std::move(cases)), settings_(settings) {}

PlannedCase PredictRun::look_at(const PredictCase& one) const {
  const PredictInput input(one);
  const std::string file = one.file.string();
  PlannedCase planned{.what = one, .shape = input.shape()};
  check<DataError>(planned.shape[0] == model_.card.net.in_channels,
                   app::with_hint(join_text(file, ": ", planned.shape[0], " channels, shape ", planned.shape, "; the model sees ",
                                            model_.card.net.in_channels),
                                  "'cuboid info' shows what a file holds"));
  for (const auto& note : input.about().notes) planned.notes.push_back(note);
  if (input.about().spacing_known) planned.spacing_um = spacing_um(input.about());
  else if (known(one.spacing_um)) planned.spacing_um = one.spacing_um;
  else if (known(settings_.spacing_um)) planned.spacing_um = settings_.spacing_um;
  else if (known(model_.card.spacing_um)) {
    planned.spacing_um = model_.card.spacing_um;
    planned.notes.emplace_back("the file does not say how large its voxels are: taken as the model's");
  } else {
    planned.notes.emplace_back("nobody says how large the voxels are: distances count voxels as 1 um");
  }
  planned.seen =
      seen_shape({planned.shape[1], planned.shape[2], planned.shape[3]}, planned.spacing_um, model_.card, settings_.predict);
  check<DataError>(
      planned.seen.count() <= 64 * planned.shape.count(),
      app::with_hint(join_text(file, ": voxels of ", spacing_text(planned.spacing_um), ", the model knows ",
                               spacing_text(model_.card.spacing_um), ": resampling would make ", size_text(planned.seen), " of ",
                               size_text({planned.shape[1], planned.shape[2], planned.shape[3]})),
                     "--no-resample takes the voxels as they are"));
  if (planned.seen != Shape({planned.shape[1], planned.shape[2], planned.shape[3]}))
    planned.notes.push_back("voxels of " + spacing_text(planned.spacing_um) + ", the model knows " +
                            spacing_text(model_.card.spacing_um) + ": resampled to " + size_text(planned.seen) + " and back");
  app::SlidingWindowOptions window = settings_.predict.window;
  window.window = window_of(model_.card, settings_.predict);
  const app::WindowGrid grid(planned.seen, window);
  planned.images = grid.windows() * grid.views();
  planned.output = {.folder = settings_.output,
                    .format = format_for(one.file),
                    .head = model_.card.head,
                    .distance = settings_.distance,
                    .labels = settings_.labels,
                    .spacing_um = planned.spacing_um,
                    .postprocess = settings_.predict.postprocess};
  if (!settings_.format.empty())
    planned.output.format = static_cast<OutputFormat>(std::find(output_formats.begin(), output_formats.end(), settings_.format) -
                                                      output_formats.begin());
  return planned;
}

void PredictRun::plan(app::Progress& progress) {
  check_folder();
  progress.begin("look", static_cast<std::int64_t>(cases_.size()));
  for (const PredictCase& one : cases_) {
    planned_.push_back(look_at(one));
    const PlannedCase& p = planned_.back();
    images_ += p.images;
    const PredictInput input(one);
    memory_.widen({.windows = predict_planes_bytes(model_.card, p.shape, p.spacing_um, settings_.predict),
                   .input = input.bytes(),
                   .output = PredictOutput::bytes(p.shape, p.output),
                   .checking = input.bytes_to_check(model_.card.normalise),
                   .finishing = input.bytes() + PredictOutput::bytes_to_finish(p.shape, p.output)});
    progress.update(static_cast<std::int64_t>(planned_.size()), "");
  }
  check_files();
  memory_.cost = try_net(model_, settings_.predict, {memory_.windows / 2, memory_.windows / 2, memory_.input, memory_.output},
                         settings_.max_ram);
  record_["memory"] = memory_.to_json();
}

std::string PredictRun::plan_text() const {
  const Shape window = window_of(model_.card, settings_.predict);
  Shape largest = planned_.front().shape;
  for (const auto& p : planned_)
    if (p.shape.count() > largest.count()) largest = p.shape;
  const std::int64_t views = settings_.predict.window.mirror ? 8 : 1;
  std::string text = "model    " + model_.source + ": " + head_names[static_cast<std::size_t>(model_.card.head)] + ", " +
                     spacing_text(model_.card.spacing_um) + ", " + model_.card.normalise.text() + "\n";
  text += "input    " + std::to_string(planned_.size()) + (planned_.size() == 1 ? " volume, " : " volumes, the largest ") +
          size_text({largest[1], largest[2], largest[3]}) + " (z,y,x)\n";
  text +=
      "windows  " + app::grouped(images_ / views) + " of " + size_text(window) + (views > 1 ? ", each in 8 views" : "") + "\n";
  text += "memory   " + memory_.text() + "\n";
  if (memory_.cost.seconds > 0)
    text += "time     about " + app::duration_text(static_cast<double>(images_) * memory_.cost.seconds) + "\n";
  return text;
}

void PredictRun::check_memory() const {
  if (settings_.max_ram == 0 || memory_.peak() <= settings_.max_ram) return;
  const std::int64_t mib = std::int64_t{1} << 20, needed = (memory_.peak() + memory_.peak() / 50 + mib - 1) / mib;
  const std::string hint =
      join_text("the least that will do is --max-ram ", needed, "M; a smaller --patch needs less",
                settings_.predict.window.batch > 1 ? ", so does --batch-size 1" : "",
                settings_.predict.bf16 ? "" : ", so does --precision bf16", "; both change the result a little");
  fail<OutOfMemory>(app::with_hint(join_text("--max-ram ", app::bytes_text(static_cast<double>(settings_.max_ram)),
                                             " is less than this prediction takes, ", memory_.text()),
                                   hint));
}

std::vector<std::string> PredictRun::notes() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_text;
  for (const auto& p : planned_)
    for (const auto& note : p.notes) {
      auto at = std::find_if(by_text.begin(), by_text.end(), [&](const auto& one) { return one.first == note; });
      if (at == by_text.end()) at = by_text.insert(at, {note, {}});
      at->second.push_back(p.what.name);
    }
  std::vector<std::string> lines;
  for (const auto& [text, names] : by_text)
    lines.push_back(names.front() + (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "") + ": " + text);
  return lines;
}

Json PredictRun::settings_json() const {
  const app::SlidingWindowOptions& w = settings_.predict.window;
  return Json::object({{"model", checksum(model_.source)},
                       {"window", numbers(window_of(model_.card, settings_.predict))},
                       {"overlap", w.overlap},
                       {"gaussian", w.gaussian},
                       {"tta", w.mirror ? "mirror" : "none"},
                       {"batch", w.batch},
                       {"bf16", settings_.predict.bf16},
                       {"resample", settings_.predict.resample},
                       {"format", settings_.format},
                       {"distance", settings_.distance},
                       {"labels", settings_.labels},
                       {"spacing_um", numbers(settings_.spacing_um)},
                       {"postprocess", to_json(settings_.predict.postprocess)}});
}

void PredictRun::check_folder() {
  const fs::path record = settings_.output / record_name;
  std::error_code error;
  record_ = Json::object({{"format", "cuboid.predict.1"},
                          {"model", Json::object({{"file", model_.source},
                                                  {"head", head_names[static_cast<std::size_t>(model_.card.head)]},
                                                  {"classes", Json(model_.card.classes)}})},
                          {"settings", settings_json()},
                          {"memory", Json::object()},
                          {"cases", Json::array()},
                          {"failed", Json::array()},
                          {"environment", app::environment_manifest(model_.net->device())}});
  if (settings_.overwrite || !fs::exists(record, error)) return;
  check<app::UsageError>(settings_.resume, app::with_hint(settings_.output.string() + ": holds predictions already",
                                                          "--resume adds what is missing, --overwrite makes all of them again"));
  const Json before = Json::parse(read_file(record), record.string());
  for (const auto& [key, value] : record_.at("settings").as_object()) {
    const Json* then = before.at("settings").find(key);
    check<app::UsageError>(then && *then == value,
                           app::with_hint(join_text(settings_.output.string(), ": was begun with another ", key,
                                                    then ? ": " + then->dump() : std::string(), ", now ", value.dump()),
                                          "choose another folder, or --overwrite"));
  }
  record_["cases"] = before.at("cases");
}

void PredictRun::check_files() const {
  std::error_code error;
  if (settings_.overwrite || settings_.resume) return;
  for (const auto& p : planned_) {
    const Json files = PredictOutput::files(p.what.name, p.output);
    for (const auto& [what, file] : files.as_object())
      check<app::UsageError>(!fs::exists(settings_.output / file.as_string(), error),
                             (settings_.output / file.as_string()).string(), ": exists; pass --overwrite to replace it");
  }
}

void PredictRun::write_record() const { atomic_write(settings_.output / record_name, record_.dump(2) + "\n"); }

bool PredictRun::is_done(const PlannedCase& one) const {
  std::error_code error;
  for (const Json& done : record_.at("cases").as_array()) {
    if (done.get("name", "") != one.what.name) continue;
    const Json files = PredictOutput::files(one.what.name, one.output);
    if (done.get("input", "") != one.what.file.string() || done.get("input_bytes", -1) != bytes_in(one.what.file) ||
        !(done.at("files") == files))
      return false;
    return std::all_of(files.as_object().begin(), files.as_object().end(),
                       [&](const auto& member) { return fs::exists(settings_.output / member.second.as_string(), error); });
  }
  return false;
}

Json PredictRun::predict_one(const PlannedCase& one, app::Progress& progress, const std::function<bool()>& stop) {
  const app::Stopwatch watch;
  release_cached_memory();
  const MemoryLimit limit(settings_.max_ram);
  PredictInput input(one.what);
  input.set_spacing(one.spacing_um);
  input.check_and_measure(model_.card.normalise);
  release_cached_memory();
  PredictOutput output(one.what.name, input, one.output);
  PredictOptions options = settings_.predict;
  const std::int64_t before = images_done_;
  options.window.progress = [&, said = app::Stopwatch()](std::int64_t done, std::int64_t) mutable {
    images_done_ = before + done;
    progress.update(images_done_, one.what.name);
    if (stop()) throw app::Interrupted("");
  };
  predict_planes(
      model_, one.shape, one.spacing_um, input.planes(),
      [&](std::int64_t first, const Tensor& planes) { output.write(first, planes); }, options);
  release_cached_memory();
  output.finish();
  Json notes = Json::array();
  for (const auto& note : one.notes) notes.push_back(note);
  for (const auto& note : output.notes()) notes.push_back(note);
  for (const auto& note : output.notes()) progress.say("note: " + one.what.name + ": " + note);
  Json result = Json::object(
      {{"name", one.what.name},
       {"input", one.what.file.string()},
       {"input_bytes", bytes_in(one.what.file)},
       {"shape", numbers(Shape{one.shape[1], one.shape[2], one.shape[3]})},
       {"spacing_um", known(one.spacing_um) ? numbers(one.spacing_um) : Json()},
       {"files", PredictOutput::files(one.what.name, one.output)},
       {"seconds", watch.seconds()},
       {"windows", one.images},
       {"postprocess", to_json(resolved(one.output.postprocess, known(one.spacing_um) ? one.spacing_um : Spacing{1, 1, 1}))},
       {"found", output.found()},
       {"notes", notes}});
  if (!one.what.entry.empty()) result["entry"] = one.what.entry;
  if (!one.what.series.empty()) result["series"] = one.what.series;
  if (one.what.frame >= 0) result["frame"] = one.what.frame;
  return result;
}

/// In the order of the plan, in the place of an older one.
void PredictRun::add_result(const Json& result) {
  auto& cases = record_["cases"].as_array();
  std::erase_if(cases, [&](const Json& one) { return one.get("name", "") == result.get("name", ""); });
  cases.push_back(result);
  const auto place = [&](const Json& one) {
    const auto at =
        std::find_if(planned_.begin(), planned_.end(), [&](const auto& p) { return p.what.name == one.get("name", ""); });
    return at - planned_.begin();
  };
  std::stable_sort(cases.begin(), cases.end(), [&](const Json& a, const Json& b) { return place(a) < place(b); });
}

Json PredictRun::run(app::Progress& progress, const std::function<bool()>& stop) {
  std::error_code error;
  fs::create_directories(settings_.output, error);
  check(!error, settings_.output.string(), ": cannot make the folder: ", error.message());
  sweep_unfinished_writes(settings_.output);
  std::int64_t there = 0, done = 0;
  std::vector<const PlannedCase*> missing;
  for (const auto& p : planned_) {
    if (is_done(p)) ++there, images_ -= p.images;
    else missing.push_back(&p);
  }
  if (there > 0) progress.say(std::to_string(there) + " of " + std::to_string(planned_.size()) + " volumes are there already");
  write_record();
  progress.begin("predict", images_);
  for (const PlannedCase* p : missing) {
    const std::int64_t before = images_done_;
    try {
      const Json result = predict_one(*p, progress, stop);
      add_result(result);
      ++done;
    } catch (const app::Interrupted&) {
      fail<app::Interrupted>("interrupted: ", there + done, " of ", planned_.size(), " volumes are done and whole in ",
                             settings_.output.string(), "; the same command with --resume goes on");
    } catch (const DataError& e) {
      if (planned_.size() == 1) throw;
      progress.say("error: " + std::string(e.what()));
      record_["failed"].push_back(
          Json::object({{"name", p->what.name}, {"input", p->what.file.string()}, {"error", std::string(e.what())}}));
      images_done_ = before + p->images;
    }
    record_["memory"]["measured"] = app::peak_resident_bytes();
    write_record();
  }
  write_record();
  return record_;
}

}  // namespace cuboid::deepis
