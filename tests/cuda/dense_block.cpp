// SPDX-License-Identifier: Apache-2.0
// The fused dense block of the device against its composed definition on the CPU, in f64.
#include "kernels/dense_block/dense_block.h"

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/cuda/conv_problems.h"
#include "tests/test.h"

namespace cuboid::test {
namespace {

struct CudaDenseBlock : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

struct Case {
  const char* name;
  Shape x;
  std::int64_t growth, mid;
  int layers;
};
// Tiles are 128 voxels by 32, 64 or 128 channels, steps 16 or 32 channels.
const Case cases[] = {{"cube", {2, 32, 4, 4, 4}, 32, 64, 3},         {"odd", {3, 40, 3, 5, 2}, 8, 24, 3},
                      {"tiny", {8, 8, 2, 2, 2}, 8, 16, 3},           {"one voxel each", {5, 16, 1, 1, 1}, 8, 8, 2},
                      {"wide", {1, 136, 3, 4, 6}, 40, 136, 2},       {"flat", {2, 24, 6, 7}, 16, 32, 2},
                      {"whole tiles", {1, 32, 4, 8, 8}, 32, 128, 2}, {"one more", {1, 8, 1, 43, 3}, 16, 40, 1},
                      {"uncut", {1, 8, 102, 103}, 8, 8, 1}};

struct Numbers {
  double lo, hi;
  bool integers = false;
};
/// x, then ten tensors per layer; on the device, in `dtype` but for the norms.
Tensors tensors_of(const Case& c, DType dtype, Device device, bool whole_numbers = false) {
  std::uint64_t seed = 100;
  const DType norms = dtype == DType::f64 ? DType::f64 : DType::f32;
  const auto make = [&](const Shape& shape, DType as, Numbers n) {
    const Tensor bf16 = random(shape, {.seed = seed++, .dtype = DType::bf16, .lo = n.lo, .hi = n.hi, .integers = n.integers});
    const Tensor t = empty(shape, {.dtype = as, .device = device});  // the same numbers for every dtype
    copy(bf16, t);
    return t;
  };
  const auto constant = [&](std::int64_t n, double value) { return full({n}, value, {.dtype = norms, .device = device}); };
  Tensors all{laid(make(c.x, dtype, whole_numbers ? Numbers{-1, 1, true} : Numbers{-1, 2}), Lies::channels_last)};
  for (int i = 0; i < c.layers; ++i) {
    const std::int64_t channels = c.x[1] + i * c.growth;
    Shape one{c.mid, channels}, three{c.growth, c.mid};
    for (int k = 2; k < c.x.rank(); ++k) {
      one.push_back(1);
      three.push_back(3);
    }
    const auto norm = [&](std::int64_t n) {
      if (whole_numbers) all.insert(all.end(), {constant(n, 1), constant(n, 0), constant(n, 0), constant(n, 1)});
      else
        all.insert(all.end(), {make({n}, norms, {0.5, 1.5}), make({n}, norms, {-0.5, 0.5}), make({n}, norms, {-0.2, 0.2}),
                               make({n}, norms, {0.5, 1.5})});
    };
    norm(channels);
    all.push_back(make(one, dtype, whole_numbers ? Numbers{-1, 1, true} : Numbers{-0.2, 0.2}));
    norm(c.mid);
    all.push_back(make(three, dtype, whole_numbers ? Numbers{-1, 1, true} : Numbers{-0.1, 0.1}));
  }
  return all;
}
bool is_running(std::size_t i) { return i > 0 && ((i - 1) % 5 == 2 || (i - 1) % 5 == 3); }

struct Outcome {
  Tensor y;
  Tensors gradients, running;
};
Outcome outcome(Tensors all, const DenseBlockOptions& o, bool whole_numbers = false) {
  Tensors wanted;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!is_running(i)) wanted.push_back(all[i].requires_grad(true));
  std::vector<DenseLayerTensors> layers;
  for (std::size_t i = 1; i < all.size(); i += 10)
    layers.push_back(
        {{all[i], all[i + 1], all[i + 2], all[i + 3]}, all[i + 4], {all[i + 5], all[i + 6], all[i + 7], all[i + 8]}, all[i + 9]});
  const Tensor y = dense_block(all[0], layers, o);
  const Tensor seed = random(y.shape(), {.seed = 99, .dtype = DType::bf16, .lo = -1, .hi = 1, .integers = whole_numbers});
  const Tensor there = empty_like(y);
  copy(seed, there);
  Outcome result;
  result.gradients = grad(y, wanted, {.seed = there});
  result.y = y.detach();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (is_running(i)) result.running.push_back(all[i]);
  return result;
}

/// |got - expected| over |expected|, both as vectors.
double distance(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector(), b = expected.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / (size + 1e-30));
}
::testing::AssertionResult near(const Tensor& got, const Tensor& expected, double share) {
  double largest = 0;
  for (const double v : expected.to_vector()) largest = std::max(largest, std::abs(v));
  return close(got, expected, {.rtol = 0, .atol = share * largest + 1e-12});
}

