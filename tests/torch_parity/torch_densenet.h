// SPDX-License-Identifier: Apache-2.0
// DenseNet in LibTorch, from the paper's figure and our options: a function of named weights, so that the names of a state
// dict are what ties the two nets together.
#pragma once
#include <map>

#include "nets/densenet.h"
#include "tests/torch_parity/parity.h"

namespace cuboid::test {

class TorchDenseNet {
 public:
  TorchDenseNet(const DenseNetOptions& options, const NamedTensors& state, torch::ScalarType type = torch::kFloat32)
      : o_(options) {
    for (const auto& [name, t] : state) {
      const bool statistics = name.find("running_") != std::string::npos;
      weights_[name] = to_torch(t).to(type).set_requires_grad(!statistics);
    }
  }

  bool training = true;
  const torch::Tensor& operator[](const std::string& name) const { return weights_.at(name); }

  torch::Tensor forward(torch::Tensor x) const {
    x = conv("features.conv0", x, 2, o_.stem_kernel / 2);
    x = norm("features.norm0", x);
    if (o_.stem_pool) x = o_.dims == 3 ? torch::max_pool3d(x, 3, 2, 1) : torch::max_pool2d(x, 3, 2, 1);
    for (std::size_t b = 1; b <= o_.blocks.size(); ++b) {
      for (int i = 1; i <= o_.blocks[b - 1]; ++i) {
        std::string layer = "features.denseblock" + std::to_string(b) + ".denselayer" + std::to_string(i) + ".";
        if (o_.keys == DenseNetKeys::monai) layer += "layers.";
        const torch::Tensor narrow = conv(layer + "conv1", norm(layer + "norm1", x), 1, 0);
        x = torch::cat({x, conv(layer + "conv2", norm(layer + "norm2", narrow), 1, 1)}, 1);
      }
      if (b == o_.blocks.size()) break;
      const std::string transition = "features.transition" + std::to_string(b) + ".";
      x = conv(transition + "conv", norm(transition + "norm", x), 1, 0);
      x = o_.dims == 3 ? torch::avg_pool3d(x, 2) : torch::avg_pool2d(x, 2);
    }
    x = norm("features.norm5", x).flatten(2).mean(2);
    const std::string head = o_.keys == DenseNetKeys::monai ? "class_layers.out" : "classifier";
    return torch::linear(x, weights_.at(head + ".weight"), weights_.at(head + ".bias"));
  }

 private:
  torch::Tensor conv(const std::string& name, const torch::Tensor& x, std::int64_t stride, std::int64_t pad) const {
    const torch::Tensor& w = weights_.at(name + ".weight");
    return o_.dims == 3 ? torch::conv3d(x, w, {}, stride, pad) : torch::conv2d(x, w, {}, stride, pad);
  }
  torch::Tensor norm(const std::string& name, const torch::Tensor& x) const {
    const auto y =
        torch::batch_norm(x, weights_.at(name + ".weight"), weights_.at(name + ".bias"), weights_.at(name + ".running_mean"),
                          weights_.at(name + ".running_var"), training, 0.1, 1e-5, false);
    return o_.activation == Activation::leaky_relu ? torch::leaky_relu(y, o_.slope) : torch::relu(y);
  }

  DenseNetOptions o_;
  std::map<std::string, torch::Tensor> weights_;
};

}  // namespace cuboid::test
