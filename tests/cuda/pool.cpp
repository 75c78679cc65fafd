// SPDX-License-Identifier: Apache-2.0
// Every row of pooling on the device against the plain loops of the CPU, forward, gradient and the gradient's gradient.
#include "kernels/pool/pool.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaPool : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

std::string all(const char* row) {
  std::string text;
  for (const char* op : {"avg_pool", "avg_pool_backward", "max_pool", "max_pool_backward", "max_pool_gather"})
    text += join_text(text.empty() ? "" : ",", op, "=", row);
  return text;
}

struct Case {
  Shape x;
  PoolSpec spec;
};
std::vector<Case> cases() {
  const auto make = [](const Shape& x, std::int64_t size, std::int64_t stride, std::int64_t pad, bool count = true) {
    PoolSpec spec = PoolSpec::make(x.rank() - 2, size, stride, pad);
    spec.count_include_pad = count;
    return Case{x, spec};
  };
  std::vector<Case> all{make({2, 8, 7, 9, 5}, 3, 2, 1),         // the stem's
                        make({1, 24, 6, 6, 6}, 2, 2, 0),        // the transitions'
                        make({3, 16, 1, 1, 1}, 1, 1, 0),        // one voxel
                        make({2, 8, 11, 4}, 2, 3, 1, false),    // inputs that no window covers
                        make({1, 40, 13}, 4, 1, 2, false),      // windows over each other
                        make({2, 7, 5, 6, 4}, 3, 2, 1, false),  // no whole packets
                        make({1, 8, 17, 19, 23}, 3, 2, 1),      // many blocks
                        make({2, 1, 9, 8}, 3, 1, 1)};
  // Another size, stride and padding on each face, and a result rounded up.
  all.push_back({{2, 16, 5, 7, 8},
                 {.size = {2, 3, 4},
                  .stride = {1, 2, 3},
                  .pad_lo = {1, 0, 2},
                  .pad_hi = {0, 1, 1},
                  .count_include_pad = false,
                  .ceil = true}});
  all.push_back(
      {{1, 8, 6, 7, 9}, {.size = {3, 2, 4}, .stride = {2, 3, 3}, .pad_lo = {0, 1, 2}, .pad_hi = {1, 1, 0}, .ceil = true}});
  return all;
}

using Pool = Tensor (*)(const Tensor&, const PoolSpec&);
struct Results {
  Tensor y, dx, gathered;
};
Results results(Pool pool, const Case& c, DType dtype, Device device, Lies how) {
  const auto made = [&](const Shape& shape, std::uint64_t seed) {
    return laid(to(random(shape, {.seed = seed, .dtype = dtype, .lo = -4, .hi = 4, .integers = true}), device), how);
  };
  const Tensor x = made(c.x, 1).requires_grad(true);
  const Tensor y = pool(x, c.spec);
  const Tensor seed = made(y.shape(), 2).requires_grad(true);
  const Tensor dx = grad(y, {x}, {.create_graph = true, .seed = seed})[0];
  return {y.detach(), dx.detach(), grad(dx, {seed}, {.seed = made(c.x, 3)})[0]};
}

TEST_F(CudaPool, EveryRowAgreesWithTheCpu) {
  for (const Case& c : cases())
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16})
      for (const Pool pool : {Pool{avg_pool}, Pool{max_pool}}) {
        Results expected;
        {
          const dispatch::Forced forced(all("reference"));
          expected = results(pool, c, dtype, Device::cpu, Lies::contiguous);
        }
        for (const char* row : {"packets", "reference"}) {
          const bool packets = row == std::string("packets");
          if (packets && c.x[1] % 8 != 0) continue;
          for (const Lies how : {Lies::channels_last, Lies::view}) {
            const dispatch::Forced forced(all(row));
            const Results got = results(pool, c, dtype, Device::cuda, how);
            const Tolerance t = pool == Pool{max_pool} ? Tolerance{} : tolerance(dtype);
            SCOPED_TRACE(join_text(dtype, c.x, " size ", c.spec.size, " ", pool == Pool{max_pool} ? "max" : "avg", " ", row));
            EXPECT_TRUE(close(got.y, expected.y, t));
            EXPECT_TRUE(close(got.dx, expected.dx, t));
            EXPECT_TRUE(close(got.gathered, expected.gathered, t));
          }
        }
      }
}

// Sums of random reals depend on the order they are taken in: it must always be the same one.
TEST_F(CudaPool, TheSameBitsEveryTime) {
  const Tensor x = laid(to(random({2, 8, 9, 9, 9}, {.dtype = DType::f32}), Device::cuda), Lies::channels_last);
  for (const Pool pool : {Pool{avg_pool}, Pool{max_pool}}) {
    const auto once = [&] {
      const Tensor leaf = x.detach().requires_grad(true);
      const Tensor y = pool(leaf, PoolSpec::make(3, 3, 1, 1));
      return grad(y, {leaf}, {.seed = y.detach()})[0];
    };
    EXPECT_TRUE(equal(once(), once()));
  }
}

}  // namespace
