// SPDX-License-Identifier: Apache-2.0
// The rows for tensor cores around every edge they have: tiles of 128 voxels and 32, 64 or 128 channels, boxes of 16, 32 and
// 64 channels, stages of 64 sums, all faces of the padding, and the limits of TMA. To the last bit, on whole numbers.
#include "core/cuda.h"
#include "tests/cuda/conv_problems.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct Edges : ::testing::TestWithParam<const char*> {
  ConvCounts counts;
  int tried = 0;

  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
    if (GetParam() == std::string("wgmma") && cuda::device_info().major != 9) GTEST_SKIP() << "wgmma is for capability 9.0";
  }
  void TearDown() override {
    for (const auto& [row, count] : counts) std::cout << row << ' ' << count << " of " << tried << ", ";
    std::cout << '\n';
  }
  /// How many of the three passes took it.
  int passes(ConvProblem p, const Shape& kernel, std::int64_t outputs) {
    p.w = Shape{outputs, p.x[1]};
    for (const std::int64_t k : kernel) p.w.push_back(k);
    p.dtype = ++tried % 3 ? DType::bf16 : DType::f16;
    p.bias = tried % 2 == 1;
    const auto sum = [&] {
      int all = 0;
      for (const auto& [row, count] : counts) all += count;
      return all;
    };
    const int before = sum();
    EXPECT_EQ(compare_conv_rows(p, counts, GetParam()), "") << p;
    return sum() - before;
  }
};

ConvSpec padded(Shape lo, Shape hi, Shape stride = {1, 1, 1}, Shape dilation = {1, 1, 1}) {
  return {.stride = stride, .pad_lo = lo, .pad_hi = hi, .dilation = dilation};
}

TEST_P(Edges, Voxels) {
  for (const std::int64_t n : {1, 2, 63, 64, 65, 127, 128, 129, 131, 257}) {
    EXPECT_EQ(passes({.x = {1, 8, 1, 1, n}, .spec = ConvSpec::make(3)}, {1, 1, 1}, 8), 3) << n;
    EXPECT_EQ(passes({.x = {n, 16, 2, 1, 1}, .spec = ConvSpec::make(3, 1, 1)}, {3, 1, 1}, 8), 3) << n;
  }
}

TEST_P(Edges, ChannelsOfTheResult) {
  for (const std::int64_t k : {1, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 136, 257})
    EXPECT_EQ(passes({.x = {1, 16, 2, 3, 5}, .spec = ConvSpec::make(3, 1, 1)}, {1, 3, 3}, k), k % 8 ? 1 : 3) << k;
  for (const std::int64_t c : {1, 33, 65, 129})
    EXPECT_EQ(passes({.x = {1, c, 2, 3, 5}, .spec = ConvSpec::make(3, 1, 1)}, {1, 3, 3}, 16), 1) << c;
}

TEST_P(Edges, ChannelsOfTheSource) {
  for (const std::int64_t c : {8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 104, 128, 136, 200}) {
    EXPECT_EQ(passes({.x = {1, c, 2, 3, 3}, .spec = ConvSpec::make(3, 1, 1)}, {3, 3, 3}, 8), 3) << c;
    EXPECT_EQ(passes({.x = {1, 8, 2, 3, 3}, .spec = ConvSpec::make(3, 1, 1)}, {1, 3, 2}, c), 3) << c;
  }
}

TEST_P(Edges, FacesOfThePadding) {
  for (std::size_t face = 0; face < 6; ++face)
    for (const std::int64_t pad : {1, 3, 15}) {
      Shape lo{0, 0, 0}, hi{0, 0, 0};
      (face < 3 ? lo : hi)[static_cast<int>(face % 3)] = pad;
      EXPECT_EQ(passes({.x = {2, 8, 3, 4, 5}, .spec = padded(lo, hi)}, {2, 3, 3}, 8), 3) << face << ' ' << pad;
    }
  for (const std::int64_t pad : {1, 2, 4, 7})
    EXPECT_EQ(passes({.x = {1, 24, 2, 3, 4}, .spec = padded({pad, 0, pad}, {1, pad, 0})}, {2, 2, 3}, 8), 3) << pad;
}

