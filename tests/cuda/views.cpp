// SPDX-License-Identifier: Apache-2.0
// What moves elements on the device (copy, fill, add_into and the ops made of them) against the CPU: words of every width,
// squares from one layout to another, packets of two dtypes, and nothing written that should not be.
#include "kernels/views/views.h"

#include "core/cuda.h"
#include "tests/test.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

struct CudaViews : ::testing::Test {
  void SetUp() override {
    if (!cuda::available()) GTEST_SKIP() << "no CUDA device";
  }
};

constexpr DType every_dtype[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

/// Small whole numbers that tell neighbours apart in every dtype.
Tensor numbered(const Shape& shape, DType dtype, Device device, Layout layout = Layout::contiguous) {
  std::vector<double> numbers(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i * 37 % 251);
  const Tensor x = empty(shape, {dtype, device, layout});
  copy(from_values(numbers, shape), x);
  return x;
}

/// Does the same on both devices and compares.
template <class F>
void expect_same(F&& f, const std::string& what) {
  EXPECT_TRUE(equal(f(Device::cuda), f(Device::cpu))) << what;
}

// ---- words -------------------------------------------------------------------------------------

TEST_F(CudaViews, RowsOfEveryWidthAndStart) {
  // Rows of `length` out of 64, from `start`: words of 16 bytes down to one element; the whole room shows what was written.
  for (const DType dtype : every_dtype)
    for (const std::int64_t start : {0, 1, 2, 4, 8, 16})
      for (const std::int64_t length : {1, 2, 3, 4, 8, 16, 24, 31, 48})
        for (const std::int64_t from : {std::int64_t{0}, start, std::int64_t{16}}) {
          expect_same(
              [&](Device device) {
                const Tensor room = full({3, 5, 64}, 77, {.dtype = dtype, .device = device});
                copy(slice(numbered({3, 5, 64}, dtype, device), 2, from, length), slice(room, 2, start, length));
                return room;
              },
              join_text(dtype, " ", length, " from ", from, " to ", start));
        }
}

TEST_F(CudaViews, Fills) {
  for (const DType dtype : every_dtype)
    for (const std::int64_t start : {0, 1, 3, 8, 16})
      for (const std::int64_t length : {1, 5, 8, 16, 33})
        expect_same(
            [&](Device device) {
              const Tensor room = full({7, 50}, 3, {.dtype = dtype, .device = device});
              fill(slice(room, 1, start, length), 91);
              return room;
            },
            join_text(dtype, " ", length, " at ", start));
  const Tensor x = full({5, 33}, -0.1, {.dtype = DType::bf16, .device = Device::cuda});
  EXPECT_TRUE(equal(x, full({5, 33}, -0.1, {.dtype = DType::bf16})));
}

TEST_F(CudaViews, MoreWordsThanThreads) {
  const Shape shape{(4 << 20) + 8191, 3};
  expect_same([&](Device device) { return flip(numbered(shape, DType::u8, device), {0}); }, "bytes");
  expect_same([&](Device device) { return contiguous(numbered({(8 << 20) + 24}, DType::f64, device)); }, "words of 16 bytes");
}

// ---- from one layout to another ------------------------------------------------------------------

TEST_F(CudaViews, AcrossLayouts) {
  // Around the side of a square (32) and where squares begin to be worth it (16), several planes, several squares each way.
  for (const Shape& shape : {Shape{2, 15, 4, 8}, Shape{2, 16, 4, 4}, Shape{1, 31, 3, 11}, Shape{3, 32, 2, 2, 8},
                             Shape{2, 33, 5, 13}, Shape{1, 97, 1, 65}, Shape{2, 64, 3, 3, 3}})
    for (const DType dtype : every_dtype) {
      const std::string what = join_text(dtype, shape);
      const Tensor x = numbered(shape, dtype, Device::cuda), last = to_layout(x, Layout::channels_last);
      EXPECT_TRUE(last.is(Layout::channels_last));
      EXPECT_TRUE(equal(last, numbered(shape, dtype, Device::cpu))) << what;
      EXPECT_TRUE(equal(contiguous(last), x)) << what << " and back";
    }
}

TEST_F(CudaViews, TransposedMatricesOfEverySize) {
  for (const std::int64_t rows : {1, 16, 17, 31, 32, 33, 65})
    for (const std::int64_t columns : {1, 16, 31, 32, 33, 100})
      expect_same(
          [&](Device device) {
            return contiguous(transpose(numbered({rows, columns}, DType::bf16, device), 0, 1));
          },
          join_text(rows, " x ", columns));
}

TEST_F(CudaViews, AcrossIntoPartOfATensor) {
  expect_same(
      [](Device device) {
        const Tensor room = full({2, 90, 6, 7}, 77, {.device = device, .layout = Layout::channels_last});
        copy(numbered({2, 40, 6, 7}, DType::f32, device), slice(room, 1, 30, 40));
        return room;
      },
      "channels of a slab");
  expect_same(
      [](Device device) {
        return contiguous(flip(numbered({2, 40, 6, 7}, DType::f32, device, Layout::channels_last), {1, 2}));
      },
      "backwards");
  expect_same(
      [](Device device) {
        const Tensor repeated(numbered({40}, DType::f32, device).storage(), 0, {2, 40, 5, 4}, {0, 1, 0, 0}, DType::f32);
        return contiguous(repeated);
      },
      "repeated");
}

// ---- another dtype -----------------------------------------------------------------------------

TEST_F(CudaViews, ConvertsInPackets) {
  for (const DType from : {DType::f32, DType::bf16, DType::f16})
    for (const DType target : {DType::f32, DType::bf16, DType::f16})
      for (const std::int64_t start : {0, 1, 4, 8})
        for (const std::int64_t length : {1, 3, 4, 5, 7, 23, 40}) {
          expect_same(
              [&](Device device) {
                const Tensor x = to(random({5, 48}, {.dtype = from, .lo = -1000, .hi = 1000}), device);
                const Tensor room = full({5, 48}, 77, {.dtype = target, .device = device});
                copy(slice(x, 1, 8, length), slice(room, 1, start, length));
                return room;
              },
              join_text(from, " to ", target, " ", length, " at ", start));
        }
  expect_same(
      [](Device device) {
        const Tensor x = to(random({(5 << 20) + 3}, {.dtype = DType::f32}), device), y = empty_like(x, DType::bf16);
        copy(x, y);
        return y;
      },
      "more packets than threads");
}

// ---- sums ----------------------------------------------------------------------------------------

TEST_F(CudaViews, AddsInPackets) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i32})
    for (const std::int64_t start : {0, 1, 4, 8})
      for (const std::int64_t length : {1, 4, 5, 8, 9, 23, 40}) {
        expect_same(
            [&](Device device) {
              const Tensor room = numbered({5, 48}, dtype, device);
              const Tensor x = slice(numbered({6, 48}, dtype, device), 0, 1, 5);
              add_into(slice(room, 1, start, length), slice(x, 1, 8, length));
              return room;
            },
            join_text(dtype, " ", length, " at ", start));
      }
}

