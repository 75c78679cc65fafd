// SPDX-License-Identifier: Apache-2.0
// Every row of resize on the device against the plain loops of the CPU; who reads an input, against a search.
#include "kernels/resize/resize.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "kernels/resize/source.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr ResizeOptions modes[] = {{Resize::nearest}, {Resize::linear}, {Resize::linear, true}};

struct Case {
  Shape x, size;
};
// Twice as large, as in the decoders; odd ratios up and down; to and from one voxel; the same size; no whole packets.
const Case cases[] = {{{2, 8, 3, 4, 5}, {6, 8, 10}}, {{1, 16, 5, 7, 6}, {7, 5, 13}}, {{1, 24, 9, 11}, {3, 4}},
                      {{3, 8, 1, 1, 4}, {3, 1, 1}},  {{2, 8, 6, 5}, {6, 5}},         {{1, 8, 4, 9, 7}, {1, 2, 23}},
                      {{2, 40, 29}, {67}},           {{1, 7, 4, 6}, {7, 3}},         {{1, 8, 12, 13, 11}, {23, 25, 21}}};

struct Results {
  Tensor y, dx;
};
Results results(const Case& c, ResizeOptions o, DType dtype, Device device, Lies how) {
  const auto made = [&](const Shape& shape, std::uint64_t seed) {
    return laid(to(random(shape, {.seed = seed, .dtype = dtype}), device), how);
  };
  const Tensor x = made(c.x, 1).requires_grad(true);
  const Tensor y = resize(x, c.size, o);
  return {y.detach(), grad(y, {x}, {.seed = made(y.shape(), 2)})[0]};
}

TEST(CudaResize, EveryRowAgreesWithTheCpu) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  for (const Case& c : cases)
    for (const ResizeOptions o : modes)
      for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16}) {
        Results expected;
        {
          const dispatch::Forced forced("resize=reference,resize_backward=reference");
          expected = results(c, o, dtype, Device::cpu, Lies::contiguous);
        }
        for (const char* row : {"packets", "reference"}) {
          if (row == std::string("packets") && c.x[1] % 8 != 0) continue;
          const dispatch::Forced forced(join_text("resize=", row, ",resize_backward=", row));
          const Results got = results(c, o, dtype, Device::cuda, Lies::channels_last);
          Tolerance t = tolerance(dtype);
          t.atol = std::max(t.atol, 4 * t.rtol);
          SCOPED_TRACE(join_text(dtype, c.x, " to ", c.size, " mode ", static_cast<int>(o.mode), o.align_corners, " ", row));
          EXPECT_TRUE(close(got.y, expected.y, t));
          EXPECT_TRUE(close(got.dx, expected.dx, t));
          EXPECT_TRUE(equal(got.dx, results(c, o, dtype, Device::cuda, Lies::channels_last).dx)) << "the same bits every time";
        }
      }
}

TEST(ResizeSource, ReadersAreThoseThatReadIt) {
  for (const ResizeOptions o : modes)
    for (int in = 1; in < 40; ++in)
      for (int out = 1; out < 90; out += 1 + in / 8) {
        const SourceAxis<float, int> axis(in, out, o);
        for (int i = 0; i < in; ++i) {
          int begin = -1, end = -1;
          axis.readers(i, begin, end);
          for (int at = 0; at < out; ++at) {
            const Source<float, int> s = axis.source(at);
            const bool reads = s.first == i || s.second == i;
            ASSERT_EQ(reads, begin <= at && at < end) << in << " to " << out << ", input " << i << ", output " << at;
          }
        }
      }
}

}  // namespace
