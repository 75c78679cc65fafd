// SPDX-License-Identifier: Apache-2.0
// The ResNet-GCN U-Net of DeepIS (Lee, Lee, Song et al., eLife 2021, 49023): five stages of residual bottlenecks, each halving
// the volume; at each scale a global convolutional network (Peng et al., CVPR 2017: two chains of long one-dimensional
// convolutions) carries the features across, and they are refined from the coarsest to the finest:
//
//   f1 = stem(x)         gcn1 ------+---- ConBR1 -- final      full size
//   f2 = layer1(f1)      gcn2 ----+-^ --- ConBR2               1/2
//   f3 = layer2(f2)      gcn3 --+-^ ----- ConBR3 -- classifier3    1/4
//   f4 = layer3(f3)      gcn4 +-^ ------- ConBR4 -- classifier4    1/8
//   f5 = layer4(f4)      gcn5-^                                1/16
//
// What goes up is resized trilinearly (corners aligned) to its neighbour's size and added, so a volume may have any size.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "layers/activations.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/module.h"
#include "layers/norm.h"
#include "layers/stage.h"

namespace cuboid {

struct GcnUnetOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;  // 1: a signed distance; n: the logits of n classes
  std::array<std::int64_t, 5> features = {64, 128, 256, 512, 1024};
  std::int64_t trans = 64;                                 // channels on the way up
  std::array<int, 4> blocks = {2, 2, 2, 2};                // bottlenecks of layer1 to layer4
  std::array<std::int64_t, 4> gcn_kernels = {7, 7, 7, 3};  // of gcn2 to gcn5; odd
  std::int64_t auxiliary = 3;                              // classes of classifier3 and classifier4; 0: without them
  double dropout = 0.1;                                    // in these two
  bool legacy_block = false;                               // ConBR0, which the published nets hold and never call
  bool fused = true;  // linear layers that follow one another as one; false: one by one, as they are published
  std::uint64_t seed = 0;
};

/// The published net at feature scale 1, 2 or 4: 9,358,599, 3,701,735 or 2,134,359 parameters, and 225,472 more with the legacy
/// block.
GcnUnetOptions deepis_unet(std::int64_t feature_scale = 1);

/// Convolution, norm, and perhaps ReLU: ".0" and ".1" in the state dict.
class ConvNorm : public Module {
 public:
  Conv conv;
  BatchNorm norm;

  ConvNorm(std::int64_t in, std::int64_t out, ConvOptions options, Activation activation = Activation::relu);
  void visit(Visitor& visitor) override;
  Tensor operator()(const Tensor& x) { return norm(conv(x)); }
};

/// Two 3x3x3 convolutions, each with norm and ReLU; started as He et al. 2015, the norms' weights around 1.
class UnetStem : public Module {
 public:
  ConvNorm conv1, conv2;
  FIELDS(conv1, conv2)

  UnetStem(std::int64_t in, std::int64_t out);
  Tensor operator()(const Tensor& x);
};

/// 1x1x1 to `mid` channels, 3x3x3 (with the stride), 1x1x1 to `out`; plus the input, projected where the shape changes.
class Bottleneck : public Module {
 public:
  ConvNorm reduce, conv3, increase;
  std::optional<ConvNorm> proj;

  Bottleneck(std::int64_t in, std::int64_t mid, std::int64_t out, std::int64_t stride);
  void visit(Visitor& visitor) override;
  Tensor operator()(const Tensor& x);
};

/// Bottlenecks; the first has stride 2.
class ResLayer : public Module {
 public:
  List<Bottleneck> blocks;

  ResLayer(int count, std::int64_t in, std::int64_t out);
  void visit(Visitor& visitor) override;
  Tensor operator()(const Tensor& x);
};

/// The sum of two chains of convolutions along one axis each: a kernel k x k x k of low rank, without activations.
class Gcn : public Module {
 public:
  Conv conv_l1, conv_l2, conv_l3, conv_r1, conv_r2, conv_r3;
  FIELDS(conv_l1, conv_l2, conv_l3, conv_r1, conv_r2, conv_r3)

  Gcn(std::int64_t in, std::int64_t out, std::int64_t kernel);
  Tensor operator()(const Tensor& x);
};

/// y = conv1(x), 1x1x1; y + conv3(relu(conv2(y))).
class ConBR : public Module {
 public:
  Conv conv1, conv2, conv3;
  FIELDS(conv1, conv2, conv3)

  explicit ConBR(std::int64_t channels);
  Tensor operator()(const Tensor& x) { return refine(conv1(x)); }
  Tensor refine(const Tensor& y);
};

/// 3x3x3 to half the channels, norm, ReLU, dropout, 1x1x1 to the logits of the classes.
class AuxiliaryHead : public Module {
 public:
  Conv conv;
  BatchNorm norm;
  Dropout dropout;
  Conv classify;

  AuxiliaryHead(std::int64_t in, std::int64_t classes, double dropout);
  void visit(Visitor& visitor) override;
  Tensor operator()(const Tensor& x) { return classify(dropout(norm(conv(x)))); }
};

struct GcnUnetOutput {
  Tensor main;        // N,out_channels,D,H,W: the distance, or logits
  Tensor aux3, aux4;  // N,auxiliary,D/4,... and D/8,... (rounded up): logits. The published net applies softmax here, and its
                      // loss a second time. Undefined without the heads, and when `main_only` was asked for.
};

class GcnUnet : public Module {
 public:
  explicit GcnUnet(const GcnUnetOptions& options = {});
  UnetStem conv1;
  ResLayer layer1, layer2, layer3, layer4;
  Conv gcn1;
  Gcn gcn2, gcn3, gcn4, gcn5;
  std::optional<ConBR> ConBR0;
  ConBR ConBR1, ConBR2, ConBR3, ConBR4;
  Conv final;
  std::optional<AuxiliaryHead> classifier3, classifier4;
  void visit(Visitor& visitor) override;

  /// N,in_channels,D,H,W -> N,out_channels,D,H,W.
  Tensor operator()(const Tensor& x) { return run(x, false, nullptr).main; }
  /// With the auxiliary heads, for training. The activations named in `keep` are filled in: "conv1", "layer1" to "layer4",
  /// "ConBR4" to "ConBR1".
  GcnUnetOutput forward(const Tensor& x, Activations* keep = nullptr) { return run(x, true, keep); }

  /// Shapes, parameters and multiply-adds stage by stage for an input N,C,D,H,W, layer by layer as published.
  std::vector<Stage> stages(const Shape& input);
  static std::vector<std::string> activation_names();
  const GcnUnetOptions& options() const { return options_; }
  /// Copies weights in, from this net's own file or from the original's: a prefix "module." is taken off, num_batches_tracked
  /// passed over, and so are the legacy block and the auxiliary heads where this net has none. Returns the ignored keys.
  std::vector<std::string> load(const NamedTensors& state, const std::string& source);
  /// A net for inference with these weights, which it shares with `state` rather than copying them. Adds to `ignored`.
  static GcnUnet with_weights(const GcnUnetOptions& options, const NamedTensors& state, const std::string& source,
                              std::vector<std::string>* ignored = nullptr);

 private:
  GcnUnet(const GcnUnetOptions& options, const InitScope& scope);
  GcnUnetOutput run(const Tensor& x, bool with_heads, Activations* keep);
  std::vector<std::string> take(const NamedTensors& state, const std::string& source, bool adopt);
  GcnUnetOptions options_;
};

}  // namespace cuboid
