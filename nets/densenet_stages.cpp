// SPDX-License-Identifier: Apache-2.0
// The table of a DenseNet's stages, from shapes alone.
#include "nets/densenet.h"

namespace cuboid {

namespace {

std::string times(std::int64_t kernel, int dims) {
  std::string text = std::to_string(kernel);
  for (int i = 1; i < dims; ++i) text += "x" + std::to_string(kernel);
  return text;
}

Shape with_channels(Shape shape, std::int64_t channels) {
  shape[1] = channels;
  return shape;
}

std::string arrow(std::int64_t from, std::int64_t to) { return std::to_string(from) + " -> " + std::to_string(to); }

}  // namespace

std::vector<Stage> DenseNet::stages(const Shape& input) {
  const DenseNetOptions& o = options_;
  check(input.rank() == o.dims + 2 && input[1] == o.in_channels, "densenet: input has shape ", input, ", expected [N,",
        o.in_channels, o.dims == 3 ? ",D,H,W]" : ",H,W]");
  std::vector<Stage> table;
  DenseNetFeatures& f = features;

  Shape x = f.conv0.output_shape(input);
  table.push_back({.name = "conv0",
                   .operation = "conv " + times(o.stem_kernel, o.dims) + " stride 2, norm, activation",
                   .output = x,
                   .parameters = f.conv0.parameter_count() + f.norm0.parameter_count(),
                   .macs = f.conv0.macs(input)});
  if (f.stem_pool()) {
    x = f.stem_pool()->output_shape(x);
    table.push_back({.name = "pool0", .operation = "max pool " + times(3, o.dims) + " stride 2", .output = x});
  }
  for (std::size_t i = 0; i < f.denseblocks.size(); ++i) {
    DenseBlock& block = f.denseblocks[i];
    std::int64_t macs = 0, channels = x[1];
    for (DenseLayer& layer : block.layers) {
      const Shape in = with_channels(x, channels);
      macs += layer.conv1.macs(in) + layer.conv2.macs(layer.conv1.output_shape(in));
      channels += o.growth;
    }
    x = with_channels(x, channels);
    table.push_back({.name = "denseblock" + std::to_string(i + 1),
                     .operation = std::to_string(block.layers.size()) + " dense layers",
                     .output = x,
                     .parameters = block.parameter_count(),
                     .macs = macs});
    if (i == f.transitions.size()) continue;
    Transition& transition = f.transitions[i];
    macs = transition.conv.macs(x);
    const Shape y = transition.conv.output_shape(x);
    table.push_back({.name = "transition" + std::to_string(i + 1),
                     .operation = "norm, activation, conv 1 " + arrow(x[1], y[1]) + ", average pool " + times(2, o.dims),
                     .output = PoolSpec::make(o.dims, 2).output_shape(y),
                     .parameters = transition.parameter_count(),
                     .macs = macs});
    x = table.back().output;
  }
  table.push_back({.name = "norm5", .operation = "norm, activation", .output = x, .parameters = f.norm5.parameter_count()});
  table.push_back({.name = "classifier",
                   .operation = "global average pool, linear " + arrow(x[1], o.classes),
                   .output = {x[0], o.classes},
                   .parameters = classifier.parameter_count(),
                   .macs = x[0] * x[1] * o.classes});
  return table;
}

}  // namespace cuboid
