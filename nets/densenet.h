// SPDX-License-Identifier: Apache-2.0
// DenseNet (Huang, Liu, van der Maaten, Weinberger, CVPR 2017) in two and three dimensions.
// Every layer of a block sees the features of all layers before it; between blocks the channels are halved and the
// volume is averaged 2x2x2 -> 1.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernels/pool/pool.h"
#include "layers/activations.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/module.h"
#include "layers/norm.h"
#include "layers/stage.h"

namespace cuboid {

/// How a dense layer and the head are called in the state dict.
enum class DenseNetKeys : std::uint8_t {
  torchvision,  // features.denseblock1.denselayer1.norm1, classifier
  monai,        // features.denseblock1.denselayer1.layers.norm1, class_layers.out
};

struct DenseNetOptions {
  int dims = 3;  // 2 or 3
  std::int64_t in_channels = 1, classes = 2;
  std::int64_t growth = 32, bn_size = 4, init_features = 64;
  std::vector<int> blocks = {6, 12, 24, 16};
  std::int64_t stem_kernel = 7;              // stride 2, padded by half the kernel
  bool stem_pool = true;                     // max-pool 3, stride 2, after the stem
  Activation activation = Activation::relu;  // after every norm
  double slope = 0.01;                       // of leaky_relu
  double dropout = 0;                        // on the new features of each dense layer
  Fan init_fan = Fan::in;                    // of the Kaiming-normal convolutions
  bool zero_head_bias = true;                // false: the classifier's bias as PyTorch's Linear has it
  DenseNetKeys keys = DenseNetKeys::torchvision;
  bool fused = true;  // dense blocks as one op (kernels/dense_block); false, or with dropout: the composed definition
  std::uint64_t seed = 0;
};

/// The CSF classifier: 6-12-32-32, stem 3^3 without max-pool, LeakyReLU; 18,525,826 parameters.
DenseNetOptions csf_densenet(std::int64_t classes = 2);
/// MONAI's DenseNet121 with its key names; 11,244,674 parameters in three dimensions with 1 channel and 2 classes.
DenseNetOptions monai_densenet121(int dims = 3, std::int64_t in_channels = 1, std::int64_t classes = 2);
/// torchvision's densenet121 with its key names; 7,978,856 parameters for 1000 classes.
DenseNetOptions torchvision_densenet121(std::int64_t classes = 1000);
/// "csf", "densenet121_3d" (MONAI) or "densenet121_2d" (torchvision); throws Error with the list for another name.
DenseNetOptions densenet_options(const std::string& name);

/// norm1 - conv 1x1x1 - norm2 - conv 3x3x3, each convolution after norm and activation; growth new channels.
class DenseLayer : public Module {
 public:
  BatchNorm norm1;
  Conv conv1;
  BatchNorm norm2;
  Conv conv2;
  Dropout dropout;

  DenseLayer(const DenseNetOptions& o, std::int64_t in_channels);
  void visit(Visitor& visitor) override;
  /// The new features alone.
  Tensor operator()(const Tensor& x);

 private:
  std::string prefix_;  // "layers." in MONAI's state dict
};

class DenseBlock : public Module {
 public:
  List<DenseLayer> layers{"denselayer", 1};
  FIELDS(layers)

  DenseBlock(const DenseNetOptions& o, int count, std::int64_t in_channels);
  /// N,C -> N,C + layers * growth; the old features come first.
  Tensor operator()(const Tensor& x);

 private:
  Tensor fused(const Tensor& x);
  bool use_fused_;
  double slope_;  // of the activation, 0 for ReLU
};

/// norm - activation - conv 1x1x1 to half the channels - average pool 2x2x2.
class Transition : public Module {
 public:
  BatchNorm norm;
  Conv conv;
  FIELDS(norm, conv)

  Transition(const DenseNetOptions& o, std::int64_t in_channels);
  Tensor operator()(const Tensor& x);
};

/// Everything but the classifier. Activations by name: "conv0", "norm0", "pool0", "denseblock1", "transition1", ..., "norm5",
/// those of the norms after the activation function.
class DenseNetFeatures : public Module {
 public:
  Conv conv0;
  BatchNorm norm0;
  List<DenseBlock> denseblocks{"denseblock", 1};
  List<Transition> transitions{"transition", 1};
  BatchNorm norm5;

  explicit DenseNetFeatures(const DenseNetOptions& o);
  void visit(Visitor& visitor) override;
  Tensor operator()(const Tensor& x, Activations* keep = nullptr);
  std::int64_t channels() const { return norm5.weight.size(); }
  std::optional<PoolSpec> stem_pool() const { return stem_pool_; }

 private:
  std::optional<PoolSpec> stem_pool_;
};

class DenseNet : public Module {
 public:
  explicit DenseNet(const DenseNetOptions& options);
  DenseNetFeatures features;
  Linear classifier;
  void visit(Visitor& visitor) override;

  /// N,C,[D,]H,W -> logits N,classes.
  Tensor operator()(const Tensor& x) { return classify(forward_features(x)); }
  /// The activation behind norm5, N,C,[d,]h,w. The activations named in `keep` are filled in.
  Tensor forward_features(const Tensor& x, Activations* keep = nullptr);
  /// Global average pool and linear classifier, on what forward_features gave.
  Tensor classify(const Tensor& features);

  /// Shapes, parameters and multiply-adds stage by stage for an input N,C,[D,]H,W.
  std::vector<Stage> stages(const Shape& input);
  const DenseNetOptions& options() const { return options_; }
  /// Copies weights in, from this net's own file or from the original's: num_batches_tracked and the unused heads of
  /// the CSF model are passed over. Returns the keys that were ignored.
  std::vector<std::string> load(const NamedTensors& state, const std::string& source);
  /// A net for inference with these weights, which it shares with `state` rather than copying them. Adds to `ignored`.
  static DenseNet with_weights(const DenseNetOptions& options, const NamedTensors& state, const std::string& source,
                               std::vector<std::string>* ignored = nullptr);
  /// What forward_features can keep, from the stem to "norm5".
  std::vector<std::string> activation_names();

 private:
  DenseNet(const DenseNetOptions& options, const InitScope& scope);
  DenseNetOptions options_;
};

}  // namespace cuboid
