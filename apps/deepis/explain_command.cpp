// SPDX-License-Identifier: Apache-2.0
// cuboid deepis explain
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "apps/commands.h"
#include "apps/contours.h"
#include "apps/deepis/explain.h"
#include "apps/deepis/label_files.h"
#include "apps/deepis/postprocess.h"
#include "apps/progress.h"
#include "apps/run_folder.h"
#include "apps/sliding_window.h"
#include "apps/text.h"
#include "data/formats/npy.h"
#include "data/formats/png.h"
#include "data/normalise.h"
#include "data/volume.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

struct Settings {
  std::vector<std::string> inputs;
  std::string model, output = "explained", target = "foreground", method = "gradcam", colours = "jet";
  std::vector<std::int64_t> crop, at;
  bool overwrite = false, activations = false;
  SegCamOptions cam;
  OverlayOptions overlay;
};

struct Input {
  std::string name;
  Tensor raw, x;  // raw: D,H,W, the first channel; x: C,D,H,W, normalised
  Spacing spacing_um{};
};

Input load_input(const fs::path& path, const ModelCard& card) {
  const Volume v = load_volume(path, {.dtype = DType::f32});
  check_finite(v.image, path.string());
  Input input{
      .name = app::slug(case_name(path)), .raw = {}, .x = normalised(v.image, card.normalise), .spacing_um = card.spacing_um};
  if (input.x.rank() == 3) input.x = unsqueeze(input.x, 0);
  check<DataError>(input.x.dim(0) == card.net.in_channels, path.string(), ": ", input.x.dim(0),
                   " channels, the model was trained on ", card.net.in_channels);
  input.raw = select(v.image.rank() == 3 ? unsqueeze(v.image, 0) : v.image, 0, 0);
  const double unit = v.unit == "mm" ? 1000 : 1;
  for (std::size_t i = 0; i < 3 && v.spacing_known; ++i) input.spacing_um[i] = unit * v.spacing[i];
  return input;
}

Tensor labels_of(const Tensor& outputs, const ModelCard& card, const Spacing& spacing) {
  const PostprocessOptions options = postprocess_of(card.postprocess);
  if (card.head == Head::classes) return labels_of_scores(outputs, spacing, options);
  const Tensor distance = reshape(outputs, {outputs.dim(1), outputs.dim(2), outputs.dim(3)});
  return card.head == Head::signed_distance ? labels_of_signed(distance, spacing, options)
                                            : labels_of_instances(distance, spacing, options);
}

/// Where the part that is explained begins, and how large it is.
struct Part {
  std::array<std::int64_t, 3> low{}, size{};
};

Part part_of(const Settings& s, Model& model, const Input& input, const Spacing& spacing) {
  const Tensor& x = input.x;
  Part part;
  bool all = true;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t n = x.dim(static_cast<int>(i) + 1);
    std::int64_t wanted = 128;
    if (!s.crop.empty()) wanted = s.crop[i];
    else if (!model.card.patch.empty()) wanted = model.card.patch[static_cast<int>(i)];
    part.size[i] = wanted > 0 ? std::min(wanted, n) : n;
    all = all && part.size[i] == n;
  }
  if (all) return part;
  std::array<std::int64_t, 3> centre{};
  if (!s.at.empty()) std::copy(s.at.begin(), s.at.end(), centre.begin());
  else {
    // where the region is that will be explained
    const auto net = [&](const Tensor& patch) { return (*model.net)(to(patch, model.net->device())); };
    model.net->eval();
    const Tensor outputs =
        app::slide(net, x, model.card.net.out_channels, {.window = {part.size[0], part.size[1], part.size[2]}});
    const Tensor labels = labels_of(outputs, model.card, spacing);
    centre =
        middle_of(s.target == "synapse" || s.target == "foreground" ? labels : region_of(labels, s.target, model.card, spacing));
  }
  for (std::size_t i = 0; i < 3; ++i)
    part.low[i] = std::clamp<std::int64_t>(centre[i] - part.size[i] / 2, 0, x.dim(static_cast<int>(i) + 1) - part.size[i]);
  return part;
}