// ---- the ops -------------------------------------------------------------------------------------

TEST_F(CudaViews, OpsInBothLayouts) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::u8})
    for (const Layout layout : {Layout::contiguous, Layout::channels_last})
      for (const std::int64_t channels : {1, 3, 8, 37}) {
        const auto x = [&](Device device) { return numbered({2, channels, 3, 5, 7}, dtype, device, layout); };
        const std::string what = join_text(dtype, layout == Layout::contiguous ? " contiguous " : " channels-last ", channels);
        for (const int axis : {0, 1, 2, 4})
          expect_same([&](Device d) { return cat({x(d), flip(x(d), {axis}), slice(x(d), axis, 0, 1)}, axis); }, "cat " + what);
        for (int face = 0; face < 10; ++face) {  // every face, and all of them
          Shape lo = Shape::filled(5, 0), hi = lo;
          (face % 2 ? hi : lo)[face / 2] = face + 1;
          expect_same([&](Device d) { return pad(x(d), lo, hi, 5); }, join_text("pad ", lo, hi, what));
        }
        expect_same([&](Device d) { return pad(x(d), {1, 2, 1, 3, 2}, {2, 1, 2, 1, 1}, 5); }, "pad " + what);
        expect_same([&](Device d) { return flip(x(d), {1, 3}); }, "flip " + what);
        expect_same([&](Device d) { return reshape(x(d), {2, -1}); }, "reshape " + what);
        expect_same([&](Device d) { return contiguous(slice(x(d), 4, 1, 3, 2)); }, "slice " + what);
        expect_same([&](Device d) { return contiguous(permute(x(d), {4, 2, 0, 1, 3})); }, "permute " + what);
      }
}

TEST_F(CudaViews, CatOfTwoDevicesIsAnError) {
  const Tensor x = zeros({1, 2});
  EXPECT_EQ(error_of([&] { cat({x, to(x, Device::cuda)}); }), "cat: tensors on cpu and cuda");
}

}  // namespace
