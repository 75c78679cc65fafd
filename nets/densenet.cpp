// SPDX-License-Identifier: Apache-2.0
#include "nets/densenet.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/profiler.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/views/views.h"
#include "layers/precision.h"

namespace cuboid {

// ---- configurations ---------------------------------------------------------------------------

DenseNetOptions csf_densenet(std::int64_t classes) {
  return {.classes = classes,
          .blocks = {6, 12, 32, 32},
          .stem_kernel = 3,
          .stem_pool = false,
          .activation = Activation::leaky_relu,
          .init_fan = Fan::out,
          .zero_head_bias = false};
}

DenseNetOptions monai_densenet121(int dims, std::int64_t in_channels, std::int64_t classes) {
  return {.dims = dims, .in_channels = in_channels, .classes = classes, .keys = DenseNetKeys::monai};
}

DenseNetOptions torchvision_densenet121(std::int64_t classes) { return {.dims = 2, .in_channels = 3, .classes = classes}; }

DenseNetOptions densenet_options(const std::string& name) {
  if (name == "csf") return csf_densenet();
  if (name == "densenet121_3d") return monai_densenet121();
  if (name == "densenet121_2d") return torchvision_densenet121();
  fail("densenet: no configuration '", name, "'; there are csf, densenet121_3d and densenet121_2d");
}

// ---- parts ------------------------------------------------------------------------------------

namespace {

BatchNorm norm_of(const DenseNetOptions& o, std::int64_t channels) {
  return BatchNorm(channels, {.activation = o.activation, .slope = o.slope});
}

Conv conv_of(const DenseNetOptions& o, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1) {
  return Conv(in, out,
              {.dims = o.dims, .kernel = kernel, .stride = stride, .pad = kernel / 2, .bias = false, .kaiming = o.init_fan});
}

DenseNetOptions checked(const DenseNetOptions& o) {
  check(o.dims == 2 || o.dims == 3, "densenet: dims is ", o.dims, ", must be 2 or 3");
  check(!o.blocks.empty() && o.in_channels > 0 && o.classes > 0 && o.growth > 0 && o.bn_size > 0 && o.init_features > 0,
        "densenet: blocks and all sizes must be positive");
  for (const int layers : o.blocks) check(layers > 0, "densenet: a block of ", layers, " layers");
  check(o.stem_kernel % 2 == 1, "densenet: stem_kernel is ", o.stem_kernel, ", must be odd");
  return o;
}

std::int64_t channels_before_norm5(const DenseNetOptions& o) {
  std::int64_t channels = o.init_features;
  for (std::size_t i = 0; i < o.blocks.size(); ++i) channels = (i ? channels / 2 : channels) + o.blocks[i] * o.growth;
  return channels;
}

std::string numbered(const char* name, std::size_t i) { return name + std::to_string(i + 1); }

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// f(x), sample by sample where that changes nothing but the memory: the stem's activations are the largest of the net, and
/// one sample's fit a processor's cache.
template <class F>
Tensor by_sample(const Tensor& x, bool training, const F& f) {
  if (training || recording() || x.device() != Device::cpu || x.dim(0) < 2) return f(x);
  Tensor y;
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const Tensor one = f(slice(x, 0, i, 1));
    if (!y.defined()) {
      Shape shape = one.shape();
      shape[0] = x.dim(0);
      y = empty_like(one, shape);
    }
    copy(one, slice(y, 0, i, 1));
  }
  return y;
}

/// A norm with given statistics and its activation never fall when the values rise: they may wait until a maximum has left them
/// less to do, and the bits stay the same.
bool may_follow_maximum(const BatchNorm& n) {
  if (n.weight.device() != Device::cpu || n.weight.dtype() != DType::f32) return false;
  const float* w = n.weight.data<float>();
  return std::all_of(w, w + n.weight.size(), [](float v) { return v >= 0; });
}

DenseNormTensors tensors_of(const BatchNorm& n) { return {n.weight, n.bias, n.running_mean, n.running_var}; }

}  // namespace

