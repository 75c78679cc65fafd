// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>

#include "apps/csf/model.h"
#include "apps/explain.h"
#include "core/json.h"

namespace cuboid::csf {

struct ExplainOptions {
  CamOptions cam;
  OverlayOptions overlay;
};

/// Explains one volume (1,C,D,H,W) and writes NAME_cam.npy and NAME.png into `folder`. `mask` (D,H,W) says where the cell is;
/// undefined: Otsu's threshold of the volume. Returns what a report needs, "mass_on_cell" among it.
Json explain_to(const std::filesystem::path& folder, const std::string& name, Model& model, const Tensor& x, const Tensor& mask,
                const ExplainOptions& options);

}  // namespace cuboid::csf