Tensor cut(const Tensor& x, const Part& part) {
  Tensor piece = x;
  for (int i = 0; i < 3; ++i) {
    const auto k = static_cast<std::size_t>(i);
    piece = slice(piece, x.rank() - 3 + i, part.low[k], part.low[k] + part.size[k]);
  }
  Tensor dense = empty(piece.shape(), {.dtype = piece.dtype()});
  copy(piece, dense);
  return dense;
}

/// The whole volume, 0 but for the part.
Tensor pasted(const Tensor& piece, const Part& part, const Shape& whole) {
  Tensor full = zeros(whole, {.dtype = piece.dtype()});
  Tensor place = full;
  for (int i = 0; i < 3; ++i) {
    const auto k = static_cast<std::size_t>(i);
    place = slice(place, i, part.low[k], part.low[k] + part.size[k]);
  }
  copy(piece, place);
  return full;
}

Json explain_one(const Settings& s, Model& model, const Input& input) {
  const Spacing known = input.spacing_um[0] > 0 ? input.spacing_um : Spacing{1, 1, 1};
  const Part part = part_of(s, model, input, known);
  const Tensor x = unsqueeze(cut(input.x, part), 0);
  const Tensor labels = labels_of(outputs_of(model, x), model.card, known);
  Tensor region;
  std::array<std::int64_t, 3> middle{};
  if (s.target == "voxel") {
    region = zeros(labels.shape(), {.dtype = DType::u8});
    std::int64_t place = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      middle[i] = s.at[i] - part.low[i];
      check<app::UsageError>(middle[i] >= 0 && middle[i] < part.size[i], "--at: voxel ", s.at[0], ",", s.at[1], ",", s.at[2],
                             " is outside of ", input.name);
      place = place * part.size[i] + middle[i];
    }
    region.mutable_data<std::uint8_t>()[place] = 1;
  } else {
    region = region_of(labels, s.target, model.card, known);
    middle = middle_of(s.target == "foreground" ? labels : region);
  }
  const auto* r = region.data<std::uint8_t>();
  const std::int64_t voxels = std::count_if(r, r + region.size(), [](std::uint8_t v) { return v != 0; });
  check<DataError>(voxels > 0,
                   app::with_hint(input.name + ": the model finds no " + s.target + " here, so there is nothing to explain",
                                  "--target foreground, or --target voxel --at Z,Y,X"));
  const SegCam cam = explain_region(model, x, region, s.cam);
  const fs::path folder = s.output;
  const Shape whole = {input.x.dim(1), input.x.dim(2), input.x.dim(3)};
  write_npy(folder / (input.name + "_cam.npy"), pasted(cam.map, part, whole));
  if (s.activations) {
    Activations keep;
    for (const auto& name : GcnUnet::activation_names()) keep[name] = {};
    const Recording off(false);
    model.net->forward(to(x, model.net->device()), &keep);
    for (const auto& [name, a] : keep) write_npy(folder / (input.name + "_" + name + ".npy"), select(to(a, Device::cpu), 0, 0));
  }
  OverlayOptions overlay_options = s.overlay;
  overlay_options.spacing_um = input.spacing_um;
  overlay_options.through = middle;
  bool drawn = true;
  try {
    write_png(folder / (input.name + ".png"), overlay(cut(input.raw, part), cam.map, overlay_options));
  } catch (const DataError&) {
    throw;
  } catch (const Error&) {
    std::error_code error;
    if (fs::exists(folder / (input.name + ".png"), error)) throw;
    drawn = false;  // a build without libpng keeps the numbers
  }
  return Json::object({{"name", input.name},
                       {"target", s.target},
                       {"layer", s.cam.layer},
                       {"method", s.method},
                       {"region_voxels", voxels},
                       {"mass_on_region", app::finite(mass_inside(cam.map, region))},
                       {"region_share", static_cast<double>(voxels) / static_cast<double>(region.size())},
                       {"part_low", Json::array({part.low[0], part.low[1], part.low[2]})},
                       {"part_size", Json::array({part.size[0], part.size[1], part.size[2]})},
                       {"map", input.name + "_cam.npy"},
                       {"picture", drawn ? Json(input.name + ".png") : Json()}});
}

}  // namespace

