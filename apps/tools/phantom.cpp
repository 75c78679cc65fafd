// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/phantom.h"

#include <iostream>

#include "apps/commands.h"
#include "apps/deepis/phantom.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "core/json.h"

namespace cuboid::app {

int phantom(const Arguments& arguments) {
  csf::PhantomFolderOptions folder;
  std::string output;
  Common common;
  common.seed = 1;
  Options options("phantom csf", "Makes phantom cells as a holotomographic microscope sees them: two classes, several patients.");
  options.other_commands(command_names());
  options.example("cuboid phantom csf -n 200 -o cells/", "a folder that 'cuboid csf train' reads");
  options.add("-n,--cells", &folder.cells.cells, "how many").at_least(2).at_most(1000000);
  options.add("-o,--output", &output, "folder, new or empty").required();
  options.add("--size", &folder.cells.size, "voxels along each edge, a power of two").at_least(16).at_most(128);
  options.add("--patients", &folder.cells.patients, "half of them in each class").at_least(2);
  options.add("--noise", &folder.cells.noise, "1 = as in a real tomogram").at_least(0).at_most(100);
  options.add("--missing-cone", &folder.cells.missing_cone, "blur along z as limited-angle tomography does");
  options.add("--masks", &folder.masks, "also write the ground truth");
  options.add("--raw-fields", &folder.raw_fields, "also write this many raw tomograms with several cells").at_least(0);
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  if (common.dry_run) return std::cout << options.origin_table(), success;
  folder.output = output;
  folder.cells.seed = static_cast<std::uint64_t>(common.seed);
  Progress progress("cells", common.quiet ? Progress::Mode::quiet : Progress::Mode::automatic);
  progress.begin("phantom", folder.cells.cells);
  folder.progress = [&](std::int64_t done, std::int64_t) { progress.update(done, ""); };
  const auto report = csf::write_phantom(folder);
  if (common.json)
    std::cout << Json::object({{"cells", report.cells}, {"bytes", report.bytes}, {"labels", report.labels.string()}}).dump(2)
              << '\n';
  else
    std::cout << report.cells << " cells, " << bytes_text(static_cast<double>(report.bytes)) << ", labels in "
              << report.labels.string() << '\n';
  return success;
}

int phantom_deepis(const Arguments& arguments) {
  deepis::PhantomFolderOptions folder;
  std::string output;
  Common common;
  common.seed = 1;
  Options options(
      "phantom deepis",
      "Makes phantom pairs of touching cells as a holotomographic microscope sees them, with labels and known truth.");
  options.other_commands(command_names());
  options.example("cuboid phantom deepis -n 40 -o pairs/", "a folder that 'cuboid deepis train' reads");
  options.example("cuboid phantom deepis -n 3 --frames 24 -o lapse/", "three time-lapses in which the contact grows");
  options.add("-n,--pairs", &folder.pairs.pairs, "how many; every fifth pair does not touch").at_least(1).at_most(1000000);
  options.add("-o,--output", &output, "folder, new or empty").required();
  options.add("--frames", &folder.pairs.frames, "of each pair; more than one: a time-lapse").at_least(1).at_most(10000);
  options.add("--size", &folder.pairs.size, "voxels along x and y, a power of two; half as many along z")
      .at_least(32)
      .at_most(256);
  options.add("--noise", &folder.pairs.noise, "1 = as in a real tomogram").at_least(0).at_most(100);
  options.add("--missing-cone", &folder.pairs.missing_cone, "blur along z as limited-angle tomography does");
  options.add("--valid", &folder.valid, "share of the pairs to validate with").at_least(0).at_most(0.9);
  options.add("--test", &folder.test, "share of the pairs to test with").at_least(0).at_most(0.9);
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  common.apply();
  if (common.dry_run) return std::cout << options.origin_table(), success;
  folder.output = output;
  folder.pairs.seed = static_cast<std::uint64_t>(common.seed);
  Progress progress("volumes", common.quiet ? Progress::Mode::quiet : Progress::Mode::automatic);
  progress.begin("phantom", folder.pairs.pairs * folder.pairs.frames);
  folder.progress = [&](std::int64_t done, std::int64_t) { progress.update(done, ""); };
  const auto report = deepis::write_phantom(folder);
  if (common.json)
    std::cout << Json::object({{"volumes", report.volumes},
                               {"train", report.train},
                               {"valid", report.valid},
                               {"test", report.test},
                               {"bytes", report.bytes},
                               {"dataset", report.dataset.string()},
                               {"truth", report.truth.string()}})
                     .dump(2)
              << '\n';
  else
    std::cout << report.volumes << " volumes (" << report.train << " to train, " << report.valid << " to validate, "
              << report.test << " to test), " << bytes_text(static_cast<double>(report.bytes)) << ", truth in "
              << report.truth.string() << '\n';
  return success;
}

}  // namespace cuboid::app
