// SPDX-License-Identifier: Apache-2.0
// A segmentation net on whole volumes: on the voxels it was trained on, in windows of its patch, back on the volume's own voxels.
#pragma once
#include "apps/deepis/model.h"
#include "apps/deepis/postprocess.h"
#include "apps/sliding_window.h"
#include "data/volume.h"

namespace cuboid::deepis {

struct PredictOptions {
  /// Its size may be empty: the model's patch, 64 x 128 x 128 where the model does not know one.
  app::SlidingWindowOptions window = {.window = {}};
  bool resample = true;  // when the volume's voxels are not of the size the model was trained on
  bool bf16 = false;
  PostprocessOptions postprocess;
};

/// The window, filled in.
Shape window_of(const ModelCard& card, const PredictOptions& options);
/// The model as slide() wants it; `model` must outlive it.
app::PatchNet patch_net(const Model& model, bool bf16);

/// D,H,W at which the net sees a volume of shape D,H,W: `shape` itself unless both spacings are known, differ by more than a
/// hundredth, and options allow resampling.
Shape seen_shape(const Shape& shape, const Spacing& spacing_um, const ModelCard& card, const PredictOptions& options);

/// Normalised planes of a volume C,D,H,W, of these voxels, to planes of what the net says, K,D,H,W on the same voxels.
void predict_planes(const Model& model, const Shape& volume, const Spacing& spacing_um, const app::ReadPlanes& read,
                    const app::WritePlanes& write, const PredictOptions& options);
/// What it holds beside the net's own memory and what `read` and `write` hold.
std::int64_t predict_planes_bytes(const ModelCard& card, const Shape& volume, const Spacing& spacing_um,
                                  const PredictOptions& options);

/// The same in memory: an image [D,H,W] or [C,D,H,W] as it is in the file. f32 K,D,H,W: distances in µm, or logits.
Tensor predict_scores(const Model& model, const Tensor& image, const Spacing& spacing_um, const PredictOptions& options = {});
/// By the model's head: scores to labels (D,H,W), u8, for instances i32.
Tensor labels_of(Head head, const Tensor& scores, const Spacing& spacing_um, const PostprocessOptions& options);

}  // namespace cuboid::deepis