DenseLayer::DenseLayer(const DenseNetOptions& o, std::int64_t in_channels)
    : norm1(norm_of(o, in_channels)),
      conv1(conv_of(o, in_channels, o.bn_size * o.growth, 1)),
      norm2(norm_of(o, o.bn_size * o.growth)),
      conv2(conv_of(o, o.bn_size * o.growth, o.growth, 3)),
      dropout(o.dropout),
      prefix_(o.keys == DenseNetKeys::monai ? "layers." : "") {}

void DenseLayer::visit(Visitor& visitor) {
  visitor(prefix_ + "norm1", norm1);
  visitor(prefix_ + "conv1", conv1);
  visitor(prefix_ + "norm2", norm2);
  visitor(prefix_ + "conv2", conv2);
  visitor(prefix_ + "dropout", dropout);
}

Tensor DenseLayer::operator()(const Tensor& x) {
  const Tensor bottleneck = conv1(norm1(x));
  return dropout(conv2(norm2(bottleneck)));
}

DenseBlock::DenseBlock(const DenseNetOptions& o, int count, std::int64_t in_channels)
    : use_fused_(o.fused && o.dropout == 0), slope_(slope_of(o.activation, o.slope)) {
  for (int i = 0; i < count; ++i) layers.add(o, in_channels + i * o.growth);
}

Tensor DenseBlock::operator()(const Tensor& input) {
  if (use_fused_) return fused(input);
  Tensor x = input;
  for (DenseLayer& layer : layers) x = cat({x, layer(x)});
  return x;
}

Tensor DenseBlock::fused(const Tensor& x) {
  std::vector<DenseLayerTensors> tensors;
  for (const DenseLayer& layer : layers)
    tensors.push_back({.norm1 = tensors_of(layer.norm1),
                       .conv1 = to_compute(layer.conv1.weight),
                       .norm2 = tensors_of(layer.norm2),
                       .conv2 = to_compute(layer.conv2.weight)});
  const NormOptions& norm = layers[0].norm1.options();
  return dense_block(to_compute(x), tensors,
                     {.training = training(),
                      .momentum = norm.momentum,
                      .eps = norm.eps,
                      .slope = slope_,
                      .ranks = training() ? layers[0].norm1.ranks() : nullptr});
}

Transition::Transition(const DenseNetOptions& o, std::int64_t in_channels)
    : norm(norm_of(o, in_channels)), conv(conv_of(o, in_channels, in_channels / 2, 1)) {}

// The paper averages after the convolution. A mean commutes with a 1x1x1 convolution, and this way it has an eighth of the work.
Tensor Transition::operator()(const Tensor& x) { return conv(avg_pool(norm(x), PoolSpec::make(x.rank() - 2, 2))); }

// ---- the net ----------------------------------------------------------------------------------

DenseNetFeatures::DenseNetFeatures(const DenseNetOptions& o)
    : conv0(conv_of(o, o.in_channels, o.init_features, o.stem_kernel, 2)),
      norm0(norm_of(o, o.init_features)),
      norm5(norm_of(o, channels_before_norm5(o))) {
  if (o.stem_pool) stem_pool_ = PoolSpec::make(o.dims, 3, 2, 1);
  std::int64_t channels = o.init_features;
  for (std::size_t i = 0; i < o.blocks.size(); ++i) {
    if (i > 0) {
      transitions.add(o, channels);
      channels /= 2;
    }
    denseblocks.add(o, o.blocks[i], channels);
    channels += o.blocks[i] * o.growth;
  }
}

void DenseNetFeatures::visit(Visitor& visitor) {
  visitor("conv0", conv0);
  visitor("norm0", norm0);
  for (std::size_t i = 0; i < denseblocks.size(); ++i) {
    visitor(numbered("denseblock", i), denseblocks[i]);
    if (i < transitions.size()) visitor(numbered("transition", i), transitions[i]);
  }
  visitor("norm5", norm5);
}

