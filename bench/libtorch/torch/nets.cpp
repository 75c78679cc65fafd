// SPDX-License-Identifier: Apache-2.0
#include "bench/libtorch/torch/net.h"

namespace side {

const std::vector<TorchEntry>& torch_nets() {
  static const std::vector<TorchEntry> all = [] {
    std::vector<TorchEntry> list = torch_densenets();
    for (auto& more : {torch_gcn_unets()}) list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

}  // namespace side
