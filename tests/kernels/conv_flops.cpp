// SPDX-License-Identifier: Apache-2.0
// What a convolution's definition needs, counted tap by tap.
#include <gtest/gtest.h>

#include "core/profiler.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/geometry.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

double counted(const Shape& x, const Shape& w, const ConvSpec& spec) {
  const Shape y = spec.output_shape(x, w);
  double taps = static_cast<double>(x[0] * w[0] * w[1]);
  for (int i = 0; i < spec.rank(); ++i) {
    std::int64_t along = 0;
    for (std::int64_t o = 0; o < y[2 + i]; ++o)
      for (std::int64_t k = 0; k < w[2 + i]; ++k) {
        const std::int64_t at = o * spec.stride[i] + k * spec.dilation[i] - spec.pad_lo[i];
        along += at >= 0 && at < x[2 + i];
      }
    taps *= static_cast<double>(along);
  }
  return 2 * taps;
}

}  // namespace

TEST(ConvFlops, TapsOnPaddingAreLeftOut) {
  for (const std::int64_t side : {1, 2, 4, 5, 9})
    for (const std::int64_t kernel : {1, 2, 3, 7})
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t pad : {0, 1, 3})
          for (const std::int64_t dilation : {1, 2}) {
            ConvSpec spec = ConvSpec::make(3, stride, pad, dilation, 2);
            spec.pad_hi[0] = 0;
            spec.dilation[1] = 1;
            const Shape x{2, 4, side, side + 1, 2 * side}, w{6, 2, kernel, kernel, 1};
            if (side + spec.pad_lo[0] < (kernel - 1) * dilation + 1) continue;
            const Geometry g = geometry(DType::f32, x, w, spec.output_shape(x, w), spec);
            EXPECT_EQ(g.valid_flops(), counted(x, w, spec)) << x << w << " stride " << stride << " pad " << pad;
            EXPECT_LE(g.valid_flops(), g.flops());
          }
}

TEST(ConvFlops, TheProfilerSeesThem) {
  const Tensor x = random({1, 3, 2, 2, 2}, {.dtype = DType::f32}), w = random({4, 3, 3, 3, 3}, {.seed = 2, .dtype = DType::f32});
  const bool before = profiler::enabled();
  profiler::enable(true);
  profiler::clear();
  conv(x, w, ConvSpec::make(3, 1, 1));
  double flops = 0;
  for (const auto& e : profiler::events())
    if (std::string(e.op) == "conv") flops += e.flops;
  profiler::clear();
  profiler::enable(before);
  EXPECT_EQ(flops, 2. * 3 * 4 * 64);  // each of 8 outputs sees all 8 inputs; 216 taps with padding
}
