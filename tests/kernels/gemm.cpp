// SPDX-License-Identifier: Apache-2.0
// Matmul and pointwise convolution as products in the words of BLAS, carried out by plain loops.
#include "kernels/conv/gemm.h"

#include "kernels/conv/conv.h"
#include "kernels/views/views.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

void carry_out(const Gemm& g) {
  const auto *a = static_cast<const double*>(g.a), *b = static_cast<const double*>(g.b),
             *bias = static_cast<const double*>(g.bias);
  auto* d = static_cast<double*>(g.d);
  for (std::int64_t z = 0; z < g.batch; ++z)
    for (std::int64_t i = 0; i < g.m; ++i)
      for (std::int64_t j = 0; j < g.n; ++j) {
        double sum = bias ? bias[i] : 0;
        for (std::int64_t k = 0; k < g.k; ++k)
          sum += a[z * g.step_a + (g.transpose_a ? k + i * g.lda : i + k * g.lda)] *
                 b[z * g.step_b + (g.transpose_b ? j + k * g.ldb : k + j * g.ldb)];
        d[z * g.step_d + i + j * g.ldd] = sum;
      }
}

Tensor near(const Shape& shape, std::uint64_t seed) { return to(random(shape, {.seed = seed}), Device::cpu); }

View batched(View v) {
  v.shape = {1, v.shape[0], v.shape[1]};
  v.strides = {0, v.strides[0], v.strides[1]};
  return v;
}

TEST(Gemm, Matmul) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const auto& [m, k, n] : {std::tuple{3, 4, 5}, {1, 4, 5}, {3, 1, 5}, {3, 4, 1}, {1, 1, 1}}) {
        const Tensor a = ta ? transpose(near({k, m}, 1), 0, 1) : near({m, k}, 1);
        const Tensor b = tb ? transpose(near({n, k}, 2), 0, 1) : near({k, n}, 2), c = zeros({m, n}, {.dtype = DType::f64});
        const auto g = gemm_of_matmul(batched(a.view()), batched(b.view()), batched(c.mutate()));
        ASSERT_TRUE(g);
        carry_out(*g);
        EXPECT_TRUE(close(c, matmul(a, b), tolerance(DType::f64))) << ta << tb << Shape{m, k, n};
      }
  const Tensor a = near({4, 2, 3}, 3), b = near({4, 3, 5}, 4), c = zeros({4, 2, 5}, {.dtype = DType::f64});
  carry_out(*gemm_of_matmul(a.view(), b.view(), c.mutate()));
  EXPECT_TRUE(close(c, matmul(a, b), tolerance(DType::f64)));
  const Tensor every_second = slice(slice(near({1, 8, 8}, 5), 1, 0, 8), 2, 0, 8);
  View gaps = every_second.view();
  gaps.shape = {1, 4, 4};
  gaps.strides = {64, 16, 2};
  EXPECT_FALSE(gemm_of_matmul(gaps, gaps, gaps)) << "neither row- nor column-major";
}

TEST(Gemm, PointwiseConvolution) {
  const ConvSpec spec = ConvSpec::make(3);
  for (const Shape& shape : {Shape{2, 5, 3, 4, 2}, Shape{1, 5, 1, 1, 1}, Shape{3, 1, 2, 2, 2}, Shape{1, 5, 4, 1, 3}})
    for (const bool sliced : {false, true}) {
      const std::int64_t channels = shape[1], out = 7;
      // x: all channels of a tensor, or the first few of a wider one
      Shape wide = shape;
      wide[1] = channels + 3;
      const Tensor whole = laid(near(sliced ? wide : shape, 1), Lies::channels_last), x = slice(whole, 1, 0, channels);
      const Tensor w = near({out, channels, 1, 1, 1}, 2), bias = near({out}, 3);
      const Shape y_shape = spec.output_shape(shape, w.shape());
      const Tensor g = laid(near(y_shape, 4), Lies::channels_last);
      const auto result = [&](const Shape& s, Layout l) { return zeros(s, {DType::f64, Device::cpu, l}); };

      const Tensor y = result(y_shape, Layout::channels_last);
      const auto forward = gemm_of_conv(x.view(), w.view(), bias.view(), y.mutate(), spec);
      ASSERT_TRUE(forward) << shape;
      carry_out(*forward);
      EXPECT_TRUE(close(y, conv(x, w, bias, spec), tolerance(DType::f64))) << shape;

      const Tensor dx_whole = laid(zeros(sliced ? wide : shape, {.dtype = DType::f64}), Lies::channels_last),
                   dx = slice(dx_whole, 1, 0, channels);
      carry_out(*gemm_of_conv_input(g.view(), w.view(), dx.mutate(), spec));
      EXPECT_TRUE(close(dx, conv_input(g, w, spec, shape), tolerance(DType::f64))) << shape;
      if (sliced) {
        EXPECT_TRUE(equal(slice(dx_whole, 1, channels, 3), zeros({shape[0], 3, shape[2], shape[3], shape[4]})));
      }

      const Tensor dw = result(w.shape(), Layout::contiguous);
      carry_out(*gemm_of_conv_weight(g.view(), x.view(), dw.mutate(), spec));
      EXPECT_TRUE(close(dw, conv_weight(g, x, spec, w.shape()), tolerance(DType::f64))) << shape;
    }
}

TEST(Gemm, WhatIsNoProductIsRefused) {
  const Tensor x = laid(near({2, 4, 3, 3, 3}, 1), Lies::channels_last), w = near({6, 4, 1, 1, 1}, 2),
               w3 = near({6, 4, 3, 3, 3}, 2);
  const Tensor y = laid(zeros({2, 6, 3, 3, 3}, {.dtype = DType::f64}), Lies::channels_last);
  const auto fits = [&](const Tensor& input, const Tensor& weights, const ConvSpec& spec) {
    return gemm_of_conv(input.view(), weights.view(), View(), y.mutate(), spec).has_value();
  };
  EXPECT_TRUE(fits(x, w, ConvSpec::make(3)));
  EXPECT_FALSE(fits(x, w3, ConvSpec::make(3, 1, 1))) << "kernel 3";
  EXPECT_FALSE(fits(x, w, ConvSpec::make(3, 2))) << "stride 2";
  EXPECT_FALSE(fits(x, w, ConvSpec::make(3, 1, 1))) << "padding";
  EXPECT_FALSE(fits(laid(x, Lies::contiguous), w, ConvSpec::make(3))) << "channels apart";
  EXPECT_FALSE(fits(laid(x, Lies::view), w, ConvSpec::make(3)));
  EXPECT_FALSE(fits(slice(x, 3, 0, 2), w, ConvSpec::make(3))) << "voxels with gaps between the rows";
  ConvSpec grouped = ConvSpec::make(3, 1, 0, 1, 2);
  EXPECT_FALSE(fits(x, near({6, 2, 1, 1, 1}, 3), grouped));
}

}  // namespace
