// SPDX-License-Identifier: Apache-2.0
// The ResNet-GCN U-Net of nets/gcn_unet.h as a LibTorch user would write it: the same layers, sizes and names, without the
// auxiliary heads.
#include "bench/libtorch/torch/net.h"

namespace side {
namespace {

using torch::nn::BatchNorm3d;
using torch::nn::Conv3d;
using torch::nn::Conv3dOptions;
using torch::nn::Sequential;

Conv3d conv(int64_t in, int64_t out, std::vector<int64_t> kernel, int64_t stride = 1) {
  const std::vector<int64_t> pad{kernel[0] / 2, kernel[1] / 2, kernel[2] / 2};
  return Conv3d(Conv3dOptions(in, out, kernel).stride(stride).padding(pad));
}
Conv3d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  return conv(in, out, std::vector<int64_t>{kernel, kernel, kernel}, stride);
}
Sequential conv_norm(int64_t in, int64_t out, int64_t kernel, int64_t stride, bool relu) {
  Sequential s(conv(in, out, kernel, stride), BatchNorm3d(out));
  if (relu) s->push_back(torch::nn::ReLU(torch::nn::ReLUOptions(true)));
  return s;
}

struct Stem : torch::nn::Module {
  Sequential first, second;
  Stem(int64_t in, int64_t out) : first(conv_norm(in, out, 3, 1, true)), second(conv_norm(out, out, 3, 1, true)) {
    register_module("conv1", first);
    register_module("conv2", second);
  }
  torch::Tensor forward(const torch::Tensor& x) { return second->forward(first->forward(x)); }
};

struct BottleneckImpl : torch::nn::Module {
  Sequential reduce, conv3, increase, proj{nullptr};
  BottleneckImpl(int64_t in, int64_t mid, int64_t out, int64_t stride)
      : reduce(conv_norm(in, mid, 1, 1, true)),
        conv3(conv_norm(mid, mid, 3, stride, true)),
        increase(conv_norm(mid, out, 1, 1, false)) {
    register_module("reduce", reduce);
    register_module("conv3", conv3);
    register_module("increase", increase);
    if (stride > 1) proj = register_module("proj", conv_norm(in, out, 1, stride, false));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor h = increase->forward(conv3->forward(reduce->forward(x)));
    h += proj.is_empty() ? x : proj->forward(x);
    return h.relu_();
  }
};
TORCH_MODULE(Bottleneck);

struct Layer : torch::nn::Module {
  Sequential blocks;
  Layer(int64_t in, int64_t out)
      : blocks(register_module("blocks", Sequential(Bottleneck(in, in / 2, out, 2), Bottleneck(out, in / 2, out, 1)))) {}
  torch::Tensor forward(const torch::Tensor& x) { return blocks->forward(x); }
};

struct Gcn : torch::nn::Module {
  Conv3d l1, l2, l3, r1, r2, r3;
  Gcn(int64_t in, int64_t out, int64_t k)
      : l1(register_module("conv_l1", conv(in, out, {k, 1, 1}))),
        l2(register_module("conv_l2", conv(out, out, {1, 1, k}))),
        l3(register_module("conv_l3", conv(out, out, {1, k, 1}))),
        r1(register_module("conv_r1", conv(in, out, {1, k, 1}))),
        r2(register_module("conv_r2", conv(out, out, {1, 1, k}))),
        r3(register_module("conv_r3", conv(out, out, {k, 1, 1}))) {}
  torch::Tensor forward(const torch::Tensor& x) { return l3(l2(l1(x))) + r3(r2(r1(x))); }
};

struct ConBR : torch::nn::Module {
  Conv3d conv1, conv2, conv3;
  explicit ConBR(int64_t c)
      : conv1(register_module("conv1", conv(c, c, 1))),
        conv2(register_module("conv2", conv(c, c, 3))),
        conv3(register_module("conv3", conv(c, c, 3))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = conv1(x);
    return y + conv3(conv2(y).relu_());
  }
};

struct Net : torch::nn::Module {
  std::shared_ptr<Stem> conv1 = register_module("conv1", std::make_shared<Stem>(1, 64));
  std::vector<std::shared_ptr<Layer>> layers;
  Conv3d gcn1 = register_module("gcn1", conv(64, 64, 1));
  std::vector<std::shared_ptr<Gcn>> gcns;
  std::vector<std::shared_ptr<ConBR>> refined;
  Sequential final = register_module("final", Sequential(conv(64, 1, 1)));
  Net() {
    for (int i = 0; i < 4; ++i) {
      const std::string next = std::to_string(i + 1);
      layers.push_back(register_module("layer" + next, std::make_shared<Layer>(64 << i, 128 << i)));
      gcns.push_back(register_module("gcn" + std::to_string(i + 2), std::make_shared<Gcn>(128 << i, 64, i < 3 ? 7 : 3)));
      refined.push_back(register_module("ConBR" + next, std::make_shared<ConBR>(64)));
    }
  }
  torch::Tensor forward(const torch::Tensor& x) {
    std::vector<torch::Tensor> f{conv1->forward(x)};
    for (auto& layer : layers) f.push_back(layer->forward(f.back()));
    torch::Tensor s = gcns[3]->forward(f[4]);
    for (std::size_t i = 4; i-- > 0;) {
      s = torch::upsample_trilinear3d(s, f[i].sizes().slice(2), true);
      s = refined[i]->forward(s + (i ? gcns[i - 1]->forward(f[i]) : gcn1->forward(f[0])));
      f[i] = torch::Tensor();
    }
    return final->forward(s);
  }
};

class Unet : public TorchNet {
 public:
  torch::nn::Module& module() override { return net_; }
  torch::Tensor forward(const Inputs& inputs) override { return net_.forward(inputs.at("input")); }
  torch::Tensor loss(const torch::Tensor& distance, const Inputs& inputs) override {
    return torch::l1_loss(distance, inputs.at("target"));
  }

 private:
  Net net_;
};

std::unique_ptr<TorchNet> make(const std::string&) { return std::make_unique<Unet>(); }

}  // namespace

std::vector<TorchEntry> torch_gcn_unets() { return {{"gcn_unet", make}}; }

}  // namespace side
