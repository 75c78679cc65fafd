// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include "core/autograd.h"
#include "kernels/dispatch.h"
#include "kernels/random/cpu.h"
#include "kernels/random/cuda.h"

namespace cuboid {

namespace {

bool contiguous(const Out& y, Draw) { return y.is(Layout::contiguous); }

constexpr Impl<void(const Out&, Draw)> draw_rows[] = {
#if CUBOID_CUDA
    {"blocks", Device::cuda, contiguous, cuda::draw_blocks},
    {"reference", Device::cuda, always, cuda::draw},
#endif
    {"blocks", Device::cpu, contiguous, cpu::draw_blocks},
    {"reference", Device::cpu, always, cpu::draw},
};

template <Layout layout>
bool both(const View& x, const Out& y, double, RandomKey) {
  return x.is(layout) && y.is(layout);
}
bool dense(const View& x, const Out& y, double p, RandomKey key) {
  return x.rank() >= 2 && (both<Layout::contiguous>(x, y, p, key) || both<Layout::channels_last>(x, y, p, key));
}

constexpr Impl<void(const View&, const Out&, double, RandomKey)> dropout_rows[] = {
#if CUBOID_CUDA
    {"blocks", Device::cuda, both<Layout::contiguous>, cuda::dropout_blocks},
    {"tiles", Device::cuda, both<Layout::channels_last>, cuda::dropout_tiles},
    {"reference", Device::cuda, always, cuda::dropout},
#endif
    {"tiled", Device::cpu, dense, cpu::dropout_tiled},
    {"reference", Device::cpu, always, cpu::dropout},
};

Tensor drawn(const Shape& shape, const Draw& draw, TensorOptions options) {
  check(is_floating(options.dtype), "random: needs a floating type, got ", options.dtype);
  Tensor t = empty(shape, options);
  if (t.size() > 0) run({"random"}, draw_rows, t.mutate(), draw);
  return t;
}

}  // namespace

Tensor uniform(const Shape& shape, const RandomKey& key, double low, double high, TensorOptions options) {
  return drawn(shape, {key, Distribution::uniform, low, high - low}, options);
}

Tensor normal(const Shape& shape, const RandomKey& key, double mean, double deviation, TensorOptions options) {
  return drawn(shape, {key, Distribution::normal, mean, deviation}, options);
}

Tensor dropout(const Tensor& x, double p, const RandomKey& key) {
  check(p >= 0 && p < 1, "dropout: p is ", p, ", must lie in [0, 1)");
  check(is_floating(x.dtype()), "dropout: needs a floating type, got ", x.dtype());
  Tensor y = empty_like(x);
  if (x.size() > 0) run({"dropout"}, dropout_rows, x.view(), y.mutate(), p, key);
  return record("dropout", y, {x}, [p, key](const Tensor& g, const Step&) { return Tensors{dropout(g, p, key)}; });
}

}  // namespace cuboid
