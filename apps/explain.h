// SPDX-License-Identifier: Apache-2.0
// Which voxels a decision rests on: Grad-CAM (Selvaraju et al. 2017) and Grad-CAM++ (Chattopadhay et al. 2018) in 3D.
#pragma once
#include <array>
#include <string>

#include "nets/densenet.h"

namespace cuboid {

enum class CamMethod { gradcam, gradcam_pp };

struct CamOptions {
  CamMethod method = CamMethod::gradcam;
  std::string layer = "norm5";  // see DenseNet::activation_names
  std::int64_t target = -1;     // class whose logit is explained; -1: the predicted one
};

struct Cam {
  Tensor map;    // f32 (D,H,W) of the input, 0 ... 1; all 0 where nothing speaks for the class
  Shape coarse;  // the layer's own d,h,w
  std::int64_t target = 0;
  std::vector<double> probabilities;
};

/// x is 1,C,D,H,W. Weighted sum of the layer's channels, ReLU, trilinear (align_corners=false) to the volume, min-max.
Cam explain(DenseNet& net, const Tensor& x, const CamOptions& options = {});

/// The map of a layer's activation and the derivative of what is explained by it, both 1,K,d,h,w: see explain(). `size` is D,H,W.
Tensor cam_map(const Tensor& activation, const Tensor& gradient, CamMethod method, const Shape& size);

/// Share of the map's sum that lies where mask is not 0; NaN for an empty map.
double mass_inside(const Tensor& map, const Tensor& mask);
/// u8 mask of voxels above Otsu's threshold (256 bins) of a (D,H,W) volume.
Tensor otsu_mask(const Tensor& volume);

enum class ColourMap { viridis, jet };

struct OverlayOptions {
  ColourMap colours = ColourMap::jet;
  double opacity = 0.45;
  std::array<double, 3> spacing_um = {0, 0, 0};        // z,y,x; with it a bar of a round length is drawn
  std::int64_t height = 256;                           // of each plane in pixels, about
  std::array<std::int64_t, 3> through = {-1, -1, -1};  // z,y,x of the voxel the planes meet in; negative: the map's maximum
};

/// u8 (H,W,3): three planes (xy, xz, yz), grey above and overlaid below, and a colour bar.
Tensor overlay(const Tensor& volume, const Tensor& map, const OverlayOptions& options = {});

}  // namespace cuboid
