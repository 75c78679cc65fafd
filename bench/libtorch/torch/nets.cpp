// SPDX-License-Identifier: Apache-2.0
#include "bench/libtorch/torch/net.h"

namespace side {

const std::vector<TorchEntry>& torch_nets() {
  static const std::vector<TorchEntry> all = torch_densenets();
  return all;
}

}  // namespace side
