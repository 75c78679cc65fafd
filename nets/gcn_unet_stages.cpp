// SPDX-License-Identifier: Apache-2.0
// The table of a GcnUnet's stages, from shapes alone.
#include "nets/gcn_unet.h"

namespace cuboid {

namespace {

Shape with_channels(Shape shape, std::int64_t channels) {
  shape[1] = channels;
  return shape;
}

std::string arrow(std::int64_t from, std::int64_t to) { return std::to_string(from) + " -> " + std::to_string(to); }

/// Multiply-adds of one convolution after the other; x becomes the last one's result.
std::int64_t macs_of(std::initializer_list<const Conv*> chain, Shape& x) {
  std::int64_t macs = 0;
  for (const Conv* conv : chain) {
    macs += conv->macs(x);
    x = conv->output_shape(x);
  }
  return macs;
}

std::int64_t macs_of(ResLayer& layer, Shape& x) {
  std::int64_t macs = 0;
  for (Bottleneck& b : layer.blocks) {
    if (b.proj) macs += b.proj->conv.macs(x);
    macs += macs_of({&b.reduce.conv, &b.conv3.conv, &b.increase.conv}, x);
  }
  return macs;
}

}  // namespace

std::vector<Stage> GcnUnet::stages(const Shape& input) {
  const GcnUnetOptions& o = options_;
  check(input.rank() == 5 && input[1] == o.in_channels, "gcn_unet: input has shape ", input, ", expected [N,", o.in_channels,
        ",D,H,W]");
  std::vector<Stage> table;
  std::array<Shape, 5> f;

  f[0] = input;
  std::int64_t macs = macs_of({&conv1.conv1.conv, &conv1.conv2.conv}, f[0]);
  table.push_back({.name = "conv1",
                   .operation = "2 x (conv 3x3x3, norm, ReLU) " + arrow(o.in_channels, o.features[0]),
                   .output = f[0],
                   .parameters = conv1.parameter_count(),
                   .macs = macs});
  ResLayer* const layers[] = {&layer1, &layer2, &layer3, &layer4};
  for (std::size_t i = 0; i < 4; ++i) {
    f[i + 1] = f[i];
    macs = macs_of(*layers[i], f[i + 1]);
    table.push_back({.name = "layer" + std::to_string(i + 1),
                     .operation = std::to_string(o.blocks[i]) + " bottlenecks, stride 2, " + arrow(f[i][1], f[i + 1][1]),
                     .output = f[i + 1],
                     .parameters = layers[i]->parameter_count(),
                     .macs = macs});
  }
  table.push_back({.name = "gcn1",
                   .operation = "conv 1x1x1 " + arrow(o.features[0], o.trans),
                   .output = with_channels(f[0], o.trans),
                   .parameters = gcn1.parameter_count(),
                   .macs = gcn1.macs(f[0])});
  Gcn* const gcns[] = {&gcn2, &gcn3, &gcn4, &gcn5};
  for (std::size_t i = 0; i < 4; ++i) {
    Gcn& g = *gcns[i];
    Shape left = f[i + 1], right = f[i + 1];
    macs = macs_of({&g.conv_l1, &g.conv_l2, &g.conv_l3}, left) + macs_of({&g.conv_r1, &g.conv_r2, &g.conv_r3}, right);
    table.push_back(
        {.name = "gcn" + std::to_string(i + 2),
         .operation = "two chains of convs of length " + std::to_string(o.gcn_kernels[i]) + ", " + arrow(f[i + 1][1], o.trans),
         .output = left,
         .parameters = g.parameter_count(),
         .macs = macs});
  }
  ConBR* const refined[] = {&ConBR1, &ConBR2, &ConBR3, &ConBR4};
  AuxiliaryHead* const heads[] = {nullptr, nullptr, classifier3 ? &*classifier3 : nullptr, classifier4 ? &*classifier4 : nullptr};
  std::vector<Stage> auxiliary;
  for (std::size_t i = 4; i-- > 0;) {
    Shape s = with_channels(f[i], o.trans);
    macs = macs_of({&refined[i]->conv1, &refined[i]->conv2, &refined[i]->conv3}, s);
    table.push_back({.name = "ConBR" + std::to_string(i + 1),
                     .operation = "sum with the resized, conv 1x1x1, residual of 2 x conv 3x3x3",
                     .output = s,
                     .parameters = refined[i]->parameter_count(),
                     .macs = macs});
    if (!heads[i]) continue;
    macs = macs_of({&heads[i]->conv, &heads[i]->classify}, s);
    auxiliary.push_back({.name = "classifier" + std::to_string(i + 1),
                         .operation = "conv 3x3x3, norm, ReLU, dropout, conv 1x1x1",
                         .output = s,
                         .parameters = heads[i]->parameter_count(),
                         .macs = macs});
  }
  Shape s = with_channels(f[0], o.trans);
  macs = macs_of({&final}, s);
  table.push_back({.name = "final.0",
                   .operation = "conv 1x1x1 " + arrow(o.trans, o.out_channels),
                   .output = s,
                   .parameters = final.parameter_count(),
                   .macs = macs});
  table.insert(table.end(), auxiliary.rbegin(), auxiliary.rend());
  if (ConBR0)
    table.push_back({.name = "ConBR0", .operation = "never called", .output = {}, .parameters = ConBR0->parameter_count()});
  return table;
}

}  // namespace cuboid
