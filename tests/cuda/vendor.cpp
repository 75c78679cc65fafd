// SPDX-License-Identifier: Apache-2.0
// NVIDIA's libraries. Without a device: which versions are refused, and whether cuDNN finds plans for convolutions as we describe
// them, for an H200 that is only described.
#include <gtest/gtest.h>

#if CUBOID_CUDNN
#include <iostream>

#include "kernels/conv/cudnn.h"
#include "tests/cuda/h200.h"

using namespace cuboid;
using namespace cuboid::cudnn;

namespace {

TEST(Cudnn, KnownBadVersionsAreRefused) {
  EXPECT_NE(refusal(89700, DType::f32, 2, false), "");
  EXPECT_EQ(refusal(90701, DType::bf16, 3, false), "");
  for (const int bad : {90800, 91002, 91400}) {
    EXPECT_NE(refusal(bad, DType::bf16, 3, false), "") << bad;
    EXPECT_NE(refusal(bad, DType::f16, 3, false), "") << bad;
    EXPECT_NE(refusal(bad, DType::f32, 3, true), "") << bad << ": tf32";
    EXPECT_EQ(refusal(bad, DType::f32, 3, false), "") << bad << ": f32 without tensor cores is right";
    EXPECT_EQ(refusal(bad, DType::bf16, 2, false), "") << bad << ": 2D is right";
  }
  EXPECT_EQ(refusal(91500, DType::bf16, 3, true), "");
  EXPECT_EQ(refusal(91002, DType::bf16, 3, false),
            "cuDNN 9.10.2 computes some 3D convolutions of bf16 wrong or slowly; 9.15 mends it");
}

struct Case {
  const char* name;
  Geometry geometry;
};
constexpr Case cases[] = {
    {"stem",
     {.samples = 8,
      .in_channels = 1,
      .out_channels = 64,
      .in = {64, 64, 64},
      .out = {32, 32, 32},
      .kernel = {7, 7, 7},
      .stride = {2, 2, 2},
      .pad_lo = {3, 3, 3}}},
    {"3x3x3",
     {.samples = 8,
      .in_channels = 128,
      .out_channels = 32,
      .in = {16, 16, 16},
      .out = {16, 16, 16},
      .kernel = {3, 3, 3},
      .pad_lo = {1, 1, 1}}},
    {"1x1x1", {.samples = 8, .in_channels = 256, .out_channels = 128, .in = {16, 16, 16}, .out = {16, 16, 16}}},
    {"2D",
     {.samples = 8,
      .in_channels = 64,
      .out_channels = 64,
      .in = {1, 56, 56},
      .out = {1, 56, 56},
      .kernel = {1, 3, 3},
      .pad_lo = {0, 1, 1}}},
};

ConvProblem problem(const Geometry& geometry, ConvPass pass, DType dtype) {
  ConvProblem p{.pass = pass, .geometry = geometry};
  p.geometry.dtype = dtype;
  for (std::size_t i = 0; i < 3; ++i)
    p.pad_hi[i] = std::max<std::int64_t>(
        0, (geometry.out[i] - 1) * geometry.stride[i] + geometry.extent(i) - geometry.in[i] - geometry.pad_lo[i]);
  return p;
}
constexpr ConvPass passes[] = {ConvPass::forward, ConvPass::input, ConvPass::weight};

class CudnnPlans : public testing::Test {
  void SetUp() override {
    if (version() < 91100) GTEST_SKIP() << "cuDNN " << text_of_version(version()) << " cannot plan without a device";
  }
};

TEST_F(CudnnPlans, ForADeviceThatIsOnlyDescribed) {
  for (const Case& c : cases)
    for (const ConvPass pass : passes)
      for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
        const auto plan = make_plan(problem(c.geometry, pass, dtype), h200);
        ASSERT_TRUE(plan) << c.name << ", pass " << static_cast<int>(pass) << ", " << dtype;
        std::cout << c.name << ", pass " << static_cast<int>(pass) << ", " << dtype << ": " << plan->engine() << ", "
                  << (plan->workspace() >> 10) << " KiB\n";
        EXPECT_EQ(plan->engine().find("tensor cores") != std::string::npos, dtype != DType::f32);
      }
}

TEST_F(CudnnPlans, DoWhatIsAskedOfThem) {
  for (const Case& c : cases)
    for (const ConvPass pass : passes) {
      ConvProblem p = problem(c.geometry, pass, DType::f32);
      p.deterministic = true;
      const auto same_bits = make_plan(p, h200);
      ASSERT_TRUE(same_bits) << c.name;
      EXPECT_EQ(same_bits->engine().find("not deterministic"), std::string::npos) << c.name << ": " << same_bits->engine();
      p.tf32 = true;
      EXPECT_TRUE(make_plan(p, h200)) << c.name;
    }
  ConvProblem tf32 = problem(cases[1].geometry, ConvPass::forward, DType::f32);
  tf32.tf32 = true;
  EXPECT_NE(make_plan(tf32, h200)->engine().find("tensor cores"), std::string::npos);
  Geometry with_bias = cases[1].geometry;
  with_bias.bias = true;
  EXPECT_TRUE(make_plan(problem(with_bias, ConvPass::forward, DType::bf16), h200)) << "the bias is added on the way out";
  Geometry dilated = cases[1].geometry;
  dilated.dilation = dilated.pad_lo = {2, 2, 2};
  EXPECT_TRUE(make_plan(problem(dilated, ConvPass::forward, DType::bf16), h200));
}

}  // namespace
#endif
