// SPDX-License-Identifier: Apache-2.0
// What a segmentation rests on: Seg-Grad-CAM (Vinogradova et al., AAAI 2020) of a layer, for a region of the net's own answer.
#pragma once
#include <optional>
#include <string>

#include "apps/deepis/model.h"
#include "apps/explain.h"

namespace cuboid::deepis {

enum class MapKind : std::uint8_t { gradcam, gradcam_pp, activation };  // activation: root mean square over the channels

struct SegCamOptions {
  MapKind kind = MapKind::gradcam;
  std::string layer = "ConBR2";  // see GcnUnet::activation_names
};

struct SegCam {
  Tensor map;    // f32 (D,H,W), 0 ... 1
  Shape coarse;  // the layer's own d,h,w
};

/// What the net says of x: f32 (K,D,H,W) on the CPU. x is 1,C,D,H,W, normalised.
Tensor outputs_of(Model& model, const Tensor& x);

/// Explains what the net says where region (u8, D,H,W) is not 0: the sum there of the distance's magnitude, or of the predicted
/// classes' logits, is derived by the layer's activation. For MapKind::activation the region does not matter.
SegCam explain_region(Model& model, const Tensor& x, const Tensor& region, const SegCamOptions& options);

/// Where the labels answer `target`: "foreground", "synapse" (within reach of labels 1 and 2), a class name, or a label's number.
/// UsageError for a target that the model does not have, with those it has.
Tensor region_of(const Tensor& labels, const std::string& target, const ModelCard& card, const Spacing& spacing_um);

}  // namespace cuboid::deepis
