// SPDX-License-Identifier: Apache-2.0
// cuboid csf prepare and cuboid csf split.
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/prepare.h"
#include "apps/csf/settings.h"
#include "apps/progress.h"
#include "core/json.h"

namespace cuboid::csf {

int prepare_command(const Arguments& arguments) {
  PrepareOptions prepare_options;
  std::string input, centres, output, padding = "append", normalise = "after-crop", order = "zyx";
  app::Common common;
  app::Options options("csf prepare", "Crops a cube round each given centre, scales it to [0,1] and writes a quality table.");
  options.other_commands(app::command_names());
  options.example("cuboid csf prepare -i tomograms/ --centres centres.csv -o cells/", "64x64x64 crops as .npy");
  options.add("-i,--input", &input, "folder of tomograms (npy, TIFF, TCF)").required();
  options.add("--centres", &centres, "csv: file,x,y,z[,label][,group][,class]").required();
  options.add("-o,--output", &output, "folder for the crops").required();
  options.add("--size", &prepare_options.size, "edge in voxels").at_least(1).at_most(4096);
  options.add("--padding", &padding, "where missing voxels go: the far end, or both ends").choices({"append", "centred"});
  options.add("--normalise", &normalise, "min-max scaling").choices({"after-crop", "before-crop", "none"});
  options.add("--order", &order, "axes of the files").choices({"zyx", "yxz"});
  options.add("--filter-mean", &prepare_options.filter_mean, "leave out tomograms whose mean is out of range");
  options.add("--mean-from", &prepare_options.mean_from, "RI x 1e4");
  options.add("--mean-below", &prepare_options.mean_below, "RI x 1e4");
  options.add("--keep-going", &prepare_options.keep_going, "a bad file becomes a row of the table");
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  if (common.dry_run) return std::cout << options.origin_table(), app::success;
  prepare_options.input = input;
  prepare_options.centres = centres;
  prepare_options.output = output;
  prepare_options.padding = padding == "append" ? CropPadding::append : CropPadding::centred;
  prepare_options.normalise = normalise == "none"          ? Normalise::none
                              : normalise == "before-crop" ? Normalise::before_crop
                                                           : Normalise::after_crop;
  prepare_options.order = order == "zyx" ? AxisOrder::zyx : AxisOrder::yxz;
  app::Progress progress("cells", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  prepare_options.progress = [&, started = false](std::int64_t done, std::int64_t of) mutable {
    if (!started) progress.begin("prepare", of);
    started = true;
    progress.update(done, "");
  };
  const PrepareReport report = prepare(prepare_options);
  const Json json = Json::object({{"written", report.written},
                                  {"excluded", report.excluded},
                                  {"failed", report.failed},
                                  {"clipped", report.clipped},
                                  {"touching_border", report.touching}});
  if (common.json) std::cout << json.dump(2) << '\n';
  else
    std::cout << report.written << " cells written, " << report.excluded << " excluded, " << report.failed << " failed; "
              << report.clipped << " crops padded, " << report.touching << " cells touch the border; table in " << output
              << "/quality.csv\n";
  return app::success;
}

int split_command(const Arguments& arguments) {
  DataSettings data;
  SplitOptions split;
  std::string method = "automatic", output;
  bool overwrite = false;
  app::Common common;
  app::Options options("csf split", "Makes folds and writes them with the seed: patients stay together, classes are spread.");
  options.other_commands(app::command_names());
  options.example("cuboid csf split -d cells/ -o split.json", "5 folds");
  data.add(options);
  options.section("folds");
  options.add("-o,--output", &output, "file to write; without it the folds are only shown");
  options.add("--split", &method, "how").choices({"automatic", "grouped", "stratified", "legacy"});
  options.add("--folds", &split.folds, "0 = 5, or fewer when a class has fewer patients; 10 for legacy")
      .at_least(0)
      .at_most(1000);
  options.add("--valid", &split.valid, "share for validation").at_least(0).at_most(0.9);
  options.add("--allow-missing", &split.allow_missing, "accept folds without a class");
  options.add("--overwrite", &overwrite, "replace the file").not_saved();
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  split.method = split_method(method);
  split.seed = static_cast<std::uint64_t>(common.seed);
  if (common.dry_run) std::cout << options.origin_table();
  const SplitReport report = split_data(data.source(), split, common.dry_run ? "" : output, overwrite);
  for (const auto& note : report.split.notes) std::cerr << "note: " << note << '\n';
  if (common.json)
    std::cout << Json::object({{"method", name_of(report.split.method)},
                               {"folds", static_cast<std::int64_t>(report.split.folds.size())},
                               {"fingerprint", report.split.fingerprint}})
                     .dump(2)
              << '\n';
  else std::cout << report.table();
  return app::success;
}

}  // namespace cuboid::csf
