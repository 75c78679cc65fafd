// SPDX-License-Identifier: Apache-2.0
// cuboid info: nets by name, models, volumes, run folders.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>

#include "apps/commands.h"
#include "apps/csf/model.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "core/safetensors.h"
#include "data/crop.h"
#include "data/formats/detect.h"
#include "data/formats/mat.h"
#include "data/formats/nifti.h"
#include "data/formats/npy.h"
#include "data/volume_reader.h"

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

/// Seven digits: voxels and the sizes of NIfTI-1 have no more.
std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.7g", value);
  return text;
}

void print_space(const Volume& v) {
  if (v.spacing_known)
    std::cout << "  spacing (z,y,x)  " << short_number(v.spacing[0]) << " x " << short_number(v.spacing[1]) << " x "
              << short_number(v.spacing[2]) << " " << v.unit << "\n";
  if (v.orientation_known) std::cout << "  orientation      " << orientation_letters(v) << " (x,y,z)\n";
  for (const auto& note : v.notes) std::cout << "  note             " << note << "\n";
}

/// The variables of a MAT file that holds more than one volume; for others null.
Json describe_variables(const fs::path& path, bool json) {
  const auto variables = list_mat(path);
  if (std::count_if(variables.begin(), variables.end(), [](const MatVariable& v) { return v.readable; }) == 1) return {};
  Json all = Json::array();
  if (!json) std::cout << path.string() << ": MATLAB 5, " << variables.size() << " variables\n";
  for (const auto& v : variables) {
    all.push_back(Json::object({{"name", v.name}, {"type", v.type}, {"shape", list(v.shape)}, {"readable", v.readable}}));
    if (!json)
      std::cout << "  " << padded(v.name, 18) << padded(v.type, 10) << join_text(v.shape) << (v.readable ? "\n" : " not read\n");
  }
  return Json::object({{"file", path.string()}, {"format", "mat"}, {"variables", all}});
}

/// What stands before the voxels, in formats that say it there.
struct Header {
  Volume about;
  Shape shape;
  std::string stored;  // "i16", "u8 x 0.5 - 100"
};
std::optional<Header> header_of(const fs::path& path) {
  try {
    const Format format = format_of(path);
    if (format == Format::npy) {
      const NpyHeader h = read_npy_header(path);
      return Header{{}, h.shape, h.kind == 'b' ? "bool" : name_of(h.number())};
    }
    if (format != Format::nifti) return {};
    const NiftiHeader h = read_nifti_header(path);
    std::string stored = name_of(h.number);
    if (h.scale.slope != 1) stored += " x " + short_number(h.scale.slope);
    if (h.scale.inter != 0) stored += (h.scale.inter < 0 ? " - " : " + ") + short_number(std::abs(h.scale.inter));
    return Header{h.about, h.shape, stored};
  } catch (const DataError&) {
    return {};
  }
}

/// Of all voxels, with no more than some slices in memory where the format allows it.
VoxelStats stats_of(VolumeReader& reader) {
  const Shape& shape = reader.shape();
  const std::int64_t depth = shape[-3], values = shape.count() / depth;
  const bool at_once = reader.forward_only() && shape.rank() == 4;  // channels mean to unpack once more
  const std::int64_t slab = at_once ? depth : std::clamp<std::int64_t>((std::int64_t{1} << 22) / values, 1, depth);
  VoxelStats all{0, INFINITY, -INFINITY, 0};
  std::int64_t finite = 0;
  for (std::int64_t z = 0; z < depth; z += slab) {
    const std::int64_t end = std::min(z + slab, depth);
    const VoxelStats s = voxel_stats(reader.read(z, end));
    all.not_finite += s.not_finite;
    const std::int64_t n = (end - z) * values - s.not_finite;
    if (n == 0) continue;
    finite += n;
    all.mean += (s.mean - all.mean) * static_cast<double>(n) / static_cast<double>(finite);
    all.min = std::min(all.min, s.min);
    all.max = std::max(all.max, s.max);
  }
  if (finite == 0) all.min = all.max = 0;
  return all;
}

