// SPDX-License-Identifier: Apache-2.0
#include "kernels/self_test.h"

#include "core/autograd.h"
#include "kernels/conv/conv.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resize/resize.h"
#include "kernels/update/update.h"
#include "kernels/views/views.h"

namespace cuboid {
namespace {

using dispatch::Examination;

/// What the cases are made of, in one type and layout.
class Cases {
 public:
  Cases(Device device, DType dtype, Layout layout) : device_(device), dtype_(dtype), layout_(layout) {}

  void all() {
    conv_family();
    norms();
    windows();
    elementwise();
    reductions();
    if (layout_ == Layout::contiguous) lists_and_losses();
  }

 private:
  Tensor noise(const Shape& shape, double low = -1, double high = 1) {
    Tensor x = empty(shape, {dtype_, device_, shape.rank() > 2 ? layout_ : Layout::contiguous});
    const Tensor values = uniform(shape, {.seed = 9, .stream = ++stream_}, low, high);
    copy(to(values, device_), x);
    return x.requires_grad(true);
  }
  Tensor plain(const Shape& shape, double low, double high, DType dtype) {
    const Tensor x = empty(shape, {dtype, device_});
    copy(to(uniform(shape, {.seed = 9, .stream = ++stream_}, low, high), device_), x);
    return x;
  }
  /// Sweeps from y, with a gradient of noise.
  void sweep(const Tensor& y, const Tensors& inputs) {
    const Tensor seed = noise(y.shape()).detach();
    grad(y, inputs, {.seed = seed});
  }

