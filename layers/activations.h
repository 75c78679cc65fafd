// SPDX-License-Identifier: Apache-2.0
// What a net computes on the way, by name: for explanations and for looking inside.
#pragma once
#include <map>
#include <string>

#include "core/tensor.h"

namespace cuboid {

/// Give a map with the wanted names as keys; the net fills them in: Activations keep{{"norm5", {}}};
using Activations = std::map<std::string, Tensor>;

}  // namespace cuboid
