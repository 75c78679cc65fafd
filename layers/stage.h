// SPDX-License-Identifier: Apache-2.0
// One line of a net's description: what `cuboid info --net` prints.
#pragma once
#include <string>

#include "core/shape.h"

namespace cuboid {

struct Stage {
  std::string name;       // as in the state dict: "denseblock1"
  std::string operation;  // in words: "6 dense layers"
  Shape output;           // N,C,[D,]H,W
  std::int64_t parameters = 0;
  std::int64_t macs = 0;  // multiply-adds of convolutions and matrix products, forward, for the whole batch
};

}  // namespace cuboid
