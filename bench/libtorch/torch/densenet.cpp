// SPDX-License-Identifier: Apache-2.0
// DenseNet in two and three dimensions as a LibTorch user would write it: the same stages, sizes and names as nets/densenet.h.
#include "bench/libtorch/torch/net.h"

namespace side {
namespace {

/// In place, as the well-written PyTorch nets do it: no second copy of the activation.
torch::Tensor relu_inplace(torch::Tensor x) { return x.relu_(); }

template <int D>
struct Dims;
template <>
struct Dims<2> {
  using Conv = torch::nn::Conv2d;
  using Norm = torch::nn::BatchNorm2d;
  static torch::Tensor max_pool(const torch::Tensor& x) { return torch::max_pool2d(x, 3, 2, 1); }
  static torch::Tensor avg_pool(const torch::Tensor& x) { return torch::avg_pool2d(x, 2, 2); }
  static torch::Tensor global_pool(const torch::Tensor& x) { return torch::adaptive_avg_pool2d(x, {1, 1}); }
};
template <>
struct Dims<3> {
  using Conv = torch::nn::Conv3d;
  using Norm = torch::nn::BatchNorm3d;
  static torch::Tensor max_pool(const torch::Tensor& x) { return torch::max_pool3d(x, 3, 2, 1); }
  static torch::Tensor avg_pool(const torch::Tensor& x) { return torch::avg_pool3d(x, 2, 2); }
  static torch::Tensor global_pool(const torch::Tensor& x) { return torch::adaptive_avg_pool3d(x, {1, 1, 1}); }
};

template <int D>
typename Dims<D>::Conv conv(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
  return typename Dims<D>::Conv(torch::nn::ConvOptions<D>(in, out, kernel).stride(stride).padding(pad).bias(false));
}

template <int D>
struct Layer : torch::nn::Module {
  typename Dims<D>::Norm norm1{nullptr}, norm2{nullptr};
  typename Dims<D>::Conv conv1{nullptr}, conv2{nullptr};
  Layer(int64_t in, int64_t growth, int64_t bn_size)
      : norm1(in),
        norm2(bn_size * growth),
        conv1(conv<D>(in, bn_size * growth, 1, 1, 0)),
        conv2(conv<D>(bn_size * growth, growth, 3, 1, 1)) {
    auto layers = register_module("layers", torch::nn::ModuleDict());
    layers->update({{"norm1", norm1.ptr()}, {"conv1", conv1.ptr()}, {"norm2", norm2.ptr()}, {"conv2", conv2.ptr()}});
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = conv1(relu_inplace(norm1(x)));
    return torch::cat({x, conv2(relu_inplace(norm2(y)))}, 1);
  }
};

template <int D>
struct Transition : torch::nn::Module {
  typename Dims<D>::Norm norm{nullptr};
  typename Dims<D>::Conv conv_{nullptr};
  Transition(int64_t in, int64_t out) {
    norm = register_module("norm", typename Dims<D>::Norm(in));
    conv_ = register_module("conv", conv<D>(in, out, 1, 1, 0));
  }
  torch::Tensor forward(const torch::Tensor& x) { return Dims<D>::avg_pool(conv_(relu_inplace(norm(x)))); }
};

/// MONAI's: stem k7 s2 p3, max pool k3 s2 p1, growth 32, bottleneck 4.
template <int D>
struct Net : torch::nn::Module {
  typename Dims<D>::Conv conv0{nullptr};
  typename Dims<D>::Norm norm0{nullptr}, norm5{nullptr};
  torch::nn::Linear out{nullptr};
  std::vector<std::vector<std::shared_ptr<Layer<D>>>> blocks;
  std::vector<std::shared_ptr<Transition<D>>> transitions;

  Net(const std::vector<int>& sizes, int64_t in_channels, int64_t growth = 32, int64_t classes = 2)
      : conv0(conv<D>(in_channels, 64, 7, 2, 3)), norm0(64) {
    torch::nn::ModuleDict features, head;
    features->update({{"conv0", conv0.ptr()}, {"norm0", norm0.ptr()}});
    int64_t channels = 64;
    for (std::size_t b = 0; b < sizes.size(); ++b) {
      torch::nn::ModuleDict block;
      blocks.emplace_back();
      for (int i = 0; i < sizes[b]; ++i, channels += growth) {
        blocks.back().push_back(std::make_shared<Layer<D>>(channels, growth, 4));
        block->update({{"denselayer" + std::to_string(i + 1), blocks.back().back()}});
      }
      features->update({{"denseblock" + std::to_string(b + 1), block.ptr()}});
      if (b + 1 == sizes.size()) break;
      transitions.push_back(std::make_shared<Transition<D>>(channels, channels / 2));
      features->update({{"transition" + std::to_string(b + 1), transitions.back()}});
      channels /= 2;
    }
    norm5 = typename Dims<D>::Norm(channels);
    features->update({{"norm5", norm5.ptr()}});
    out = torch::nn::Linear(channels, classes);
    head->update({{"out", out.ptr()}});
    register_module("features", features);
    register_module("class_layers", head);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = Dims<D>::max_pool(relu_inplace(norm0(conv0(x))));
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      for (auto& layer : blocks[b]) x = layer->forward(x);
      if (b < transitions.size()) x = transitions[b]->forward(x);
    }
    x = relu_inplace(norm5(x));
    return out(Dims<D>::global_pool(x).flatten(1));
  }
};

template <int D>
class Dense : public TorchNet {
 public:
  Dense(const std::vector<int>& blocks, int64_t in_channels) : net_(blocks, in_channels) {}
  torch::nn::Module& module() override { return net_; }
  torch::Tensor forward(const Inputs& inputs) override { return net_.forward(inputs.at("input")); }
  torch::Tensor loss(const torch::Tensor& logits, const Inputs& inputs) override {
    return torch::nn::functional::cross_entropy(logits, inputs.at("labels"));
  }

 private:
  Net<D> net_;
};

std::unique_ptr<TorchNet> make(const std::string& name) {
  if (name == "densenet121_2d") return std::make_unique<Dense<2>>(std::vector<int>{6, 12, 24, 16}, 3);
  if (name == "densenet169_3d") return std::make_unique<Dense<3>>(std::vector<int>{6, 12, 32, 32}, 1);
  if (name == "tiny_3d") return std::make_unique<Dense<3>>(std::vector<int>{2, 2}, 1);
  return std::make_unique<Dense<3>>(std::vector<int>{6, 12, 24, 16}, 1);
}

}  // namespace

std::vector<TorchEntry> torch_densenets() {
  return {{"densenet121_3d", make}, {"densenet169_3d", make}, {"densenet121_2d", make}, {"tiny_3d", make}};
}

}  // namespace side
