// SPDX-License-Identifier: Apache-2.0
// Every row of the device's convolution tables against the CPU's reference, to the last bit.
#include <cstdlib>

#include "core/cuda.h"
#include "tests/cuda/conv_problems.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

class CudaConv : public ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

std::string text(const ConvCounts& counts) {
  std::string all;
  for (const auto& [row, count] : counts) all += join_text(row, ' ', count, ", ");
  return all;
}

// 200 problems; CUBOID_CONV_PROBLEMS=2000 is the nightly run.
TEST_F(CudaConv, RowsEqualTheReferenceOnWholeNumbers) {
  const char* asked = std::getenv("CUBOID_CONV_PROBLEMS");
  const auto count = static_cast<std::size_t>(asked ? std::atoi(asked) : 200);
  ConvCounts counts;
  for (const ConvProblem& p : conv_problems(count, 2024, 1.5e6)) ASSERT_EQ(compare_conv_rows(p, counts), "") << p;
  for (const char* op : {"conv/reference", "conv_input/reference", "conv_weight/reference"})
    EXPECT_EQ(counts[op], static_cast<int>(count));
  if (cuda::device_info().major == 9 && count >= 200) {
    for (const char* op : {"conv/wgmma", "conv_input/wgmma", "conv_weight/wgmma"}) EXPECT_GT(counts[op], 30) << op;
  }
  RecordProperty("rows", text(counts));
  std::cout << text(counts) << '\n';
}

}  // namespace
