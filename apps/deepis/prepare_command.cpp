// SPDX-License-Identifier: Apache-2.0
// cuboid deepis prepare.
#include <charconv>
#include <iostream>

#include "apps/commands.h"
#include "apps/deepis/prepare.h"
#include "apps/progress.h"
#include "apps/text.h"

namespace cuboid::deepis {
namespace {

/// "0.5,0.1,0.1", or one number for all three.
std::optional<Spacing> spacing(const std::string& text, const char* option) {
  if (text.empty()) return std::nullopt;
  auto words = app::split(text, ',');
  if (words.size() == 1) words.resize(3, words[0]);
  check<app::UsageError>(words.size() == 3, option, ": '", text, "' is not of the form z,y,x");
  Spacing s;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::string& word = words[a];
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), s[a]);
    check<app::UsageError>(error == std::errc() && end == word.data() + word.size() && s[a] > 0 && s[a] < 1e6, option, ": '",
                           word, "' in '", text, "' is no size in um above 0");
  }
  return s;
}

std::map<std::int64_t, std::int64_t> relabelling(const std::vector<std::string>& words) {
  std::map<std::int64_t, std::int64_t> map;
  for (const auto& list : words)
    for (const auto& word : app::split(list, ',')) {
      std::int64_t from = 0, to = 0;
      const char* end = word.data() + word.size();
      auto at = std::from_chars(word.data(), end, from);
      const bool half = at.ec == std::errc() && at.ptr != end && *at.ptr == '=';
      if (half) at = std::from_chars(at.ptr + 1, end, to);
      check<app::UsageError>(
          half && at.ec == std::errc() && at.ptr == end && from >= 0 && to >= 0 && to <= 65535 && map.emplace(from, to).second,
          "--map: '", word, "' is not of the form OLD=NEW, or OLD is there twice");
    }
  return map;
}

void show(const PrepareReport& report, bool check_only, const std::string& output) {
  std::map<std::string, std::int64_t> parts;
  std::int64_t objects = 0;
  for (const auto& row : report.rows)
    if (row.problem.empty()) ++parts[row.split], objects += row.objects;
  std::cout << "head " << name_of(report.head) << ":";
  for (const char* split : {"train", "valid", "test"}) std::cout << ' ' << parts[split] << ' ' << split;
  if (report.head == Head::instances) std::cout << "; " << objects << " objects";
  if (report.failed) std::cout << "; " << report.failed << " left out";
  std::cout << (check_only ? "; nothing is wrong, nothing was written\n" : "; table in " + output + "/cases.csv\n");
}

}  // namespace

int prepare_command(const Arguments& arguments) {
  PrepareOptions o;
  std::string input, output, head, voxel, common_voxel, crop, slices;
  std::vector<std::string> map;
  app::Common common;
  app::Options options("deepis prepare", "Checks volumes and their masks and writes a folder that every deepis command reads.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis prepare -i raw/ --head signed --spacing 0.5,0.2,0.2 -o cells/", "raw/images, raw/labels");
  options.example(
      "cuboid deepis prepare -i raw/ --images '*_raw.tif' --labels '*_mask.tif' --head instances --test c7 -o nuclei/",
      "names by pattern");
  options.add("-i,--input", &input, "folder: images/ and labels/, .mat pairs, train/ valid/ test/ of these, or any files")
      .required();
  options.add("--images", &o.images, "which files are images, relative to the input; the star is the case's name");
  options.add("--labels", &o.labels, "which are their masks or labels");
  options.add("--targets", &o.targets, "which are their distance maps, in um");
  options.add("-o,--output", &output, "folder to write, new or empty");
  options.add("--check", &o.check_only, "look at everything, write nothing").not_saved();
  options.section("labels");
  options.add("--head", &head, "what labels are: two cells, separate objects, or classes").choices(head_names);
  options.add("--classes", &o.class_names, "names of the labels from 1 on");
  options.add("--map", &map, "OLD=NEW, ...: other numbers for labels; 255=1 for a mask of 0 and 255");
  options.add("--components", &o.components, "each connected piece of a mask is an object");
  options.add("--min-voxels", &o.min_voxels, "smaller objects become background").at_least(0);
  options.add("--allow-empty", &o.allow_empty, "take cases in which nothing is labelled");
  options.add("--write-targets", &o.write_targets, "also write the distance maps");
  options.section("space");
  options.add("--spacing", &voxel, "voxel size z,y,x in um where the files do not say it");
  options.add("--resample", &common_voxel, "bring all to this voxel size z,y,x in um");
  options.add("--crop", &crop, "z0:z1,y0:y1,x0:x1 of every volume, in voxels");
  options.section("parts");
  options.add("--test", &o.test, "names of the test cases");
  options.add("--valid", &o.valid, "names of the validation cases");
  options.add("--test-share", &o.test_share, "share of the other cases drawn for testing").at_least(0).at_most(0.9);
  options.add("--valid-share", &o.valid_share, "and for validation").at_least(0).at_most(0.9);
  options.add("--split-z", &slices,
              "cut each of the other cases: A:B trains before slice A and tests from B on; or "
              "train=0:60,valid=64:80,test=84:");
  options.add("--time-lapse", &o.time_lapse, "the number at the end of a name is a frame, the rest its series");
  options.add("--keep-going", &o.keep_going, "leave out cases that are wrong");
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  check<app::UsageError>(!output.empty() || o.check_only || common.dry_run, "deepis prepare: --output is missing");
  o.input = input;
  o.output = output;
  if (!head.empty()) o.head = head_of(head);
  o.spacing_um = spacing(voxel, "--spacing");
  o.resample_um = spacing(common_voxel, "--resample");
  o.relabel = relabelling(map);
  o.slices = slice_ranges(slices);
  if (!crop.empty()) o.crop = true, o.box = crop_box(crop);
  o.seed = static_cast<std::uint64_t>(common.seed);
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const auto& c : raw_cases(o))
      std::cout << "case " << c.name << ": " << c.image.string() << (c.split.empty() ? "" : ", " + c.split) << '\n';
    return app::success;
  }
  app::Progress progress("cases", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  o.progress = [&, started = false](std::int64_t done, std::int64_t of) mutable {
    if (!started) progress.begin("prepare", of);
    started = true;
    progress.update(done, "");
  };
  const PrepareReport report = prepare(o);
  for (const auto& text : report.warnings) std::cerr << "warning: " << text << '\n';
  if (common.json) {
    Json cases = Json::array();
    for (const auto& row : report.rows) {
      Json entry = Json::object({{"name", row.name}, {"split", row.split}, {"objects", row.objects}});
      if (!row.problem.empty()) entry["problem"] = row.problem;
      cases.push_back(std::move(entry));
    }
    std::cout << Json::object({{"head", name_of(report.head)},
                               {"written", report.written},
                               {"failed", report.failed},
                               {"warnings", Json(report.warnings)},
                               {"cases", cases}})
                     .dump(2)
              << '\n';
  } else show(report, o.check_only, output);
  return app::success;
}

}  // namespace cuboid::deepis
