// SPDX-License-Identifier: Apache-2.0
// Every row of the device's matrix product against the CPU's reference, on whole numbers, to the last bit.
#include "core/cuda.h"
#include "kernels/conv/tables.h"
#include "kernels/views/views.h"
#include "tests/cuda/conv_problems.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

/// Sizes around the edges of packets and tiles.
std::int64_t size(Random& r) {
  constexpr std::int64_t sizes[] = {1,  2,  3,  4,  7,  8,  9,   15,  16,  17,  31,  32, 33,
                                    40, 63, 64, 65, 72, 96, 127, 128, 129, 136, 160, 257};
  const std::int64_t any = sizes[r.integer(0, static_cast<std::int64_t>(std::size(sizes)) - 1)];
  return r.integer(0, 2) ? (any + 7) / 8 * 8 : any;
}

/// (batch, rows, columns), row major, column major, or neither.
struct Kind {
  int order;
  Tensor of(const Shape& s, DType dtype, std::uint64_t seed) const {
    const RandomOptions o{.seed = seed, .dtype = dtype, .lo = -3, .hi = 3, .integers = true};
    const Tensor x = to(random(order == 1 ? Shape{s[0], s[2], s[1]} : s, o), Device::cuda);
    return order == 1 ? transpose(x, 1, 2) : order == 2 ? laid(x, Lies::view) : x;
  }
};

TEST(CudaMatmul, RowsEqualTheReferenceOnWholeNumbers) {
  if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  Random r(7);
  std::map<std::string, int> counts;
  for (int i = 0; i < 250; ++i) {
    const std::int64_t batch = r.integer(0, 2) ? 1 : r.integer(2, 3), m = size(r), n = size(r);
    const std::int64_t k = r.integer(0, 19) ? size(r) : r.integer(0, 3) ? 2000 + 8 * r.integer(0, 5) : 0;
    const Kind ka{r.integer(0, 9) ? static_cast<int>(r.integer(0, 1)) : 2},
        kb{r.integer(0, 9) ? static_cast<int>(r.integer(0, 1)) : 2};
    const DType dtype = r.integer(0, 1) ? DType::bf16 : r.integer(0, 1) ? DType::f32 : r.integer(0, 1) ? DType::f16 : DType::f64;
    const Tf32 scope(r.integer(0, 1) == 1);
    const Tensor a = ka.of({batch, m, k}, dtype, 1), b = kb.of({batch, k, n}, dtype, 2);
    const Tensor expected = [&] {
      const dispatch::Forced forced("matmul=reference");
      return matmul(to(a, Device::cpu), to(b, Device::cpu));
    }();
    for (const auto& row : matmul_rows()) {
      const Tensor c = full({batch, m, n}, std::nan(""), {.dtype = dtype, .device = Device::cuda});
      if (row.device != Device::cuda || !row.fits(a.view(), b.view(), c.mutate())) continue;
      ++counts[row.name];
      row.run(a.view(), b.view(), c.mutate());
      ASSERT_TRUE(equal(c, expected)) << row.name << ' ' << dtype << Shape{batch, m, k, n} << " orders " << ka.order << kb.order;
    }
  }
  for (const auto& [row, count] : counts) std::cout << row << ' ' << count << ", ";
  std::cout << '\n';
  EXPECT_EQ(counts["reference"], 250);
  EXPECT_GT(counts["mma"], 50);
  if (cuda::device_info().major == 9) {
    EXPECT_GT(counts["wgmma"], 30);
  }
}

}  // namespace