TEST_F(CudaDenseBlock, F32AgreesWithTheDefinitionInF64) {
  for (const Case& c : cases)
    for (const bool training : {true, false}) {
      if (training && c.x.count() / c.x[1] < 6) continue;  // so few voxels that xhat takes few values: kinks everywhere
      const DenseBlockOptions o{.training = training, .slope = c.layers == 2 ? 0.1 : 0};
      const dispatch::Forced forced("dense_block=fused");
      const Outcome got = outcome(tensors_of(c, DType::f32, Device::cuda), o);
      const Outcome expected = outcome(tensors_of(c, DType::f64, Device::cpu), o);
      SCOPED_TRACE(join_text(c.name, training ? " training" : " evaluation"));
      EXPECT_TRUE(near(got.y, expected.y, 3e-6));
      EXPECT_TRUE(got.y.is(Layout::channels_last));
      for (std::size_t i = 0; i < got.gradients.size(); ++i)
        EXPECT_TRUE(near(got.gradients[i], expected.gradients[i], 3e-5)) << "gradient " << i;
      for (std::size_t i = 0; i < got.running.size(); ++i)
        EXPECT_TRUE(near(got.running[i], expected.running[i], 3e-6)) << "running statistics " << i;
    }
}

struct Rounding {
  const char* name;
  DType dtype;
  bool tf32;
  double y, gradient;  // bounds of the relative error, as vectors
};

constexpr Rounding roundings[] = {
    {"bf16", DType::bf16, false, 6e-3, 1.5e-2}, {"f16", DType::f16, false, 1e-3, 2e-3}, {"tf32", DType::f32, true, 1e-3, 2e-3}};

// Without kinks: what rounding to 8 or 11 bits a few times costs.
TEST_F(CudaDenseBlock, FewerBitsAgreeWithTheDefinitionInF64) {
  for (const Case& c : cases) {
    const bool training = c.x.count() / c.x[1] >= 64;
    const DenseBlockOptions o{.training = training, .slope = 1};
    const Outcome expected = outcome(tensors_of(c, DType::f64, Device::cpu), o);
    for (const Rounding& r : roundings) {
      SCOPED_TRACE(join_text(r.name, " ", c.name, training ? " training" : " evaluation"));
      const Tf32 allow(r.tf32);
      const Outcome got = outcome(tensors_of(c, r.dtype, Device::cuda), o);
      EXPECT_LT(distance(got.y, expected.y), r.y);
      for (std::size_t i = 0; i < got.gradients.size(); ++i) {
        EXPECT_EQ(got.gradients[i].dtype(), i % 3 == 0 ? r.dtype : DType::f32) << i;
        if (training && i % 6 == 2) continue;  // zero: norm2 takes away what norm1's bias adds
        EXPECT_LT(distance(got.gradients[i], expected.gradients[i]), r.gradient) << "gradient " << i;
      }
      for (std::size_t i = 0; i < got.running.size(); ++i)
        EXPECT_TRUE(near(got.running[i], expected.running[i], r.y / 2)) << "running statistics " << i;
    }
  }
}

// Where rounding flips signs at kinks: no more than the composed definition loses in the same type.
TEST_F(CudaDenseBlock, Bf16LosesNoMoreThanTheDefinition) {
  for (const int i : {0, 1, 4, 5}) {
    const Case& c = cases[i];
    const DenseBlockOptions o{.slope = 0.1};
    const Outcome expected = outcome(tensors_of(c, DType::f64, Device::cpu), o);
    const Outcome got = outcome(tensors_of(c, DType::bf16, Device::cuda), o);
    const Outcome composed = outcome(tensors_of(c, DType::bf16, Device::cpu), o);
    for (std::size_t k = 0; k < got.gradients.size(); ++k)
      EXPECT_LT(distance(got.gradients[k], expected.gradients[k]),
                1.2 * distance(composed.gradients[k], expected.gradients[k]) + 5e-3)
          << c.name << ", gradient " << k;
  }
}

// Whole numbers small enough for bf16, through norms that do nothing: not one bit may differ.
TEST_F(CudaDenseBlock, ExactOnWholeNumbers) {
  const Case c{"exact", {2, 8, 5, 6, 7}, 8, 8, 1};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const DenseBlockOptions o{.training = false, .eps = 0};
    const Outcome got = outcome(tensors_of(c, dtype, Device::cuda, true), o, true);
    const Outcome expected = outcome(tensors_of(c, DType::f64, Device::cpu, true), o, true);
    EXPECT_TRUE(equal(got.y, expected.y)) << dtype;
    EXPECT_TRUE(equal(got.gradients[0], expected.gradients[0])) << dtype;
  }
}

TEST_F(CudaDenseBlock, TheSameBitsEveryTime) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto once = [&] { return outcome(tensors_of(cases[0], dtype, Device::cuda), {}); };
    const Outcome a = once(), b = once();
    EXPECT_TRUE(equal(a.y, b.y));
    for (std::size_t i = 0; i < a.gradients.size(); ++i) EXPECT_TRUE(equal(a.gradients[i], b.gradients[i])) << i;
    for (std::size_t i = 0; i < a.running.size(); ++i) EXPECT_TRUE(equal(a.running[i], b.running[i])) << i;
  }
}

}  // namespace
}  // namespace cuboid::test
