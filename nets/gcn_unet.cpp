// SPDX-License-Identifier: Apache-2.0
#include "nets/gcn_unet.h"

#include <algorithm>

#include "core/autograd.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "kernels/resize/resize.h"
#include "kernels/views/views.h"
#include "layers/precision.h"

namespace cuboid {

GcnUnetOptions deepis_unet(std::int64_t scale) {
  check(scale == 1 || scale == 2 || scale == 4, "gcn_unet: feature scale ", scale, "; there are 1, 2 and 4");
  GcnUnetOptions o;
  for (auto& f : o.features) f /= scale;
  return o;
}

// ---- parts ------------------------------------------------------------------------------------

namespace {

GcnUnetOptions checked(const GcnUnetOptions& o) {
  check(o.in_channels > 0 && o.out_channels > 0 && o.trans > 0 && o.auxiliary >= 0, "gcn_unet: channels must be positive");
  check(o.auxiliary == 0 || o.trans >= 2, "gcn_unet: auxiliary heads need 2 channels, trans is ", o.trans);
  for (const auto f : o.features) check(f >= 2, "gcn_unet: ", f, " features in a stage, at least 2 are needed");
  for (const int b : o.blocks) check(b > 0, "gcn_unet: a stage of ", b, " blocks");
  for (const auto k : o.gcn_kernels) check(k > 0 && k % 2 == 1, "gcn_unet: gcn kernel ", k, ", must be odd");
  return o;
}

ConvOptions stem_conv() { return {.kernel = 3, .pad = 1, .kaiming = Fan::in}; }

/// `k` along one axis, 1 along the others.
Conv along(int axis, std::int64_t in, std::int64_t out, std::int64_t k) {
  Shape kernel{1, 1, 1}, pad{0, 0, 0};
  kernel[axis] = k;
  pad[axis] = k / 2;
  return Conv(in, out, {.kernel = {kernel[0], kernel[1], kernel[2]}, .pad = {pad[0], pad[1], pad[2]}});
}

/// The weights of a convolution, and what is convolved with them.
struct Linear {
  Tensor weight, bias;
  ConvSpec spec;
  Tensor operator()(const Tensor& x) const { return conv(to_compute(x), to_compute(weight), to_compute(bias), spec); }
};

/// `outer`, which is 1x1x1, after `inner`: there is nothing between the two, so they are one convolution. Without outer's bias.
Linear after(const Conv& outer, const Conv& inner) {
  const Tensor w = reshape(outer.weight, {outer.weight.dim(0), outer.weight.dim(1)});
  Shape shape = inner.weight.shape();
  const Tensor product = matmul(w, reshape(inner.weight, {shape[0], -1}));
  shape[0] = w.dim(0);
  return {reshape(product, shape), reshape(matmul(w, reshape(inner.bias, {-1, 1})), {w.dim(0)}), inner.spec()};
}

Tensor plus(Tensor a, const Tensor& b) { return add(std::move(a), b); }

Tensor upsampled(const Tensor& x, const Tensor& like) {
  const Shape& s = like.shape();
  return resize(x, {s[2], s[3], s[4]}, {.mode = Resize::linear, .align_corners = true});
}

}  // namespace

ConvNorm::ConvNorm(std::int64_t in, std::int64_t out, ConvOptions options, Activation activation)
    : conv(in, out, options), norm(out, {.activation = activation, .rebuilt = true}) {}

void ConvNorm::visit(Visitor& visitor) {
  visitor("0", conv);
  visitor("1", norm);
}

UnetStem::UnetStem(std::int64_t in, std::int64_t out) : conv1(in, out, stem_conv()), conv2(out, out, stem_conv()) {
  for (ConvNorm* layer : {&conv1, &conv2}) layer->norm.weight = Parameter(normal_weights({out}, 1, 0.02));
}

// The first convolution has few inputs, so it is made again in the backward pass rather than kept: a large tensor less for a
// hundredth of the work.
Tensor UnetStem::operator()(const Tensor& input) {
  const auto first = [x = to_compute(input), w = to_compute(conv1.conv.weight), b = to_compute(conv1.conv.bias),
                      spec = conv1.conv.spec()] { return conv(x, w, b, spec); };
  return conv2(conv1.norm(rebuilt_by(first(), first)));
}

Bottleneck::Bottleneck(std::int64_t in, std::int64_t mid, std::int64_t out, std::int64_t stride)
    : reduce(in, mid, {.kernel = 1}),
      conv3(mid, mid, {.kernel = 3, .stride = stride, .pad = 1}),
      increase(mid, out, {.kernel = 1}, Activation::none) {
  if (stride > 1 || in != out) proj.emplace(in, out, ConvOptions{.kernel = 1, .stride = stride}, Activation::none);
}

void Bottleneck::visit(Visitor& visitor) {
  visitor("reduce", reduce);
  visitor("conv3", conv3);
  visitor("increase", increase);
  if (proj) visitor("proj", *proj);
}

Tensor Bottleneck::operator()(const Tensor& x) { return relu(plus(increase(conv3(reduce(x))), proj ? (*proj)(x) : x)); }

ResLayer::ResLayer(int count, std::int64_t in, std::int64_t out) {
  for (int i = 0; i < count; ++i) blocks.add(i ? out : in, in / 2, out, i ? 1 : 2);
}

void ResLayer::visit(Visitor& visitor) {
  for (std::size_t i = 0; i < blocks.size(); ++i) visitor("blocks." + std::to_string(i), blocks[i]);
}

Tensor ResLayer::operator()(const Tensor& input) {
  Tensor x = input;
  for (Bottleneck& block : blocks) x = block(x);
  return x;
}

Gcn::Gcn(std::int64_t in, std::int64_t out, std::int64_t k)
    : conv_l1(along(0, in, out, k)),
      conv_l2(along(2, out, out, k)),
      conv_l3(along(1, out, out, k)),
      conv_r1(along(1, in, out, k)),
      conv_r2(along(2, out, out, k)),
      conv_r3(along(0, out, out, k)) {}

Tensor Gcn::operator()(const Tensor& x) { return plus(conv_l3(conv_l2(conv_l1(x))), conv_r3(conv_r2(conv_r1(x)))); }

ConBR::ConBR(std::int64_t channels)
    : conv1(channels, channels, {.kernel = 1}),
      conv2(channels, channels, {.kernel = 3, .pad = 1}),
      conv3(channels, channels, {.kernel = 3, .pad = 1}) {}

Tensor ConBR::refine(const Tensor& y) { return plus(conv3(relu(conv2(y))), y); }

AuxiliaryHead::AuxiliaryHead(std::int64_t in, std::int64_t classes, double p)
    : conv(in, in / 2, {.kernel = 3, .pad = 1, .bias = false}),
      norm(in / 2, {.activation = Activation::relu}),
      dropout(p),
      classify(in / 2, classes, {.kernel = 1}) {}

void AuxiliaryHead::visit(Visitor& visitor) {  // 2, 3 and 5 of the original's sequence are ReLU, dropout and softmax
  visitor("0", conv);
  visitor("1", norm);
  visitor("3", dropout);
  visitor("4", classify);
}

// ---- the net ----------------------------------------------------------------------------------

// The weights are drawn in the order of construction; the scope lives until the whole net is there.
GcnUnet::GcnUnet(const GcnUnetOptions& o) : GcnUnet(checked(o), InitScope(o.seed)) {}

GcnUnet::GcnUnet(const GcnUnetOptions& o, const InitScope&)
    : conv1(o.in_channels, o.features[0]),
      layer1(o.blocks[0], o.features[0], o.features[1]),
      layer2(o.blocks[1], o.features[1], o.features[2]),
      layer3(o.blocks[2], o.features[2], o.features[3]),
      layer4(o.blocks[3], o.features[3], o.features[4]),
      gcn1(o.features[0], o.trans, {.kernel = 1}),
      gcn2(o.features[1], o.trans, o.gcn_kernels[0]),
      gcn3(o.features[2], o.trans, o.gcn_kernels[1]),
      gcn4(o.features[3], o.trans, o.gcn_kernels[2]),
      gcn5(o.features[4], o.trans, o.gcn_kernels[3]),
      ConBR1(o.trans),
      ConBR2(o.trans),
      ConBR3(o.trans),
      ConBR4(o.trans),
      final(o.trans, o.out_channels, {.kernel = 1}),
      options_(o) {
  if (o.legacy_block) ConBR0.emplace(o.trans);
  if (o.auxiliary == 0) return;
  classifier3.emplace(o.trans, o.auxiliary, o.dropout);
  classifier4.emplace(o.trans, o.auxiliary, o.dropout);
}

void GcnUnet::visit(Visitor& visitor) {
  visitor.fields("conv1, layer1, layer2, layer3, layer4, gcn1, gcn2, gcn3, gcn4, gcn5", conv1, layer1, layer2, layer3, layer4,
                 gcn1, gcn2, gcn3, gcn4, gcn5);
  if (ConBR0) visitor("ConBR0", *ConBR0);
  visitor.fields("ConBR1, ConBR2, ConBR3, ConBR4, final.0", ConBR1, ConBR2, ConBR3, ConBR4, final);
  if (classifier3) visitor("classifier3", *classifier3);
  if (classifier4) visitor("classifier4", *classifier4);
}

std::vector<std::string> GcnUnet::activation_names() {
  return {"conv1", "layer1", "layer2", "layer3", "layer4", "ConBR4", "ConBR3", "ConBR2", "ConBR1"};
}

namespace {

// conv1 of a ConBR, 1x1x1, meets the sum of what comes from below, resized, and of what comes across. Resizing mixes voxels and
// a 1x1x1 convolution channels, and the weights of resizing sum to 1; so conv1 may go before the resizing, where there is an
// eighth of the work, and into the last convolution of what comes across, where there is none left. Likewise `final` goes into
// the last 3x3x3 convolution, and of 64 outputs of that at full size one is left.

/// conv1(up(below) + across(x)), but for the part of `across`.
Tensor from_below(const Conv& conv1, const Tensor& below, const Tensor& like) {
  return upsampled(conv(to_compute(below), to_compute(conv1.weight), conv1.spec()), like);
}

Tensor merged(ConBR& block, Gcn& gcn, const Tensor& x, const Tensor& below, bool fused) {
  if (!fused) return block.conv1(plus(gcn(x), upsampled(below, x)));
  Linear left = after(block.conv1, gcn.conv_l3);
  left.bias = left.bias + block.conv1.bias;
  Tensor y = left(gcn.conv_l2(gcn.conv_l1(x)));
  y = plus(std::move(y), after(block.conv1, gcn.conv_r3)(gcn.conv_r2(gcn.conv_r1(x))));
  return plus(std::move(y), from_below(block.conv1, below, x));
}

Tensor merged(ConBR& block, Conv& gcn, Tensor x, const Tensor& below, bool fused) {
  if (!fused) return block.conv1(plus(gcn(x), upsampled(below, x)));
  Linear across = after(block.conv1, gcn);
  across.bias = across.bias + block.conv1.bias;
  const Tensor small = conv(to_compute(below), to_compute(block.conv1.weight), block.conv1.spec());
  const auto sum_of = [small, w = to_compute(across.weight), b = to_compute(across.bias),
                       spec = across.spec](const Tensor& from) { return plus(conv(from, w, b, spec), upsampled(small, from)); };
  x = to_compute(x);
  return rebuilt_by(sum_of(x), [sum_of, kept = Kept(x)] { return sum_of(kept()); });  // two cheap steps for the largest tensor
}

Tensor ended(ConBR& block, Conv& final, const Tensor& y) {
  Tensor direct = final(y);  // first, so that the sweep comes by last, when the other gradient of y is alone
  return plus(std::move(direct), after(final, block.conv3)(relu(block.conv2(y))));
}

}  // namespace

GcnUnetOutput GcnUnet::run(const Tensor& input, bool with_heads, Activations* keep) {
  check(input.rank() == 5 && input.dim(1) == options_.in_channels, "gcn_unet: input has shape ", input.shape(), ", expected [N,",
        options_.in_channels, ",D,H,W]");
  const bool fused = options_.fused;
  if (keep) {
    const std::vector<std::string> names = activation_names();
    for (const auto& [name, activation] : *keep)
      check(std::find(names.begin(), names.end(), name) != names.end(), "gcn_unet: no activation '", name, "'");
  }
  const auto kept = [&](const char* name, const Tensor& activation) {
    if (!keep) return activation;
    if (const auto wanted = keep->find(name); wanted != keep->end()) wanted->second = activation;
    return activation;
  };
  GcnUnetOutput out;
  Tensor f1 = kept("conv1", conv1(to_layout(input, Layout::channels_last)));
  Tensor f2 = kept("layer1", layer1(f1));
  Tensor f3 = kept("layer2", layer2(f2));
  Tensor f4 = kept("layer3", layer3(f3));
  Tensor s = gcn5(kept("layer4", layer4(f4)));
  // Each activation goes as soon as it is not needed; without a graph, that frees it.
  s = kept("ConBR4", ConBR4.refine(merged(ConBR4, gcn4, std::exchange(f4, {}), s, fused)));
  if (with_heads && classifier4) out.aux4 = (*classifier4)(s);
  s = kept("ConBR3", ConBR3.refine(merged(ConBR3, gcn3, std::exchange(f3, {}), s, fused)));
  if (with_heads && classifier3) out.aux3 = (*classifier3)(s);
  s = kept("ConBR2", ConBR2.refine(merged(ConBR2, gcn2, std::exchange(f2, {}), s, fused)));
  const Tensor y = merged(ConBR1, gcn1, std::exchange(f1, {}), s, fused);
  s = Tensor();
  const bool shown = keep && keep->count("ConBR1") > 0;
  out.main = fused && !shown ? ended(ConBR1, final, y) : final(kept("ConBR1", ConBR1.refine(y)));
  return out;
}

// ---- weights ----------------------------------------------------------------------------------

std::vector<std::string> GcnUnet::take(const NamedTensors& given, const std::string& source, bool adopt) {
  NamedTensors state = given;
  for (auto& [name, tensor] : state)
    if (name.starts_with("module.")) name.erase(0, 7);
  const auto unused = [&](const std::string& key) {
    return key.ends_with(".num_batches_tracked") || (!ConBR0 && key.starts_with("ConBR0.")) ||
           (!classifier3 && (key.starts_with("classifier3.") || key.starts_with("classifier4.")));
  };
  return load_state_dict(state, {.ignore = unused, .adopt = adopt}, source);
}

std::vector<std::string> GcnUnet::load(const NamedTensors& state, const std::string& source) {
  return take(state, source, false);
}

GcnUnet GcnUnet::with_weights(const GcnUnetOptions& options, const NamedTensors& state, const std::string& source,
                              std::vector<std::string>* ignored) {
  const NoInit scope;
  GcnUnet net(options);
  auto unused = net.take(state, source, true);
  if (ignored) ignored->insert(ignored->end(), unused.begin(), unused.end());
  net.eval();
  return net;
}

}  // namespace cuboid
