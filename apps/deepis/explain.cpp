// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/explain.h"

#include <algorithm>
#include <cmath>

#include "apps/deepis/measurement.h"
#include "apps/options.h"
#include "apps/text.h"
#include "core/autograd.h"
#include "data/morphology/components.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views/views.h"

namespace cuboid::deepis {
namespace {

/// Weights of the net's outputs (1,K,D,H,W, on the CPU) whose sum is explained.
Tensor weights_of(const Tensor& outputs, const Tensor& region) {
  const std::int64_t classes = outputs.dim(1), n = region.size();
  Tensor weights = zeros(outputs.shape(), {.dtype = DType::f32});
  auto* w = weights.mutable_data<float>();
  const auto* r = region.data<std::uint8_t>();
  const auto* y = outputs.data<float>();
  for (std::int64_t i = 0; i < n; ++i) {
    if (!r[i]) continue;
    if (classes == 1) {
      w[i] = y[i] < 0 ? -1.0F : 1.0F;
      continue;
    }
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < classes; ++c)
      if (y[c * n + i] > y[best * n + i]) best = c;
    w[best * n + i] = 1;
  }
  return weights;
}

Tensor on_cpu(const Tensor& x) {
  Tensor y = empty(x.shape(), {.dtype = DType::f32});
  copy(to(x.detach(), Device::cpu), y);
  return y;
}

}  // namespace

Tensor outputs_of(Model& model, const Tensor& x) {
  const Recording off(false);
  model.net->eval();
  const Tensor y = on_cpu((*model.net)(to(x, model.net->device())));
  return reshape(y, {y.dim(1), y.dim(2), y.dim(3), y.dim(4)});
}

SegCam explain_region(Model& model, const Tensor& volume, const Tensor& region, const SegCamOptions& options) {
  check(volume.rank() == 5 && volume.dim(0) == 1 && region.shape() == Shape({volume.dim(2), volume.dim(3), volume.dim(4)}),
        "explain: expects a volume 1,C,D,H,W and a region D,H,W, got ", volume.shape(), " and ", region.shape());
  const auto names = GcnUnet::activation_names();
  check(std::find(names.begin(), names.end(), options.layer) != names.end(), "explain: no layer '", options.layer,
        "'; there are ", app::join(names, ", "));
  const bool derived = options.kind != MapKind::activation;
  model.net->eval();
  Tensor x = to(volume, model.net->device()).detach();
  if (derived) x.requires_grad(true);  // a net for inference has no other leaf
  Activations keep{{options.layer, {}}};
  const Recording recording(derived);
  const Tensor y = model.net->forward(x, &keep).main;
  const Tensor activation = keep.at(options.layer);
  SegCam cam;
  for (int i = 2; i < 5; ++i) cam.coarse.push_back(activation.dim(i));
  if (derived) {
    const Tensor weights = to(weights_of(on_cpu(y), region), y.device());
    const Tensor gradient = grad(sum(cast(y, DType::f32) * weights), {activation}).front();
    cam.map = cam_map(activation, gradient, options.kind == MapKind::gradcam ? CamMethod::gradcam : CamMethod::gradcam_pp,
                      region.shape());
  } else {
    // weights of one over the number of channels, which is what a gradient of ones comes to
    const Tensor magnitude = square(activation.detach());
    const Tensor root = sqrt(mean(magnitude, {1}, true));
    cam.map = cam_map(root, full(root.shape(), 1, root.options()), CamMethod::gradcam, region.shape());
  }
  return cam;
}

Tensor region_of(const Tensor& labels, const std::string& target, const ModelCard& card, const Spacing& spacing_um) {
  std::vector<std::string> known = {"foreground"};
  if (card.head == Head::signed_distance) known.push_back("synapse");
  if (card.head != Head::instances) known.insert(known.end(), card.classes.begin() + 1, card.classes.end());
  if (target == "synapse" && card.head == Head::signed_distance) return synapse_mask(labels, 1, 2, spacing_um, -1);
  if (target == "foreground") {
    Tensor mask = empty(labels.shape(), {.dtype = DType::u8});
    const Tensor whole = morphology::as_labels(labels, "explain");
    for (std::int64_t i = 0; i < mask.size(); ++i)
      mask.mutable_data<std::uint8_t>()[i] =
          whole.dtype() == DType::u8 ? whole.data<std::uint8_t>()[i] != 0 : whole.data<std::int32_t>()[i] != 0;
    return mask;
  }
  for (std::size_t c = 1; c < card.classes.size() && card.head != Head::instances; ++c)
    if (target == card.classes[c] || target == std::to_string(c)) return mask_of(labels, static_cast<std::int32_t>(c));
  fail<app::UsageError>("--target: '", target, "' is none of ", app::join(known, ", "), app::did_you_mean(target, known));
}

}  // namespace cuboid::deepis
