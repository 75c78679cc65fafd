// SPDX-License-Identifier: Apache-2.0
#include "nets/gcn_unet.h"

#include "bench/libtorch/cuboid/net.h"
#include "kernels/random/random.h"
#include "layers/volume_loss.h"

using namespace cuboid;

namespace side {
namespace {

NamedTensors inputs(const NetEntry&, const Extent& extent) {
  const std::int64_t n = extent.batch ? extent.batch : 1, side = extent.side;
  const Shape shape = side ? Shape{n, 1, side, side, side} : Shape{n, 1, 128, 128, 64};
  return {{"bench.input", uniform(shape, {.seed = 7}, 0, 1)}, {"bench.target", uniform(shape, {.seed = 8}, -1, 1)}};
}

class Unet : public Net {
 public:
  explicit Unet(const NamedTensors& given)
      : net_(GcnUnetOptions{.auxiliary = 0}), x_(input(given, "input")), target_(input(given, "target")) {}
  Module& module() override { return net_; }
  Tensor forward() override { return net_(x_); }
  Tensor loss(const Tensor& distance) override { return l1(distance, target_); }

 private:
  GcnUnet net_;
  Tensor x_, target_;
};

std::unique_ptr<Net> make(const NetEntry&, const NamedTensors& given) { return std::make_unique<Unet>(given); }

}  // namespace

std::vector<NetEntry> gcn_unets() {
  return {{"gcn_unet", "ResNet-GCN U-Net, 128x128x64, batch 1", Size::heavy, inputs, make, {.batch = 1, .side = 32}}};
}

}  // namespace side