/// Whatever can be said of a file that is damaged goes to standard output before the error.
[[noreturn]] void fail_with_header(const fs::path& path, const std::string& message, bool json) {
  const auto header = header_of(path);
  if (header && !json) {
    std::cout << path.string() << ": " << header->shape << ", " << header->stored << ", says its header\n";
    print_space(header->about);
    std::cout.flush();
  }
  if (header)
    throw DataError(with_hint(message, "the header is sound, what follows is not: copy the file again, or write it anew"));
  if (message.find(volume_formats()) == message.npos) throw DataError(message);
  throw DataError(with_hint(message, "info also shows weights (.safetensors), run folders and, with --net, nets"));
}

Json describe_volume(const fs::path& path, const LoadOptions& options, bool json) {
  if (options.entry.empty() && fs::is_regular_file(path) && fs::file_size(path) > 0 && format_of(path) == Format::mat)
    if (Json variables = describe_variables(path, json); !variables.is_null()) return variables;
  std::optional<VolumeReader> reader;
  VoxelStats stats;
  try {
    reader.emplace(path, options);
    stats = stats_of(*reader);
  } catch (const DataError& e) {
    fail_with_header(path, e.what(), json);
  }
  const Volume& volume = reader->about();
  const auto header = header_of(path);
  const std::string dtype = name_of(reader->dtype()), stored = header ? header->stored : dtype;
  Json notes = Json::array();
  for (const auto& note : volume.notes) notes.push_back(note);
  if (!json) {
    std::cout << path.string() << ": " << dtype << " " << reader->shape() << (stored == dtype ? "" : ", stored as " + stored)
              << "\n";
    print_space(volume);
    std::cout << "  values           " << short_number(stats.min) << " to " << short_number(stats.max) << ", mean "
              << short_number(stats.mean) << "\n";
    if (stats.not_finite) std::cout << "  not finite       " << stats.not_finite << " voxels\n";
  }
  const Json spacing = Json::array({volume.spacing[0], volume.spacing[1], volume.spacing[2]});
  return Json::object({{"file", path.string()},
                       {"dtype", dtype},
                       {"stored", stored},
                       {"shape", list(reader->shape())},
                       {"spacing", volume.spacing_known ? spacing : Json()},
                       {"unit", volume.unit},
                       {"orientation", volume.orientation_known ? Json(orientation_letters(volume)) : Json()},
                       {"notes", notes},
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
  std::int64_t size = 64, classes = 2, frame = -1;
  LoadOptions load;
  Common common;
  std::vector<std::string> nets = csf::net_names;
  nets.push_back("densenet121_2d");
  Options options("info", "Shows what a file, a run folder or a net holds.");
  options.other_commands(command_names());
  options.example("cuboid info --net csf", "stages, shapes and parameters");
  options.example("cuboid info cell.tcf weights.safetensors runs/latest", "files and runs");
  options.example("cuboid info scan.nii.gz", "shape, voxel size, orientation, range of values");
  options.positional("files", &files, "volumes, weights, run folders");
  options.add("--entry", &load.entry, "which array of an npz or mat file");
  options
      .add("--frame", &frame,
           "which time point of a series, counted from 0 (default: a NIfTI file's all, the first of a TCF file)")
      .at_least(-1)
      .at_most(1'000'000);
  options.add("--net", &net, "a net by name").choices(nets);
  options.add("--size", &size, "edge of its input").at_least(1).at_most(1024);
  options.add("--classes", &classes, "its outputs").at_least(1).at_most(100000);
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  check<UsageError>(!files.empty() || !net.empty(), "info: name a file, or a net with --net");
  if (frame >= 0) load.frame = frame;
  Json all = Json::array();
  if (!net.empty()) all.push_back(describe_net(net, size, classes, common.json));
  for (const auto& file : files) {
    std::error_code error;
    check<DataError>(fs::exists(file, error),
                     std::find(nets.begin(), nets.end(), file) == nets.end()
                         ? file + ": no such file or folder"
                         : with_hint(file + ": no such file or folder", "nets are shown with 'cuboid info --net " + file + "'"));
    if (fs::is_directory(file)) all.push_back(describe_run(file, common.json));
    else if (fs::path(file).extension() == ".safetensors") all.push_back(describe_tensors(file, common.json));
    else all.push_back(describe_volume(file, load, common.json));
  }
  if (common.json) std::cout << all.dump(2) << '\n';
  return success;
}

}  // namespace cuboid::app
