// SPDX-License-Identifier: Apache-2.0
// The ResNet-GCN U-Net in LibTorch, layer by layer as it was published: a function of named weights, so that the names of a
// state dict are what ties the two nets together.
#pragma once
#include <map>

#include "nets/gcn_unet.h"
#include "tests/torch_parity/parity.h"

namespace cuboid::test {

class TorchGcnUnet {
 public:
  TorchGcnUnet(const GcnUnetOptions& options, const NamedTensors& state, torch::ScalarType type = torch::kFloat32) : o_(options) {
    for (const auto& [name, t] : state)
      weights_[name] = to_torch(t).to(type).set_requires_grad(name.find("running_") == std::string::npos);
  }

  bool training = true;
  const torch::Tensor& operator[](const std::string& name) const { return weights_.at(name); }

  struct Output {
    torch::Tensor main, aux3, aux4;
  };
  Output forward(const torch::Tensor& x) const {
    const torch::Tensor f1 = conv_norm("conv1.conv2", conv_norm("conv1.conv1", x, true), true);
    const torch::Tensor f2 = layer("layer1", f1), f3 = layer("layer2", f2), f4 = layer("layer3", f3), f5 = layer("layer4", f4);
    const torch::Tensor s4 = con_br("ConBR4", up(gcn("gcn5", f5), f4) + gcn("gcn4", f4));
    const torch::Tensor s3 = con_br("ConBR3", up(s4, f3) + gcn("gcn3", f3));
    const torch::Tensor s2 = con_br("ConBR2", up(s3, f2) + gcn("gcn2", f2));
    const torch::Tensor s1 = con_br("ConBR1", up(s2, f1) + conv("gcn1", f1));
    return {conv("final.0", s1), head("classifier3", s3), head("classifier4", s4)};
  }

 private:
  /// Padded by half the kernel along each axis.
  torch::Tensor conv(const std::string& name, const torch::Tensor& x, std::int64_t stride = 1) const {
    const torch::Tensor& w = weights_.at(name + ".weight");
    const auto bias = weights_.find(name + ".bias");
    return torch::conv3d(x, w, bias == weights_.end() ? torch::Tensor() : bias->second, stride,
                         {w.size(2) / 2, w.size(3) / 2, w.size(4) / 2});
  }
  torch::Tensor norm(const std::string& name, const torch::Tensor& x) const {
    return torch::batch_norm(x, weights_.at(name + ".weight"), weights_.at(name + ".bias"), weights_.at(name + ".running_mean"),
                             weights_.at(name + ".running_var"), training, 0.1, 1e-5, false);
  }
  torch::Tensor conv_norm(const std::string& name, const torch::Tensor& x, bool relu, std::int64_t stride = 1) const {
    const torch::Tensor y = norm(name + ".1", conv(name + ".0", x, stride));
    return relu ? torch::relu(y) : y;
  }
  torch::Tensor layer(const std::string& name, torch::Tensor x) const {
    for (int i = 0; weights_.count(name + ".blocks." + std::to_string(i) + ".reduce.0.weight"); ++i) {
      const std::string block = name + ".blocks." + std::to_string(i) + ".";
      torch::Tensor y = conv_norm(block + "reduce", x, true);
      y = conv_norm(block + "conv3", y, true, i ? 1 : 2);
      y = conv_norm(block + "increase", y, false);
      x = torch::relu(y + (i ? x : conv_norm(block + "proj", x, false, 2)));
    }
    return x;
  }
  torch::Tensor gcn(const std::string& name, const torch::Tensor& x) const {
    return conv(name + ".conv_l3", conv(name + ".conv_l2", conv(name + ".conv_l1", x))) +
           conv(name + ".conv_r3", conv(name + ".conv_r2", conv(name + ".conv_r1", x)));
  }
  torch::Tensor con_br(const std::string& name, const torch::Tensor& x) const {
    const torch::Tensor y = conv(name + ".conv1", x);
    return y + conv(name + ".conv3", torch::relu(conv(name + ".conv2", y)));
  }
  static torch::Tensor up(const torch::Tensor& x, const torch::Tensor& like) {
    return torch::upsample_trilinear3d(x, like.sizes().slice(2), true);
  }
  /// Logits, without the dropout.
  torch::Tensor head(const std::string& name, const torch::Tensor& x) const {
    if (o_.auxiliary == 0) return {};
    return conv(name + ".4", torch::relu(norm(name + ".1", conv(name + ".0", x))));
  }

  GcnUnetOptions o_;
  std::map<std::string, torch::Tensor> weights_;
};

}  // namespace cuboid::test