int explain_command(const Arguments& arguments) {
  Settings s;
  app::Common common;
  app::Options options("deepis explain",
                       "Shows what a segmentation rests on: a map per volume, and three planes with the map on top.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis explain -m runs/latest cell.nii.gz --target synapse",
                  "Seg-Grad-CAM of the place where two cells meet");
  options.positional("inputs", &s.inputs, "volumes, or folders of them").required();
  options.add("-m,--model", &s.model, "weights, or a run folder").required();
  options.add("-o,--output", &s.output, "folder for NAME_cam.npy, NAME.png and explain.json");
  options.add("--overwrite", &s.overwrite, "write into a folder that holds something").not_saved();
  options.add("--target", &s.target, "what is explained: foreground, synapse, the name of a class, or voxel (with --at)");
  options.add("--at", &s.at, "voxel Z,Y,X in the middle of the part that is explained");
  options.add("--method", &s.method, "activation: how strongly the layer responds, whatever the target")
      .choices({"gradcam", "gradcam++", "activation"});
  options.add("--layer", &s.cam.layer, "conv1, layer1 to layer4, ConBR4 to ConBR1");
  options.add("--crop", &s.crop,
              "size Z,Y,X of the part that is explained, 0 = all along that axis; default: what the model was trained on");
  options.add("--activations", &s.activations, "also write what every layer gives: NAME_LAYER.npy");
  options.add("--colours", &s.colours, "of the map").choices({"jet", "viridis"});
  options.add("--opacity", &s.overlay.opacity, "of the map over the image").at_least(0).at_most(1);
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  const auto layers = GcnUnet::activation_names();
  check<app::UsageError>(std::find(layers.begin(), layers.end(), s.cam.layer) != layers.end(), "--layer: '", s.cam.layer,
                         "' is not one of ", app::join(layers, ", "), app::did_you_mean(s.cam.layer, layers));
  check<app::UsageError>(s.at.empty() || s.at.size() == 3, "--at: ", s.at.size(), " numbers, expected Z,Y,X");
  check<app::UsageError>(s.crop.empty() || s.crop.size() == 3, "--crop: ", s.crop.size(), " numbers, expected Z,Y,X");
  check<app::UsageError>(s.target != "voxel" || !s.at.empty(), "--target voxel: say which, --at Z,Y,X");
  s.cam.kind = s.method == "gradcam" ? MapKind::gradcam : s.method == "gradcam++" ? MapKind::gradcam_pp : MapKind::activation;
  s.overlay.colours = s.colours == "jet" ? ColourMap::jet : ColourMap::viridis;
  Model model = load_model(s.model, {.device = common.where()});
  if (s.target != "voxel") region_of(zeros({1, 1, 1}, {.dtype = DType::u8}), s.target, model.card, {1, 1, 1});
  std::vector<fs::path> files;
  for (const std::string& input : s.inputs)
    for (const VolumeFile& f : volume_files(input)) files.push_back(f.path);
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const auto& f : files) load_input(f, model.card);
    std::cout << files.size() << " files can be read\n";
    return app::success;
  }
  const app::RunFolder folder = app::RunFolder::at(s.output, s.overwrite);
  app::Progress progress("files", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  progress.begin("explain", static_cast<std::int64_t>(files.size()));
  Json all = Json::array();
  for (const auto& f : files) {
    all.push_back(explain_one(s, model, load_input(f, model.card)));
    progress.update(static_cast<std::int64_t>(all.size()), "");
  }
  folder.write("explain.json", all);
  if (common.json) std::cout << all.dump(2) << '\n';
  else
    for (const Json& one : all.as_array())
      std::cout << s.output << "/" << one.get("name", "") << ".png  " << s.target << ", " << s.cam.layer << ": "
                << (one.at("mass_on_region").is_number()
                        ? app::fixed(100 * one.at("mass_on_region").as_double(), 1) + " % of the map on " +
                              app::fixed(100 * one.at("region_share").as_double(), 1) + " % of the volume"
                        : "an empty map")
                << '\n';
  return app::success;
}

}  // namespace cuboid::deepis
