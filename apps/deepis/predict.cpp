// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/predict.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "apps/plane_resizer.h"
#include "kernels/views/views.h"
#include "layers/precision.h"

namespace cuboid::deepis {
namespace {

bool known(const Spacing& s) {
  return std::all_of(s.begin(), s.end(), [](double v) { return std::isfinite(v) && v > 0; });
}

app::SlidingWindowOptions with_window(const ModelCard& card, const PredictOptions& options) {
  app::SlidingWindowOptions window = options.window;
  window.window = window_of(card, options);
  return window;
}

/// The spacing post-processing works with: 1 where nobody said.
Spacing or_ones(const Spacing& s) { return known(s) ? s : Spacing{1, 1, 1}; }

}  // namespace

Shape window_of(const ModelCard& card, const PredictOptions& options) {
  if (options.window.window.rank() == 3) return options.window.window;
  return card.patch.rank() == 3 ? card.patch : Shape{64, 128, 128};
}

app::PatchNet patch_net(const Model& model, bool bf16) {
  return [&model, bf16](const Tensor& patches) {
    std::optional<ComputeIn> scope;
    if (bf16) scope.emplace(DType::bf16);
    return (*model.net)(to(patches, model.net->device()));
  };
}

Shape seen_shape(const Shape& shape, const Spacing& spacing_um, const ModelCard& card, const PredictOptions& options) {
  Shape seen = shape;
  if (!options.resample || !known(spacing_um) || !known(card.spacing_um)) return seen;
  bool differs = false;
  for (int i = 0; i < 3; ++i) {
    const double ratio = spacing_um[static_cast<std::size_t>(i)] / card.spacing_um[static_cast<std::size_t>(i)];
    if (std::abs(ratio - 1) <= 0.01) continue;
    differs = true;
    seen[i] = std::max<std::int64_t>(1, std::llround(static_cast<double>(shape[i]) * ratio));
  }
  return differs ? seen : shape;
}

void predict_planes(const Model& model, const Shape& volume, const Spacing& spacing_um, const app::ReadPlanes& read,
                    const app::WritePlanes& write, const PredictOptions& options) {
  check(volume.rank() == 4 && volume[0] == model.card.net.in_channels, "predict: a volume of shape ", volume,
        "; the model wants ", model.card.net.in_channels, " channel", model.card.net.in_channels == 1 ? "" : "s", " (C,D,H,W)");
  const Shape own = {volume[1], volume[2], volume[3]}, seen = seen_shape(own, spacing_um, model.card, options);
  const Shape at_net = {volume[0], seen[0], seen[1], seen[2]};
  const std::int64_t outputs = model.card.net.out_channels;
  const app::PatchNet net = patch_net(model, options.bf16);
  model.net->eval();
  if (seen == own) return app::slide(net, volume, read, outputs, write, with_window(model.card, options));
  app::slide(net, at_net, app::read_resized(read, volume, seen), outputs,
             app::write_resized(write, {outputs, seen[0], seen[1], seen[2]}, own), with_window(model.card, options));
}

std::int64_t predict_planes_bytes(const ModelCard& card, const Shape& volume, const Spacing& spacing_um,
                                  const PredictOptions& options) {
  const Shape own = {volume[1], volume[2], volume[3]}, seen = seen_shape(own, spacing_um, card, options);
  const app::WindowGrid grid(seen, with_window(card, options));
  const std::int64_t outputs = card.net.out_channels, windows = grid.bytes(volume[0], outputs);
  if (own == seen) return windows;
  return windows + app::resizing_bytes(volume, seen) + app::resizing_bytes({outputs, seen[0], seen[1], seen[2]}, own);
}

Tensor predict_scores(const Model& model, const Tensor& image, const Spacing& spacing_um, const PredictOptions& options) {
  check(image.rank() == 3 || image.rank() == 4, "predict: an image of shape ", image.shape(), ", expected D,H,W or C,D,H,W");
  const Tensor whole = normalised(image, model.card.normalise), x = whole.rank() == 4 ? whole : unsqueeze(whole, 0);
  const Tensor y = empty({model.card.net.out_channels, x.dim(1), x.dim(2), x.dim(3)});
  predict_planes(
      model, x.shape(), spacing_um,
      [&](std::int64_t first, const Tensor& planes) { copy(slice(x, 1, first, planes.dim(1)), planes); },
      [&](std::int64_t first, const Tensor& planes) { copy(planes, slice(y, 1, first, planes.dim(1))); }, options);
  return y;
}

Tensor labels_of(Head head, const Tensor& scores, const Spacing& spacing_um, const PostprocessOptions& options) {
  const Spacing spacing = or_ones(spacing_um);
  if (head == Head::classes) return labels_of_scores(scores, spacing, options);
  const Tensor distance = select(scores, 0, 0);
  return head == Head::instances ? labels_of_instances(distance, spacing, options) : labels_of_signed(distance, spacing, options);
}

}  // namespace cuboid::deepis
