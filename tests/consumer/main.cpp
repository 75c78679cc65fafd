// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "core/tensor.h"

int main() {
  using namespace cuboid;
  const Tensor x = full({1, 1, 4, 4, 4}, 2.0);
  std::printf("%lld voxels\n", static_cast<long long>(x.size()));
}
