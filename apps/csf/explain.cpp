// SPDX-License-Identifier: Apache-2.0
// cuboid csf explain
#include <algorithm>
#include <iostream>

#include "apps/commands.h"
#include "apps/csf/evaluation.h"
#include "apps/csf/explain_run.h"
#include "apps/progress.h"
#include "apps/text.h"
#include "core/files.h"
#include "data/formats/npy.h"
#include "data/formats/png.h"
#include "data/volume.h"
#include "kernels/views/views.h"

namespace cuboid::csf {
namespace fs = std::filesystem;

Json explain_to(const fs::path& folder, const std::string& name, Model& model, const Tensor& x, const Tensor& mask,
                const ExplainOptions& options) {
  const Cam cam = explain(*model.net, x, options.cam);
  const Tensor volume = reshape(slice(x, 1, 0, 1), cam.map.shape());
  const double mass = mass_inside(cam.map, mask.defined() ? mask : otsu_mask(volume));
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, folder.string(), ": cannot make the folder: ", error.message());
  write_npy(folder / (name + "_cam.npy"), cam.map);
  OverlayOptions overlay_options = options.overlay;
  if (overlay_options.spacing_um[0] <= 0)
    for (std::size_t i = 0; i < 3; ++i) overlay_options.spacing_um[i] = model.card.spacing_um[i];
  const Tensor picture = overlay(volume, cam.map, overlay_options);
  bool drawn = true;
  try {
    write_png(folder / (name + ".png"), picture);
  } catch (const DataError&) {
    throw;
  } catch (const Error&) {
    if (fs::exists(folder / (name + ".png"), error)) throw;
    drawn = false;  // a build without libpng keeps the numbers
  }
  return Json::object({{"name", name},
                       {"class", model.card.classes[static_cast<std::size_t>(cam.target)]},
                       {"target", cam.target},
                       {"probabilities", Json(cam.probabilities)},
                       {"layer", options.cam.layer},
                       {"method", options.cam.method == CamMethod::gradcam ? "Grad-CAM" : "Grad-CAM++"},
                       {"mass_on_cell", finite(mass)},
                       {"mask", mask.defined() ? "given" : "Otsu"},
                       {"picture", drawn ? Json(name + ".png") : Json()},
                       {"map", name + "_cam.npy"}});
}

int explain_command(const Arguments& arguments) {
  std::vector<std::string> inputs;
  std::string model_path, output = "explain", method = "gradcam", colours = "jet", mask_path, net;
  std::int64_t fold = 1;
  double spacing_z = 0, spacing_xy = 0;
  bool overwrite = false;
  ExplainOptions explain_options;
  app::Common common;
  app::Options options("csf explain",
                       "Shows which voxels a decision rests on: a map per file and three planes with the map on top.");
  options.other_commands(app::command_names());
  options.example("cuboid csf explain -m runs/latest cell.npy -o explain/", "Grad-CAM behind the last norm");
  options.positional("inputs", &inputs, "volumes").required();
  options.add("-m,--model", &model_path, "weights, or a run folder").required();
  options.add("--fold", &fold, "which fold's weights of a run folder").at_least(1);
  options.add("--net", &net, "architecture of weights that do not say");
  options.add("-o,--output", &output, "folder for NAME_cam.npy and NAME.png");
  options.add("--overwrite", &overwrite, "replace maps that are there").not_saved();
  options.add("--method", &method, "which").choices({"gradcam", "gradcam++"});
  options.add("--layer", &explain_options.cam.layer, "activation, for example denseblock2");
  options.add("--target", &explain_options.cam.target, "class to explain, -1 = the predicted one").at_least(-1);
  options.add("--mask", &mask_path, "volume that is not 0 on the cell; default: Otsu's threshold");
  options.add("--colours", &colours, "of the map").choices({"jet", "viridis"});
  options.add("--opacity", &explain_options.overlay.opacity, "of the map over the cell").at_least(0).at_most(1);
  options.add("--spacing-z", &spacing_z, "um per voxel, where the model does not know").at_least(0);
  options.add("--spacing-xy", &spacing_xy, "um per voxel").at_least(0);
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  explain_options.cam.method = method == "gradcam" ? CamMethod::gradcam : CamMethod::gradcam_pp;
  explain_options.overlay.colours = colours == "jet" ? ColourMap::jet : ColourMap::viridis;
  if (spacing_z > 0 && spacing_xy > 0) explain_options.overlay.spacing_um = {spacing_z, spacing_xy, spacing_xy};
  Model model = load_model(model_path, {.net = net, .fold = fold, .device = common.where()});
  const auto layers = model.net->activation_names();
  check<app::UsageError>(std::find(layers.begin(), layers.end(), explain_options.cam.layer) != layers.end(), "--layer: '",
                         explain_options.cam.layer, "' is not one of ", app::join(layers, ", "),
                         app::did_you_mean(explain_options.cam.layer, layers));
  check<app::UsageError>(explain_options.cam.target < model.card.net.classes, "--target: ", explain_options.cam.target,
                         ", the model has ", model.card.net.classes, " classes");
  Tensor mask;
  if (!mask_path.empty()) mask = load_volume(mask_path).image;
  Json all = Json::array();
  app::Progress progress("files", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  progress.begin("explain", static_cast<std::int64_t>(inputs.size()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor x = load_input(inputs[i], model.card);
    if (common.dry_run) continue;
    const std::string name = app::slug(fs::path(inputs[i]).stem().string());
    check<app::UsageError>(overwrite || !fs::exists(fs::path(output) / (name + "_cam.npy")), output, "/", name,
                           "_cam.npy: exists; pass --overwrite to replace it");
    if (mask.defined())
      check<DataError>(mask.shape() == Shape({x.dim(2), x.dim(3), x.dim(4)}), mask_path, ": mask of shape ", mask.shape(),
                       ", volume ", x.shape());
    all.push_back(explain_to(output, name, model, x, mask, explain_options));
    progress.update(static_cast<std::int64_t>(i) + 1, "");
  }
  if (common.dry_run) std::cout << options.origin_table() << inputs.size() << " files can be read\n";
  else if (common.json) std::cout << all.dump(2) << '\n';
  else
    for (const Json& one : all.as_array())
      std::cout << output << "/" << one.get("name", "") << ".png  " << one.get("class", "") << "  "
                << (one.at("mass_on_cell").is_number()
                        ? app::fixed(100 * one.at("mass_on_cell").as_double(), 1) + " % of the map on the cell"
                        : "an empty map")
                << '\n';
  return app::success;
}

}  // namespace cuboid::csf
