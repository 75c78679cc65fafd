// SPDX-License-Identifier: Apache-2.0
// DenseNet121 in three dimensions as a LibTorch user would write it: the same stages, sizes and names as nets/densenet.h.
#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

namespace side {

/// In place, as the well-written PyTorch nets do it: no second copy of the activation.
inline torch::Tensor relu_inplace(torch::Tensor x) { return x.relu_(); }

inline torch::nn::Conv3d conv3d(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
  return torch::nn::Conv3d(torch::nn::Conv3dOptions(in, out, kernel).stride(stride).padding(pad).bias(false));
}

struct DenseLayerImpl : torch::nn::Module {
  torch::nn::BatchNorm3d norm1{nullptr}, norm2{nullptr};
  torch::nn::Conv3d conv1{nullptr}, conv2{nullptr};
  DenseLayerImpl(int64_t in, int64_t growth, int64_t bn_size) {
    auto layers = register_module("layers", torch::nn::ModuleDict());
    norm1 = torch::nn::BatchNorm3d(in);
    conv1 = conv3d(in, bn_size * growth, 1, 1, 0);
    norm2 = torch::nn::BatchNorm3d(bn_size * growth);
    conv2 = conv3d(bn_size * growth, growth, 3, 1, 1);
    layers->update({{"norm1", norm1.ptr()}, {"conv1", conv1.ptr()}, {"norm2", norm2.ptr()}, {"conv2", conv2.ptr()}});
  }
  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor y = conv1(relu_inplace(norm1(x)));
    return torch::cat({x, conv2(relu_inplace(norm2(y)))}, 1);
  }
};
TORCH_MODULE(DenseLayer);

struct TransitionImpl : torch::nn::Module {
  torch::nn::BatchNorm3d norm{nullptr};
  torch::nn::Conv3d conv{nullptr};
  TransitionImpl(int64_t in, int64_t out) {
    norm = register_module("norm", torch::nn::BatchNorm3d(in));
    conv = register_module("conv", conv3d(in, out, 1, 1, 0));
  }
  torch::Tensor forward(const torch::Tensor& x) { return torch::avg_pool3d(conv(relu_inplace(norm(x))), 2, 2); }
};
TORCH_MODULE(Transition);

/// MONAI's DenseNet121: stem k7 s2 p3, max pool k3 s2 p1, blocks 6/12/24/16, growth 32, bottleneck 4.
struct DenseNetImpl : torch::nn::Module {
  torch::nn::Conv3d conv0{nullptr};
  torch::nn::BatchNorm3d norm0{nullptr}, norm5{nullptr};
  torch::nn::Linear out{nullptr};
  std::vector<std::vector<DenseLayer>> blocks;
  std::vector<Transition> transitions;

  explicit DenseNetImpl(const std::vector<int>& sizes = {6, 12, 24, 16}, int64_t growth = 32, int64_t classes = 2) {
    conv0 = conv3d(1, 64, 7, 2, 3);
    norm0 = torch::nn::BatchNorm3d(64);
    torch::nn::ModuleDict features, head;
    features->update({{"conv0", conv0.ptr()}, {"norm0", norm0.ptr()}});
    int64_t channels = 64;
    for (std::size_t b = 0; b < sizes.size(); ++b) {
      torch::nn::ModuleDict block;
      blocks.emplace_back();
      for (int i = 0; i < sizes[b]; ++i, channels += growth) {
        blocks.back().push_back(DenseLayer(channels, growth, 4));
        block->update({{"denselayer" + std::to_string(i + 1), blocks.back().back().ptr()}});
      }
      features->update({{"denseblock" + std::to_string(b + 1), block.ptr()}});
      if (b + 1 == sizes.size()) break;
      transitions.push_back(Transition(channels, channels / 2));
      features->update({{"transition" + std::to_string(b + 1), transitions.back().ptr()}});
      channels /= 2;
    }
    norm5 = torch::nn::BatchNorm3d(channels);
    features->update({{"norm5", norm5.ptr()}});
    out = torch::nn::Linear(channels, classes);
    head->update({{"out", out.ptr()}});
    register_module("features", features);
    register_module("class_layers", head);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::max_pool3d(relu_inplace(norm0(conv0(x))), 3, 2, 1);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      for (auto& layer : blocks[b]) x = layer(x);
      if (b < transitions.size()) x = transitions[b](x);
    }
    x = relu_inplace(norm5(x));
    return out(torch::adaptive_avg_pool3d(x, {1, 1, 1}).flatten(1));
  }
};
TORCH_MODULE(DenseNet);

}  // namespace side
