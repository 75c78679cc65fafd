// SPDX-License-Identifier: Apache-2.0
// cuboid info: nets by name, models, volumes, run folders.
#include <filesystem>
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/model.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/safetensors.h"
#include "data/crop.h"
#include "data/volume.h"

namespace cuboid::app {
namespace fs = std::filesystem;
namespace {

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(width - std::min(width, text.size()), ' ');
}
std::string right(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}
Json list(const Shape& shape) {
  Json all = Json::array();
  for (const auto d : shape) all.push_back(d);
  return all;
}

Json describe_net(const std::string& name, std::int64_t size, std::int64_t classes, bool json) {
  DenseNetOptions chosen = name == "densenet121_2d" ? torchvision_densenet121() : csf::named_net(name, classes);
  DenseNet net(chosen);
  Shape input = {1, chosen.in_channels};
  for (int i = 0; i < chosen.dims; ++i) input.push_back(size);
  std::int64_t convolutions = 0, norms = 0, macs = 0;
  for (const auto& [path, module] : net.modules())
    convolutions += dynamic_cast<Conv*>(module) != nullptr, norms += dynamic_cast<BatchNorm*>(module) != nullptr;
  Json stages = Json::array();
  if (!json)
    std::cout << padded("stage", 16) << padded("operation", 34) << padded("output", 22) << right("parameters", 12) << "\n";
  for (const auto& s : net.stages(input)) {
    macs += s.macs;
    stages.push_back(Json::object({{"name", s.name},
                                   {"operation", s.operation},
                                   {"output", list(s.output)},
                                   {"parameters", s.parameters},
                                   {"macs", s.macs}}));
    if (!json)
      std::cout << padded(s.name, 16) << padded(s.operation, 34) << padded(join_text(s.output), 22)
                << right(grouped(s.parameters), 12) << "\n";
  }
  const std::int64_t parameters = net.parameter_count();
  if (!json)
    std::cout << "\n"
              << grouped(parameters) << " parameters, " << convolutions << " convolutions, " << norms << " batch norms, "
              << fixed(static_cast<double>(macs) * 1e-9, 2) << " GMAC per sample\n";
  return Json::object({{"net", name},
                       {"parameters", parameters},
                       {"convolutions", convolutions},
                       {"batch_norms", norms},
                       {"macs", macs},
                       {"stages", stages}});
}

Json describe_tensors(const fs::path& path, bool json) {
  const SafetensorsFile file(path);
  std::int64_t values = 0, bytes = 0;
  Json tensors = Json::array();
  for (const auto& t : file.tensors()) {
    values += t.shape.count();
    bytes += t.end - t.begin;
    tensors.push_back(Json::object({{"name", t.name}, {"type", t.type}, {"shape", list(t.shape)}}));
  }
  if (!json) {
    std::cout << path.string() << ": safetensors, " << file.tensors().size() << " tensors, " << grouped(values) << " values, "
              << bytes_text(static_cast<double>(bytes))
              << (file.has_checksums() ? ", with checksums\n" : ", without checksums\n");
    std::size_t width = 4;
    for (const auto& t : file.tensors()) width = std::max(width, t.name.size());
    for (const auto& t : file.tensors())
      std::cout << "  " << padded(t.name, width + 2) << padded(t.type, 6) << join_text(t.shape) << "\n";
  }
  Json metadata = Json::object();
  for (const auto& [key, value] : file.metadata()) {
    metadata[key] = value;
    if (!json) std::cout << "  " << key << " = " << (value.size() > 300 ? value.substr(0, 300) + "..." : value) << "\n";
  }
  return Json::object({{"file", path.string()},
                       {"format", "safetensors"},
                       {"tensors", tensors},
                       {"values", values},
                       {"bytes", bytes},
                       {"metadata", metadata}});
}

Json describe_volume(const fs::path& path, bool json) {
  const Volume volume = load_volume(path);
  Tensor values = empty(volume.image.shape());
  copy(volume.image, values);
  const VoxelStats stats = voxel_stats(values);
  Json spacing = Json::array({volume.spacing[0], volume.spacing[1], volume.spacing[2]});
  if (!json) {
    std::cout << path.string() << ": " << name_of(volume.image.dtype()) << " " << volume.image.shape() << "\n";
    if (volume.spacing_known)
      std::cout << "  spacing (z,y,x)  " << shortest(volume.spacing[0]) << " x " << shortest(volume.spacing[1]) << " x "
                << shortest(volume.spacing[2]) << " " << volume.unit << "\n";
    std::cout << "  values           " << shortest(stats.min) << " to " << shortest(stats.max) << ", mean "
              << shortest(stats.mean) << "\n";
    if (stats.not_finite) std::cout << "  not finite       " << stats.not_finite << " voxels\n";
  }
  return Json::object({{"file", path.string()},
                       {"dtype", name_of(volume.image.dtype())},
                       {"shape", list(volume.image.shape())},
                       {"spacing", volume.spacing_known ? spacing : Json()},
                       {"unit", volume.unit},
                       {"min", stats.min},
                       {"max", stats.max},
                       {"mean", stats.mean},
                       {"not_finite", stats.not_finite}});
}

Json describe_run(const fs::path& path, bool json) {
  const RunFolder run = RunFolder::existing(path);
  const Json manifest = run.read_json("manifest.json");
  const auto lines = run.logged();
  if (!json) {
    std::cout << run.path().string() << "\n  command   " << manifest.get("command", "") << "\n  started   "
              << manifest.get("started", "") << "\n  finished  "
              << (manifest.at("finished").is_null() ? "no" : manifest.get("finished", "")) << "\n  epochs    " << lines.size()
              << "\n";
    if (run.has("eval/summary.json")) {
      const Json pooled = run.read_json("eval/summary.json").at("pooled");
      for (const char* key : {"auroc", "accuracy", "balanced_accuracy"})
        if (pooled.at(key).is_number()) std::cout << "  " << padded(key, 18) << fixed(pooled.at(key).as_double(), 3) << "\n";
    }
  }
  return Json::object(
      {{"run", run.path().string()}, {"manifest", manifest}, {"epochs", static_cast<std::int64_t>(lines.size())}});
}

}  // namespace

int info(const Arguments& arguments) {
  std::vector<std::string> files;
  std::string net;
  std::int64_t size = 64, classes = 2;
  Common common;
  std::vector<std::string> nets = csf::net_names;
  nets.push_back("densenet121_2d");
  Options options("info", "Shows what a file, a run folder or a net holds.");
  options.other_commands(command_names());
  options.example("cuboid info --net csf", "stages, shapes and parameters");
  options.example("cuboid info cell.tcf weights.safetensors runs/latest", "files and runs");
  options.positional("files", &files, "volumes, weights, run folders");
  options.add("--net", &net, "a net by name").choices(nets);
  options.add("--size", &size, "edge of its input").at_least(1).at_most(1024);
  options.add("--classes", &classes, "its outputs").at_least(1).at_most(100000);
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  check<UsageError>(!files.empty() || !net.empty(), "info: name a file, or a net with --net");
  Json all = Json::array();
  if (!net.empty()) all.push_back(describe_net(net, size, classes, common.json));
  for (const auto& file : files) {
    std::error_code error;
    check<DataError>(fs::exists(file, error), file, ": no such file or folder");
    if (fs::is_directory(file)) all.push_back(describe_run(file, common.json));
    else if (fs::path(file).extension() == ".safetensors") all.push_back(describe_tensors(file, common.json));
    else all.push_back(describe_volume(file, common.json));
  }
  if (common.json) std::cout << all.dump(2) << '\n';
  return success;
}

}  // namespace cuboid::app
