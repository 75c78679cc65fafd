// SPDX-License-Identifier: Apache-2.0
// Every row of reduce on the device against the plain loops of the CPU, where the fast rows cut: packets and single
// elements, lines of a piece and one more, one chunk and many, columns of a block and one more.
#include "kernels/reduce/reduce.h"

#include "core/cuda.h"
#include "kernels/dispatch.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaReduce : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

struct Problem {
  Shape shape, axes;
  const char* rows;  // of sum's table that must take it, lying contiguous
};

// A line of f32 is cut into pieces of 8192, of bf16 into 16384; chunks take 4 pieces or shorter lines of that length. A
// block is 128 columns of f32 wide; chunks have at least 8 rows per thread.
const Problem problems[] = {
    {{1}, {}, "teams"},
    {{5, 3}, {1}, "teams"},
    {{512}, {}, "rows"},
    {{3, 511}, {1}, "teams"},
    {{3, 513}, {1}, "rows"},
    {{2, 8191}, {1}, "rows"},
    {{2, 8193}, {1}, "rows"},
    {{16385}, {}, "rows"},
    {{3, 2, 5, 1031}, {0, 2, 3}, "rows"},
    {{70, 1000}, {}, "rows"},
    {{2, 80, 600}, {0, 2}, "rows"},
    {{100003}, {}, "rows"},
    {{32, 1}, {0}, "teams"},
    {{31, 8}, {0}, "teams"},
    {{32, 8}, {0}, "columns"},
    {{33, 7}, {0}, "columns"},
    {{2, 100, 3}, {1}, "columns"},
    {{9, 40, 4, 132}, {0, 2}, "columns"},
    {{2000, 2}, {0}, "columns"},
    {{40, 127}, {0}, "columns"},
    {{40, 128}, {0}, "columns"},
    {{40, 129}, {0}, "columns"},
    {{37, 300}, {0}, "columns"},
    {{9000, 12}, {0}, "columns"},
    {{2, 70, 3, 34}, {1}, "columns"},
    {{3, 5, 7, 2, 3}, {1, 3}, "teams"},
    {{2, 3, 2, 3, 2, 3}, {0, 2, 4}, "teams"},
    {{10000, 3, 2}, {1}, "teams"},
};

TEST_F(CudaReduce, SumsAreThoseOfTheCpu) {
  for (const Problem& p : problems)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16, DType::i64, DType::i32, DType::u8})
      for (const Lies way : every_way) {
        if (p.shape.count() > 20000 && dtype != DType::f32 && (dtype != DType::bf16 || way == Lies::view)) continue;
        const bool floats = is_floating(dtype);
        // Whole numbers, so that the sum before the last rounding is exact however it is cut.
        const Tensor x = laid(random(p.shape, {.dtype = dtype, .lo = floats ? -3. : 0., .hi = 3, .integers = true}), way);
        const Tensor there = laid(to(x, Device::cuda), way), host = to(x, Device::cpu);
        Tensor expected, means;
        {
          const dispatch::Forced plain("sum=reference,mean=reference");
          expected = sum(host, p.axes);
          if (floats) means = mean(host, p.axes);
        }
        for (const char* row : {"", "teams", "reference", p.rows}) {
          if (row == p.rows && (!floats || way != Lies::contiguous)) continue;
          const dispatch::Forced forced(*row ? join_text("sum=", row, ",mean=", row) : "");
          const std::string what = join_text(dtype, p.shape, p.axes, name_of(way), ' ', row);
          EXPECT_TRUE(equal(sum(there, p.axes), expected)) << what;
          if (floats) {
            EXPECT_TRUE(close(mean(there, p.axes), means, {1e-6})) << what;
          }
        }
      }
}

Tensor doubles(const Tensor& x) {
  const Tensor wide = empty(x.shape(), {.dtype = DType::f64});
  copy(x, wide);
  return wide;
}

TEST_F(CudaReduce, SumsOfFractions) {
  for (const Problem& p : problems) {
    const Tensor x = random(p.shape, {.dtype = DType::f32, .lo = 0, .hi = 1});
    EXPECT_TRUE(close(sum(to(x, Device::cuda), p.axes), sum(doubles(x), p.axes), {2e-6})) << p.shape << p.axes;
  }
}

