// SPDX-License-Identifier: Apache-2.0
// A net at work in Cuboid. Another one is a file beside this with its Nets, a line in nets.cpp, and its twin in torch/.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/module.h"

namespace side {

class Net {
 public:
  virtual ~Net() = default;
  virtual cuboid::Module& module() = 0;
  /// Inputs are held by the net.
  virtual cuboid::Tensor forward() = 0;
  virtual cuboid::Tensor loss(const cuboid::Tensor& outputs) = 0;
};

enum class Size : std::uint8_t {
  small,
  large,  // left out of quick runs
  heavy,  // minutes for each row: only when asked for
  test,   // only by its name
};

/// Of the inputs; 0 is what the net's title says.
struct Extent {
  std::int64_t batch = 0, side = 0;
};

struct NetEntry {
  std::string name, title;  // "densenet121_3d", "DenseNet121 3D, 64^3, batch 8"
  Size size = Size::small;
  /// "bench.input", ... as forward and loss take them. With a side: cubes or squares of it.
  cuboid::NamedTensors (*inputs)(const NetEntry& entry, const Extent& extent) = nullptr;
  /// Untrained; takes what it needs from `inputs` (empty: only the weights matter).
  std::unique_ptr<Net> (*make)(const NetEntry& entry, const cuboid::NamedTensors& inputs) = nullptr;
  Extent scaling = {};  // the batch when the side grows, and the side when the batch does; 0: growth is not measured
};

const std::vector<NetEntry>& nets();

std::vector<NetEntry> densenets();
std::vector<NetEntry> gcn_unets();

/// The input `name` without its prefix; undefined when there is none.
cuboid::Tensor input(const cuboid::NamedTensors& inputs, const std::string& name);

}  // namespace side
