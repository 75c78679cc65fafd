// SPDX-License-Identifier: Apache-2.0
#include "bench/libtorch/cuboid/net.h"
#include "bench/libtorch/side.h"

namespace side {

const std::vector<NetEntry>& nets() {
  static const std::vector<NetEntry> all = [] {
    std::vector<NetEntry> list = densenets();
    for (auto& more : {gcn_unets()}) list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

cuboid::Tensor input(const cuboid::NamedTensors& inputs, const std::string& name) {
  for (const auto& [key, tensor] : inputs)
    if (key == input_prefix + name) return tensor;
  return {};
}

}  // namespace side