  void convolve(const Shape& x_shape, const Shape& w_shape, const ConvSpec& spec, bool bias = false) {
    const Tensor x = noise(x_shape), w = contiguous(noise(w_shape).detach()).requires_grad(true);
    const Tensor b = bias ? noise({w_shape[0]}) : Tensor();
    sweep(conv(x, w, b, spec), {x, w});
  }
  void conv_family() {
    convolve({2, 8, 3, 4, 5}, {16, 8, 3, 3, 3}, ConvSpec::make(3, 1, 1), true);
    convolve({1, 8, 3, 4, 5}, {16, 8, 1, 1, 1}, ConvSpec::make(3));
    convolve({1, 1, 6, 5, 7}, {8, 1, 3, 3, 3}, ConvSpec::make(3, 2, 1));        // a stem
    convolve({2, 8, 3, 4, 5}, {8, 1, 3, 3, 3}, ConvSpec::make(3, 1, 1, 1, 8));  // depthwise
    convolve({1, 6, 7, 5}, {4, 3, 2, 3}, ConvSpec::make(2, 2, 1, 2, 2));        // groups, dilation
    if (device_ == Device::cpu && dtype_ == DType::f32 && layout_ == Layout::channels_last) {
      convolve({1, 64, 2, 16, 17}, {64, 64, 3, 3, 3}, ConvSpec::make(3, 1, 1), true);  // winograd
      convolve({1, 16, 3, 4, 29}, {2, 16, 3, 3, 3}, ConvSpec::make(3, 1, 1), true);    // slim
    }
    if (device_ == Device::cpu && dtype_ == DType::bf16 && layout_ == Layout::channels_last) {
      convolve({1, 32, 8, 16, 17}, {32, 32, 3, 3, 3}, ConvSpec::make(3, 1, 1), true);  // bf16_winograd
      convolve({1, 1, 6, 5, 7}, {32, 1, 3, 3, 3}, ConvSpec::make(3, 2, 1));            // bf16_stem
    }
    if (layout_ == Layout::channels_last && size_of(dtype_) == 2)
      convolve({1, 64, 2, 3, 3}, {64, 64, 3, 3, 3}, ConvSpec::make(3, 1, 1));  // whole tiles of tensor cores
    const Tensor a = noise({9, 24}), b = noise({24, 16});
    sweep(matmul(a, b), {a, b});
  }
  void norms() {
    const DType type = dtype_ == DType::f64 ? DType::f64 : DType::f32;
    const Tensor x = noise({3, 8, 3, 4, 5}, 1, 3), w = plain({8}, 0.5, 2, type).requires_grad(true),
                 b = plain({8}, -1, 1, type).requires_grad(true), mean = plain({8}, 1, 2, type), var = plain({8}, 0.5, 1, type);
    for (const bool training : {true, false})
      sweep(batch_norm(x, w, b, mean, var, {.training = training, .activation = Activation::leaky_relu}), {x, w, b});
    sweep(instance_norm(x, w, b, 1e-5, Activation::relu), {x, w, b});
  }
  void windows() {
    const Tensor x = noise({2, 16, 4, 6, 5});
    for (const auto& [size, stride, pad] : {std::tuple{3, 2, 1}, {2, 2, 0}}) {
      const PoolSpec spec = PoolSpec::make(3, size, stride, pad);
      sweep(avg_pool(x, spec), {x});
      const Tensor y = max_pool(x, spec), seed = noise(y.shape());
      grad(grad(y, {x}, {.create_graph = true, .seed = seed})[0], {seed}, {.seed = x.detach()});
    }
    for (const Resize mode : {Resize::nearest, Resize::linear}) sweep(resize(x, {7, 5, 9}, {.mode = mode}), {x});
  }
  void elementwise() {
    const Tensor x = noise({2, 8, 3, 5}), y = noise({2, 8, 3, 5}), positive = noise({2, 8, 3, 5}, 0.5, 2), c = noise({8, 1, 1});
    for (const Tensor& r : {x + y,          x - y,
                            x * y,          x / positive,
                            x * c,          x + 0.5,
                            2. / positive,  -x,
                            exp(x),         log(positive),
                            sqrt(positive), rsqrt(positive),
                            square(x),      pow(positive, 1.5),
                            abs(x),         clamp(x, -0.5, 0.5),
                            relu(x),        leaky_relu(x),
                            silu(x),        sigmoid(x),
                            softplus(x),    tanh(x)})
      sweep(r, {x, positive});
    sign(x);
    cast(x, DType::f32);
    dropout(x, 0.3, {.seed = 3});
    const TensorOptions here{dtype_, device_, layout_};
    uniform({2, 8, 3, 5}, {.seed = 1}, -1, 1, here);
    normal({2, 8, 3, 5}, {.seed = 1}, 0, 1, here);
  }
  void reductions() {
    const Tensor x = noise({3, 8, 5, 7});
    for (const Shape& axes : {Shape{}, Shape{1}, Shape{0, 2, 3}, Shape{3}}) {
      sweep(sum(x, axes), {x});
      sweep(mean(x, axes, true), {x});
      sweep(max(x, axes), {x});
    }
    argmax(x, 1);
    for (const int axis : {1, 3}) {
      sweep(softmax(x, axis), {x});
      sweep(log_softmax(x, axis), {x});
    }
  }
  void lists_and_losses() {
    const Tensor logits = noise({5, 7}), labels = to(from_values<std::int64_t>({0, 6, 3, 3, 1}, {5}), device_);
    grad(cross_entropy(logits, labels, {.label_smoothing = 0.1}), {logits});
    if (dtype_ != DType::f32 && dtype_ != DType::f64) return;
    const auto list = [&](double low) { return Tensors{noise({37}, low).detach(), noise({3, 5, 2}, low).detach()}; };
    sgd_update(list(-1), list(-1), list(-1), {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
    adam_update(list(-1), list(-1), list(-1), list(0.1), {.lr = 0.1, .weight_decay = 0.01, .t = 3});
    average_update(list(-1), list(-1), 0.9);
    clipped(list(-1), 0.5);
    scaled(list(-1), 2);
  }

  Device device_;
  DType dtype_;
  Layout layout_;
  std::uint64_t stream_ = 0;
};

/// The dense block has no table of views: its fused form against its definition, on the same device.
Examination::Row dense_block_row(Device device, bool try_it) {
  Examination::Row row{"dense_block", "fused", device};
  if (!try_it) return row;
  const auto noise = [&, stream = 0](const Shape& shape, double low, double high) mutable {
    return to(uniform(shape, {.seed = 5, .stream = static_cast<std::uint64_t>(++stream)}, low, high), device);
  };
  const auto results = [&](const char* choice) {
    auto draw = noise;
    const dispatch::Forced forced(choice);
    std::vector<DenseLayerTensors> layers;
    Tensors inputs{to_layout(draw({2, 32, 3, 4, 3}, -1, 1), Layout::channels_last).detach().requires_grad(true)};
    const auto norm = [&](std::int64_t n) -> DenseNormTensors {
      return {draw({n}, 0.5, 1).requires_grad(true), draw({n}, -1, 1).requires_grad(true), draw({n}, -1, 1), draw({n}, 0.5, 1)};
    };
    for (const std::int64_t n : {32, 64}) {
      layers.push_back({norm(n), draw({32, n, 1, 1, 1}, -0.3, 0.3).requires_grad(true), norm(32),
                        draw({32, 32, 3, 3, 3}, -0.1, 0.1).requires_grad(true)});
      const auto& l = layers.back();
      inputs.insert(inputs.end(), {l.norm1.weight, l.norm1.bias, l.conv1, l.norm2.weight, l.norm2.bias, l.conv2});
    }
    const Tensor y = dense_block(inputs[0], layers);
    Tensors all = grad(y, inputs, {.seed = y.detach()});
    all.push_back(y.detach());
    return all;
  };
  try {
    const Tensors fused = results("dense_block=fused"), composed = results("dense_block=composed");
    for (std::size_t i = 0; i < fused.size(); ++i)
      row.worst_error = dispatch::worse(dispatch::relative_error(fused[i].view(), to(composed[i], Device::cpu)), row.worst_error);
    row.worst = row.worst_error / 2e-4;
    row.calls = 1;
  } catch (const Error& e) {
    row.failure = e.what();
  }
  return row;
}

std::vector<Examination::Row> examined(Device device, bool try_rows) {
  std::vector<Examination::Row> rows;
  {
    Examination examination(try_rows);
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64})
      for (const Layout layout : {Layout::channels_last, Layout::contiguous})
        if (try_rows || dtype == DType::f32) Cases(device, dtype, layout).all();
    rows = examination.rows();
  }
  rows.push_back(dense_block_row(Device::cpu, try_rows && device == Device::cpu));
#if CUBOID_CUDA
  rows.push_back(dense_block_row(Device::cuda, try_rows && device == Device::cuda));
#endif
  return rows;
}

}  // namespace

std::vector<Examination::Row> self_test(Device device) { return examined(device, true); }
std::vector<Examination::Row> kernel_tables() { return examined(Device::cpu, false); }

}  // namespace cuboid
