// SPDX-License-Identifier: Apache-2.0
// cuboid deepis tune
#include <iostream>

#include "apps/commands.h"
#include "apps/deepis/evaluate.h"
#include "apps/deepis/parts.h"
#include "apps/deepis/train.h"
#include "apps/deepis/tune.h"
#include "apps/text.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

struct Settings {
  std::string model, data, split = "valid", tta = "none", output;
  app::Common common;
};

bool is_run(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path / "checkpoints", error);
}

/// The cases by which the best epoch of a run was chosen, or those of a dataset's part.
std::vector<std::int64_t> cases_of(const Settings& s, const LabelledDataset& dataset, bool own_data) {
  std::vector<std::int64_t> found;
  if (own_data && s.split == "valid") {
    const app::RunFolder run = app::RunFolder::existing(s.model);
    if (run.has("cases.json")) {
      const Json parts = run.read_json("cases.json");
      for (const Json& name : parts.at("valid").as_array())
        for (std::int64_t i = 0; i < dataset.size(); ++i)
          if (name.as_string() == dataset[i].name) found.push_back(i);
      check<DataError>(found.size() == parts.at("valid").size(), s.model, ": ", parts.at("valid").size(),
                       " cases for 'valid' in cases.json, the data has ", found.size(), " of them");
    }
  } else {
    found = dataset.part(s.split);
  }
  check<DataError>(
      !found.empty(),
      app::with_hint(s.data + ": no cases of the part '" + s.split + "' to choose values on; the model keeps what it has",
                     "deepis prepare --valid NAME or --split-z makes that part; --split train takes the cases the net "
                     "has learnt by heart, which look better than others will"));
  return found;
}

std::string table_text(const Json& sweep) {
  const auto rows = sweep_table(sweep);
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (std::size_t k = 0; k < row.size(); ++k) widths[k] = std::max(widths[k], row[k].size());
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t k = 0; k + 1 < row.size(); ++k) text += std::string(widths[k] + 2 - row[k].size(), ' ') + row[k];
    text += (row.back().empty() ? "" : "  " + row.back()) + "\n";
  }
  return text;
}

}  // namespace

int tune_command(const Arguments& arguments) {
  Settings s;
  app::Options options("deepis tune",
                       "Chooses what turns a model's distances or scores into labels, on validation cases, and keeps it in the "
                       "model. Training does so at its end.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis tune runs/latest", "on the cases that chose its best epoch");
  options.example("cuboid deepis tune model.safetensors -d prepared/ -o tuned.safetensors",
                  "a model on other data, as a new file");
  options.positional("model", &s.model, "a run folder, or weights").required();
  options.add("-d,--data", &s.data, "the dataset; a run knows its own");
  options.add("--split", &s.split, "its part; never the one the figures are to come from").choices({"valid", "train"});
  options.add("--tta", &s.tta, "mirror: as predict with --tta mirror, 8 times the work").choices({"none", "mirror"});
  options.add("-o,--output", &s.output, "write the model here; default: into its own file").not_saved();
  s.common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  s.common.apply();
  app::catch_signals();
  const bool of_run = is_run(s.model), own_data = s.data.empty();
  const Model model = load_model(s.model, {.device = s.common.where()});
  if (own_data) {
    check<app::UsageError>(of_run, app::with_hint("tune: no --data: " + s.model + " is no run folder, which would know its data",
                                                  "cuboid deepis tune " + s.model + " -d prepared/"));
    s.data = app::RunFolder::existing(s.model).read_json("manifest.json").at("data").at("path").as_string();
  }
  LabelledOptions labelled{.head = model.card.head, .normalise = model.card.normalise};
  if (model.card.head != Head::instances) labelled.class_names = model.card.classes;
  const LabelledDataset dataset = open_labelled_dataset(s.data, labelled);
  const auto cases = cases_of(s, dataset, own_data);
  if (s.common.dry_run) {
    std::cout << options.origin_table();
    for (const std::int64_t i : cases) std::cout << dataset[i].name << ": " << dataset[i].image.string() << '\n';
    return app::success;
  }
  app::Progress progress("cases", s.common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  const Tuned tuned = tune(model, dataset, cases, {.mirror = s.tta == "mirror"}, progress);
  const fs::path to = s.output.empty() ? fs::path(model.source) : fs::path(s.output);
  keep_postprocess(model.source, model.card, tuned.sweep.best().options, to);
  const Json json = to_json(tuned);
  if (s.common.json) std::cout << json.dump(2) << '\n';
  else std::cout << table_text(json) << '\n' << text_of(tuned) << "\nkept in            " << to.string() << '\n';
  if (!of_run || !s.output.empty()) return app::success;
  const app::RunFolder run = app::RunFolder::existing(s.model);
  run.write(tuned_file, json);
  if (run.has("eval/summary.json")) progress.say("note: 'cuboid deepis evaluate " + s.model + "' judges the run anew");
  else if (run.has("report.html")) write_training_report(run);
  return app::success;
}

}  // namespace cuboid::deepis
