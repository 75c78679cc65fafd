// SPDX-License-Identifier: Apache-2.0
// A net at work in LibTorch, as cuboid/net.h has it in Cuboid: same names, same sizes, same loss.
#pragma once
#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace side {

using Inputs = std::map<std::string, torch::Tensor>;  // "input", "labels"

class TorchNet {
 public:
  virtual ~TorchNet() = default;
  virtual torch::nn::Module& module() = 0;
  virtual torch::Tensor forward(const Inputs& inputs) = 0;
  virtual torch::Tensor loss(const torch::Tensor& outputs, const Inputs& inputs) = 0;
};

struct TorchEntry {
  std::string name;
  std::unique_ptr<TorchNet> (*make)(const std::string& name) = nullptr;
};

const std::vector<TorchEntry>& torch_nets();

std::vector<TorchEntry> torch_densenets();
std::vector<TorchEntry> torch_gcn_unets();

}  // namespace side
