// SPDX-License-Identifier: Apache-2.0
#include "nets/densenet.h"

#include "bench/libtorch/cuboid/net.h"
#include "kernels/random/random.h"
#include "layers/loss.h"

using namespace cuboid;

namespace side {
namespace {

DenseNetOptions options(const std::string& name) {
  DenseNetOptions o = name.ends_with("2d") ? monai_densenet121(2, 3) : monai_densenet121();
  if (name.find("169") != name.npos) o.blocks = {6, 12, 32, 32};
  if (name == "tiny_3d") o.blocks = {2, 2};
  return o;
}

NamedTensors inputs(const NetEntry& entry, const Extent& extent) {
  const bool flat = entry.name.ends_with("2d");
  const std::int64_t n = extent.batch ? extent.batch : 8, side = extent.side               ? extent.side
                                                                 : flat                    ? 256
                                                                 : entry.name == "tiny_3d" ? 16
                                                                                           : 64;
  const Shape shape = flat ? Shape{n, 3, side, side} : Shape{n, 1, side, side, side};
  std::vector<std::int64_t> labels(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = "01101001"[i % 8] - '0';
  return {{"bench.input", uniform(shape, {.seed = 7}, 0, 1)}, {"bench.labels", from_values(labels, {n})}};
}

class Dense : public Net {
 public:
  Dense(const DenseNetOptions& o, const NamedTensors& given)
      : net_(o), x_(input(given, "input")), labels_(input(given, "labels")) {}
  Module& module() override { return net_; }
  Tensor forward() override { return net_(x_); }
  Tensor loss(const Tensor& logits) override { return cross_entropy(logits, labels_); }

 private:
  DenseNet net_;
  Tensor x_, labels_;
};

std::unique_ptr<Net> make(const NetEntry& entry, const NamedTensors& given) {
  return std::make_unique<Dense>(options(entry.name), given);
}

}  // namespace

std::vector<NetEntry> densenets() {
  return {{"densenet121_3d", "DenseNet121 3D, 64^3, batch 8", Size::small, inputs, make, {.batch = 4, .side = 64}},
          {"densenet169_3d", "DenseNet169 3D, 64^3, batch 8", Size::large, inputs, make},
          {"densenet121_2d", "DenseNet121 2D, 256 px, batch 8", Size::small, inputs, make},
          {"tiny_3d", "a small DenseNet, for tests", Size::test, inputs, make}};
}

}  // namespace side
