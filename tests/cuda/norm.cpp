// SPDX-License-Identifier: Apache-2.0
// Every row of norm on the device against the plain loops of the CPU: packets and single channels, one block and many.
#include "kernels/norm/norm.h"

#include "core/autograd.h"
#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaNorm : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

std::string all(const char* row) {
  std::string text;
  for (const char* op : {"norm_statistics", "batch_norm", "instance_norm"})
    text += join_text(text.empty() ? "" : ",", op, "=", row);
  return text;
}

// A packet, one more, one less; more channels than a block is wide (128 of f32), a tail of them; one row, fewer rows than a
// block is high, several chunks with a tail; one and several samples.
const Shape shapes[] = {{2, 4},           {3, 1, 7},    {5, 3, 11},     {2, 5, 3, 3},     {1, 32, 9},
                        {3, 31, 2, 3, 5}, {2, 33, 13},  {1, 128, 3},    {2, 132, 7},      {2, 264, 1, 3, 1},
                        {2, 300, 4},      {1, 4, 1031}, {2, 1, 23, 29}, {3, 8, 5, 7, 11}, {1, 16, 37, 31}};

struct Results {
  Tensor y, dx, dw, db, mean, var;
};
struct Setting {
  bool instance, training;
  Activation activation;
  bool affine;
};
Results results(const Shape& shape, DType dtype, Device device, Lies how, const Setting& s) {
  const std::int64_t c = shape[1];
  const DType type = dtype == DType::f64 ? DType::f64 : DType::f32;
  const auto made = [&](const Shape& of, RandomOptions o) { return to(random(of, o), device); };
  Results r;
  r.mean = made({c}, {.seed = 5, .dtype = type});
  r.var = made({c}, {.seed = 6, .dtype = type, .lo = 0.5, .hi = 2});
  const Tensor x = laid(made(shape, {.dtype = dtype, .lo = 2, .hi = 4}), how).requires_grad(true);
  Tensor w, b;
  if (s.affine) {
    w = made({c}, {.seed = 2, .dtype = type}).requires_grad(true);
    b = made({c}, {.seed = 3, .dtype = type}).requires_grad(true);
  }
  const Tensor y = s.instance ? instance_norm(x, w, b, 1e-5, s.activation, 0.2)
                              : batch_norm(x, w, b, r.mean, r.var,
                                           {.training = s.training, .momentum = 0.3, .activation = s.activation, .slope = 0.2});
  const Tensor seed = laid(made(shape, {.seed = 4, .dtype = dtype}), how);
  const Tensors gs = grad(y, s.affine ? Tensors{x, w, b} : Tensors{x}, {.seed = seed});
  r.y = y.detach();
  r.dx = gs[0];
  if (s.affine) {
    r.dw = gs[1];
    r.db = gs[2];
  }
  return r;
}

/// Gradients are sums over the voxels: as a share of the largest.
::testing::AssertionResult near(const Tensor& got, const Tensor& expected, double share) {
  double largest = 0;
  for (const double v : expected.to_vector()) largest = std::max(largest, std::abs(v));
  return close(got, expected, {0, share * largest + 1e-12});
}

void expect_agreement(const Shape& shape, DType dtype, Lies how, const Setting& s, const std::string& forced) {
  Results expected, got;
  {
    const dispatch::Forced reference(all("reference"));
    expected = results(shape, dtype, Device::cpu, Lies::contiguous, s);
  }
  {
    const dispatch::Forced row(forced);
    got = results(shape, dtype, Device::cuda, how, s);
  }
  SCOPED_TRACE(join_text(dtype, shape, name_of(how),
                         s.instance   ? " instance"
                         : s.training ? " training"
                                      : " evaluation",
                         " ", forced));
  const double share = dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-5 : dtype == DType::bf16 ? 1e-2 : 2e-3;
  EXPECT_EQ(got.y.device(), Device::cuda);
  EXPECT_TRUE(near(got.y, expected.y, share));
  EXPECT_TRUE(near(got.dx, expected.dx, share));
  if (s.affine) {
    EXPECT_TRUE(near(got.dw, expected.dw, 1e-5));
    EXPECT_TRUE(near(got.db, expected.db, 1e-5));
  }
  EXPECT_TRUE(close(got.mean, expected.mean, {1e-6, 1e-6}));
  EXPECT_TRUE(close(got.var, expected.var, {1e-5, 1e-6}));
}

TEST_F(CudaNorm, EveryRowAgreesWithTheCpu) {
  int turn = 0;
  for (const Shape& shape : shapes)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16})
      for (const bool training : {true, false}) {
        if (training && shape.count() == shape[1]) continue;
        // Each activation with each shape, in turn with and without weights.
        const auto activation = static_cast<Activation>(turn % 3);
        const Setting s{false, training, activation, turn++ % 4 != 0};
        expect_agreement(shape, dtype, Lies::channels_last, s, shape.rank() == 2 ? all("rows") : "");
        expect_agreement(shape, dtype, every_way[static_cast<std::size_t>(turn % 3)], s, all("reference"));
      }
}

TEST_F(CudaNorm, InstanceNormAgreesWithTheCpu) {
  for (const Shape& shape : shapes) {
    if (shape.rank() < 3 || shape.count() == shape[0] * shape[1]) continue;
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Setting s{true, true, Activation::leaky_relu, shape[0] == 1};
      expect_agreement(shape, dtype, Lies::channels_last, s, "");
      expect_agreement(shape, dtype, Lies::view, s, all("reference"));
    }
  }
}

// A mean a thousand times the spread.
TEST_F(CudaNorm, FarFromZero) {
  const Tensor x = laid(random({2, 8, 40, 41}, {.dtype = DType::f32, .lo = 9990, .hi = 10010}), Lies::channels_last);
  const Tensor wide = empty(x.shape(), {.dtype = DType::f64});
  copy(x, wide);
  const Tensor expected = batch_norm(wide, {}, {}, {}, {}, {.training = true, .eps = 0});
  for (const char* row : {"rows", "reference"}) {
    const dispatch::Forced forced(all(row));
    const Tensor y = batch_norm(to(x, Device::cuda), {}, {}, {}, {}, {.training = true, .eps = 0});
    EXPECT_TRUE(close(y, expected, {0, 1e-3})) << row;
  }
}

// Memory that starts off a 16-byte boundary is taken one element at a time.
TEST_F(CudaNorm, UnalignedMemory) {
  const Shape shape{2, 8, 5, 3};
  const Tensor x = random(shape, {.dtype = DType::f32});
  const Tensor room = zeros({x.size() + 1}, {.device = Device::cuda});
  const Tensor there(room.storage(), 1, shape, dense_strides(shape, Layout::channels_last), DType::f32);
  copy(x, there);
  const Tensor expected = batch_norm(to(x, Device::cpu), {}, {}, {}, {}, {.training = true});
  EXPECT_TRUE(close(batch_norm(there, {}, {}, {}, {}, {.training = true}), expected, {1e-5, 1e-5}));
}

TEST_F(CudaNorm, TheSameBitsEveryTime) {
  const Setting s{false, true, Activation::relu, true};
  const Results a = results({3, 12, 31, 33}, DType::f32, Device::cuda, Lies::channels_last, s);
  const Results b = results({3, 12, 31, 33}, DType::f32, Device::cuda, Lies::channels_last, s);
  EXPECT_TRUE(equal(a.y, b.y));
  EXPECT_TRUE(equal(a.dx, b.dx));
  EXPECT_TRUE(equal(a.dw, b.dw));
  EXPECT_TRUE(equal(a.var, b.var));
}

}  // namespace