TEST_F(CudaReduce, MemoryOffThePacketGrid) {
  for (const Shape& shape : {Shape{3, 1024}, Shape{64, 16}}) {
    const Tensor room = full({shape.count() + 1}, std::nan(""), {.device = Device::cuda});
    const Tensor x(room.storage(), 1, shape, dense_strides(shape), DType::f32);
    const Tensor from = random(shape, {.dtype = DType::f32, .lo = -9, .hi = 9, .integers = true});
    copy(from, x);
    for (const Shape& axes : {Shape{0}, Shape{1}, Shape{}})
      EXPECT_TRUE(equal(sum(x, axes), sum(to(from, Device::cpu), axes))) << shape << axes;
  }
}

TEST_F(CudaReduce, MaximaAndTheirPlaces) {
  for (const Problem& p : problems)
    for (const DType dtype : {DType::f32, DType::bf16, DType::i32})
      for (const Lies way : every_way) {
        if (p.shape.count() > 20000 && (dtype != DType::f32 || way == Lies::view)) continue;
        // Few different numbers: the first of equals must win in every order of meeting.
        const Tensor x = random(p.shape, {.dtype = dtype, .lo = 0, .hi = 5, .integers = true});
        const Tensor there = laid(to(x, Device::cuda), way), host = to(x, Device::cpu);
        for (int axis = -1; axis < p.shape.rank(); ++axis) {
          const auto found = [&](const Tensor& t) { return axis < 0 ? max(t, p.axes) : argmax(t, axis); };
          const Tensor expected = found(host);
          for (const char* row : {"teams", "reference"}) {
            const dispatch::Forced forced(join_text("max=", row, ",argmax=", row));
            EXPECT_TRUE(equal(found(there), expected)) << dtype << p.shape << p.axes << name_of(way) << row << " axis " << axis;
          }
        }
      }
}

TEST_F(CudaReduce, NaNWinsInAnyShare) {
  const Tensor x = random({50000}, {.dtype = DType::f32});
  for (const std::int64_t at : {0, 1031, 49999}) {
    Tensor y = to(x, Device::cpu);
    if (y.storage() == x.storage()) copy(x, y = empty_like(x));
    y.mutable_data<float>()[at] = std::nanf("");
    EXPECT_EQ(argmax(to(y, Device::cuda), 0).item(), static_cast<double>(at));
    EXPECT_TRUE(std::isnan(max(to(y, Device::cuda)).item()));
  }
}

TEST_F(CudaReduce, SoftmaxIsThatOfTheCpu) {
  const std::pair<Shape, int> softmaxes[] = {
      {{3, 1}, 1},    {{2, 31}, 1},   {{2, 33, 3}, 1},   {{5, 255}, 1}, {{5, 257}, 1},  {{2, 700}, 1}, {{700, 2}, 0},
      {{9000, 3}, 1}, {{3, 9000}, 0}, {{2, 3, 4, 5}, 1}, {{4, 5}, 0},   {{300, 40}, 0}, {{5}, 0},      {{2, 5, 43, 97}, 1}};
  for (const auto& [shape, axis] : softmaxes)
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::f16})
      for (const Lies way : every_way) {
        if (shape.count() > 20000 && dtype != DType::f32) continue;
        const Tensor x = laid(random(shape, {.dtype = dtype, .lo = -5, .hi = 5}), way);
        const Tensor there = laid(to(x, Device::cuda), way), host = to(x, Device::cpu);
        for (const char* row : {"teams", "reference"}) {
          const dispatch::Forced forced(join_text("softmax=", row, ",log_softmax=", row));
          const std::string what = join_text(dtype, shape, axis, name_of(way), ' ', row);
          const auto expect = [&](const Tensor& got, Tensor (*f)(const Tensor&, int)) {
            const dispatch::Forced plain("softmax=reference,log_softmax=reference");
            EXPECT_TRUE(close(got, f(host, axis), tolerance(dtype))) << what;
          };
          expect(softmax(there, axis), softmax);
          expect(log_softmax(there, axis), log_softmax);
        }
      }
}

TEST_F(CudaReduce, TheSameBitsEveryTime) {
  for (const Shape& axes : {Shape{}, Shape{0, 2}, Shape{1}}) {
    const Tensor x = to(random({40, 24, 70}, {.dtype = DType::f32}), Device::cuda);
    const auto first = sum(x, axes).to_vector();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(sum(x, axes).to_vector(), first) << axes;
  }
}

}  // namespace