Tensor DenseNetFeatures::operator()(const Tensor& input, Activations* keep) {
  const auto kept = [&](const std::string& name, const Tensor& activation) {
    if (!keep) return activation;
    if (const auto wanted = keep->find(name); wanted != keep->end()) wanted->second = activation;
    return activation;
  };
  const bool late = stem_pool_ && !keep && !training() && !recording() && may_follow_maximum(norm0);
  const auto stem = [&](const Tensor& image) {
    const profiler::Range range("stem");
    if (late) return norm0(max_pool(conv0(image), *stem_pool_));
    const Tensor x = kept("norm0", norm0(kept("conv0", conv0(image))));
    return stem_pool_ ? kept("pool0", max_pool(x, *stem_pool_)) : x;
  };
  const Tensor image = to_layout(input, Layout::channels_last);
  Tensor x = keep ? stem(image) : by_sample(image, training(), stem);
  for (std::size_t i = 0; i < denseblocks.size(); ++i) {
    const auto number = static_cast<std::int64_t>(i + 1);
    {
      const profiler::Range range("denseblock", number);
      x = kept(numbered("denseblock", i), denseblocks[i](x));
    }
    if (i >= transitions.size()) break;
    const profiler::Range range("transition", number);
    x = kept(numbered("transition", i), by_sample(x, training(), [&](const Tensor& part) { return transitions[i](part); }));
  }
  const profiler::Range range("head");
  return kept("norm5", norm5(x));
}

// The weights are drawn in the order of construction; the scope lives until the whole net is there.
DenseNet::DenseNet(const DenseNetOptions& o) : DenseNet(checked(o), InitScope(o.seed)) {}

DenseNet::DenseNet(const DenseNetOptions& o, const InitScope&)
    : features(o), classifier(features.channels(), o.classes), options_(o) {
  if (o.zero_head_bias) fill(classifier.bias, 0);
}

void DenseNet::visit(Visitor& visitor) {
  visitor("features", features);
  visitor(options_.keys == DenseNetKeys::monai ? "class_layers.out" : "classifier", classifier);
}

Tensor DenseNet::forward_features(const Tensor& x, Activations* keep) {
  check(x.rank() == options_.dims + 2 && x.dim(1) == options_.in_channels, "densenet: input has shape ", x.shape(),
        ", expected [N,", options_.in_channels, options_.dims == 3 ? ",D,H,W]" : ",H,W]");
  if (keep) {
    const std::vector<std::string> names = activation_names();
    for (const auto& [name, activation] : *keep)
      check(std::find(names.begin(), names.end(), name) != names.end(), "densenet: no activation '", name, "'; there are ",
            joined(names));
  }
  return features(x, keep);
}

std::vector<std::string> DenseNet::activation_names() {
  std::vector<std::string> names{"conv0", "norm0"};
  if (features.stem_pool()) names.push_back("pool0");
  for (std::size_t i = 0; i < features.denseblocks.size(); ++i) {
    names.push_back(numbered("denseblock", i));
    if (i < features.transitions.size()) names.push_back(numbered("transition", i));
  }
  names.push_back("norm5");
  return names;
}

Tensor DenseNet::classify(const Tensor& x) {
  const profiler::Range range("head");
  return classifier(global_avg_pool(x));
}

namespace {
/// Keys of the originals that a DenseNet has no use for.
bool leftover(const std::string& key) {
  for (const char* head : {"gram.", "shape.", "mot.", "genus."})
    if (key.starts_with(head)) return true;
  return key.ends_with(".num_batches_tracked");
}
}  // namespace

std::vector<std::string> DenseNet::load(const NamedTensors& state, const std::string& source) {
  return load_state_dict(state, {.ignore = leftover}, source);
}

DenseNet DenseNet::with_weights(const DenseNetOptions& options, const NamedTensors& state, const std::string& source,
                                std::vector<std::string>* ignored) {
  const NoInit scope;
  DenseNet net(options);
  auto unused = net.load_state_dict(state, {.ignore = leftover, .adopt = true}, source);
  if (ignored) ignored->insert(ignored->end(), unused.begin(), unused.end());
  net.eval();
  return net;
}

}  // namespace cuboid