TEST_P(Edges, StridesAndDilations) {
  for (const std::int64_t s : {2, 3, 4})
    for (const std::int64_t k : {1, 2, 3, 4, 5})
      EXPECT_EQ(
          passes({.x = {2, 8, 1, 7, 9}, .spec = padded({0, k / 2, 0}, {0, k / 2, k / 2}, {1, s, s == 2 ? 2 : 1})}, {1, k, k}, 16),
          3)
          << s << ' ' << k;
  for (const std::int64_t d : {2, 3, 7, 15})
    EXPECT_EQ(passes({.x = {1, 16, 3, 4, 7}, .spec = padded({1, d, d}, {1, d, 1}, {1, 1, 2}, {1, d, d})}, {3, 3, 2}, 8), 3) << d;
  EXPECT_EQ(passes({.x = {1, 8, 5, 6, 7}, .spec = padded({1, 2, 2}, {1, 2, 3}, {2, 2, 2}, {2, 1, 3})}, {3, 3, 3}, 8), 3);
}

TEST_P(Edges, OneAndTwoDimensions) {
  for (const std::int64_t k : {1, 3, 10}) {
    EXPECT_EQ(passes({.x = {3, 16, 50}, .spec = ConvSpec::make(1, 1, k / 2)}, {k}, 24), 3) << k;
    EXPECT_EQ(passes({.x = {2, 8, 11, 13}, .spec = ConvSpec::make(2, 1, k / 2)}, {k, 3}, 8), 3) << k;
  }
}

// Several blocks of voxels and of channels; sums cut in parts; parts of each phase of a strided gradient.
TEST_P(Edges, SeveralBlocksAlongEachAxisOfTheGrid) {
  EXPECT_EQ(passes({.x = {2, 16, 3, 7, 11}, .spec = ConvSpec::make(3, 1, 1)}, {1, 3, 3}, 136), 3);
  EXPECT_EQ(passes({.x = {1, 136, 3, 7, 13}, .spec = ConvSpec::make(3, 1, 1)}, {3, 1, 1}, 24), 3);
  EXPECT_EQ(passes({.x = {1, 64, 3, 3, 3}, .spec = ConvSpec::make(3, 1, 1)}, {3, 3, 3}, 64), 3);
  EXPECT_EQ(passes({.x = {1, 8, 8, 11, 13}, .spec = ConvSpec::make(3, 1, 1)}, {3, 3, 3}, 8), 3);
  EXPECT_EQ(passes({.x = {1, 8, 4, 6, 6}, .spec = ConvSpec::make(3, 2, 1)}, {4, 4, 4}, 136), 3);
}

INSTANTIATE_TEST_SUITE_P(CudaConv, Edges, ::testing::Values("wgmma", "mma"), [](const auto& p) { return p.param; });

// Beyond them another row takes it.
TEST(CudaConvLimits, OfTma) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  const auto taken = [](const ConvSpec& spec, std::int64_t kernel) {
    ConvCounts counts;
    const ConvProblem p{.x = {1, 8, 2, 3, 40}, .w = {8, 8, 1, 1, kernel}, .spec = spec, .dtype = DType::bf16};
    EXPECT_EQ(compare_conv_rows(p, counts, "wgmma"), "") << p;
    return counts;
  };
  const int yes = cuda::device_info().major == 9 ? 1 : 0;
  EXPECT_EQ(taken(padded({0, 0, 16}, {0, 0, 0}), 3)["conv/wgmma"], yes);
  EXPECT_EQ(taken(padded({0, 0, 17}, {0, 0, 0}), 3)["conv/wgmma"], 0);
  EXPECT_EQ(taken(padded({0, 0, 0}, {0, 0, 0}, {1, 1, 1}, {1, 1, 16}), 2)["conv_weight/wgmma"], yes);
  EXPECT_EQ(taken(padded({0, 0, 0}, {0, 0, 0}, {1, 1, 1}, {1, 1, 32}), 2)["conv_weight/wgmma"], 0);
  EXPECT_EQ(taken(padded({0, 0, 0}, {0, 0, 0}, {1, 1, 8}), 3)["conv/wgmma"], yes);
  EXPECT_EQ(taken(padded({0, 0, 0}, {0, 0, 0}, {1, 1, 9}), 3)["conv/wgmma"], 0);
  EXPECT_EQ(taken(padded({0, 0, 0}, {0, 0, 0}, {1, 1, 5}), 3)["conv_input/wgmma"], 0);
}

}  // namespace
