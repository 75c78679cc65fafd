// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <limits>

#include "core/cuda.h"
#include "core/parallel.h"
#include "tests/test.h"

using namespace cuboid;
using test::equal, test::error_of, test::laid, test::on_device;

namespace {

constexpr DType every_dtype[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

TEST(Tensor, HandlesShareViewsOffset) {
  const Tensor x = test::values<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor same = x;
  EXPECT_EQ(same.id(), x.id());
  const Tensor column(x.storage(), 1, {2}, {3}, DType::f32);
  EXPECT_EQ(column.to_vector(), (std::vector<double>{1, 4}));
  const Tensor turned(x.storage(), 0, {3, 2}, {1, 3}, DType::f32);
  EXPECT_EQ(turned.to_vector(), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  fill(column, 9);
  EXPECT_EQ(x.to_vector(), (std::vector<double>{0, 9, 2, 3, 9, 5}));
  const Tensor repeated(x.storage(), 0, {2, 2}, {0, 1}, DType::f32);  // stride 0 broadcasts
  EXPECT_EQ(repeated.to_vector(), (std::vector<double>{0, 9, 0, 9}));
}

TEST(Tensor, LayoutIsOnlyStrides) {
  const Shape shape = {2, 3, 4, 5};
  const Tensor plain = empty(shape), last = empty(shape, {.layout = Layout::channels_last});
  EXPECT_EQ(plain.strides(), Shape({60, 20, 5, 1}));
  EXPECT_EQ(last.strides(), Shape({60, 1, 15, 3}));
  EXPECT_TRUE(plain.is(Layout::contiguous) && !plain.is(Layout::channels_last));
  EXPECT_TRUE(last.is(Layout::channels_last) && !last.is(Layout::contiguous));
  EXPECT_EQ(last.options().layout, Layout::channels_last);
  EXPECT_TRUE(empty({2, 1, 4, 5}).is(Layout::channels_last)) << "one channel lies in both layouts";
  EXPECT_EQ(empty({4, 5}, {.layout = Layout::channels_last}).strides(), Shape({5, 1})) << "below rank 3 there is but one";
}

TEST(Tensor, EmptyLikeKeepsTheOrder) {
  const Tensor last = empty({2, 3, 4, 5}, {.dtype = DType::bf16, .layout = Layout::channels_last});
  EXPECT_EQ(empty_like(last).strides(), last.strides());
  EXPECT_EQ(empty_like(last).dtype(), DType::bf16);
  EXPECT_EQ(empty_like(last, {2, 7, 4, 5}).strides(), dense_strides({2, 7, 4, 5}, Layout::channels_last));
  const Tensor turned(empty({6}).storage(), 0, {2, 3}, {1, 2}, DType::f32);
  EXPECT_EQ(empty_like(turned).strides(), turned.strides()) << "dense in another order";
  const Tensor sparse(empty({24}).storage(), 0, {2, 3}, {12, 2}, DType::f32);
  EXPECT_TRUE(empty_like(sparse).is(Layout::contiguous)) << "not dense";
  const Tensor channels(last.storage(), 1, {2, 2, 4, 5}, last.strides(), DType::bf16);
  EXPECT_TRUE(empty_like(channels, channels.shape()).is(Layout::channels_last)) << "a slice of channels";
}

TEST(Tensor, CopiesBetweenAllTypesAndLayouts) {
  // Whole numbers that every type holds; element by element against plain indexing.
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{2, 3}, Shape{2, 3, 4}, Shape{2, 3, 4, 5}, Shape{1, 3, 1, 2, 5},
                             Shape{0}, Shape{2, 0, 3}, Shape{2, 1, 2, 1, 2, 1, 2, 3}})
    for (const DType from : every_dtype) {
      const Tensor x = test::random(shape, {.dtype = from, .lo = 0, .hi = 100, .integers = true});
      const Tensor near = to(x, Device::cpu);
      std::vector<double> expected;
      visit(from, [&]<class T>() {
        for (std::int64_t i = 0; i < x.size(); ++i) expected.push_back(static_cast<double>(near.data<T>()[i]));
      });
      for (const DType target : every_dtype)
        for (const auto lies_from : test::every_way)
          for (const auto lies_to : test::every_way) {
            const Tensor y = laid(full(shape, 55, on_device({.dtype = target})), lies_to);
            copy(laid(x, lies_from), y);
            ASSERT_EQ(y.to_vector(), expected)
                << shape << " " << from << " " << name_of(lies_from) << " -> " << target << " " << name_of(lies_to);
          }
    }
}

TEST(Tensor, CopyLeavesTheGapsAlone) {
  const Tensor room = full({20}, 77, on_device());
  const Tensor every_third(room.storage(), 1, {2, 3}, {9, 3}, DType::f32);
  copy(zeros({2, 3}, on_device()), every_third);
  const Tensor seen = to(room, Device::cpu);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(seen.data<float>()[i], i % 3 == 1 && i < 17 ? 0 : 77) << i;
}

TEST(Tensor, LargeCopiesAgreeForAnyThreadCount) {
  if (test::test_device() != Device::cpu) GTEST_SKIP() << "threads of the CPU";
  const int threads = thread_count();
  const Tensor x = test::random({3, 70, 1001}, {.dtype = DType::f32});
  for (const int n : {1, 2, 5}) {
    set_thread_count(n);
    const Tensor y = laid(zeros({3, 70, 1001}), test::Lies::view);
    copy(x, y);
    EXPECT_TRUE(equal(y, x)) << n << " threads";
  }
  set_thread_count(threads);
}

TEST(Tensor, FillAndAdd) {
  for (const DType t : every_dtype)
    for (const auto lies : test::every_way) {
      const Tensor a = laid(full({2, 3, 4}, 3, on_device({.dtype = t})), lies), b = full({2, 3, 4}, 4, on_device({.dtype = t}));
      EXPECT_TRUE(equal(add(a, b), full({2, 3, 4}, 7))) << t << name_of(lies);
      add_into(a, b);
      EXPECT_TRUE(equal(a, full({2, 3, 4}, 7))) << t << name_of(lies);
      fill(a, 5);
      EXPECT_TRUE(equal(a, full({2, 3, 4}, 5))) << t << name_of(lies);
    }
  EXPECT_THROW(add_into(zeros({2}, on_device()), zeros({3}, on_device())), Error);
  EXPECT_THROW(add_into(zeros({2}, on_device()), zeros({2}, on_device({.dtype = DType::f64}))), Error);
}

TEST(Tensor, ErrorsCarryBothSides) {
  EXPECT_EQ(error_of([] { copy(zeros({2, 3}), zeros({3, 2})); }), "copy: from [2,3] to [3,2]");
  EXPECT_EQ(error_of([] { zeros({2}).data<double>(); }), "data: tensor holds f32, asked for f64");
  EXPECT_EQ(error_of([] { zeros({2}).item(); }), "item: tensor has shape [2]");
  EXPECT_EQ(error_of([] { from_values<float>({1, 2}, {3}); }), "from_values: 2 values for shape [3]");
  EXPECT_THROW(empty({1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW(empty({-1}), Error);
  EXPECT_THROW(empty({std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  EXPECT_THROW(empty({std::int64_t{1} << 61}), Error) << "elements fit 63 bits, bytes do not";
  EXPECT_THROW(empty({std::int64_t{1} << 50}, on_device()), OutOfMemory);
  if (!cuda::available()) {
    EXPECT_THROW(empty({1}, {.device = Device::cuda}), DeviceError);
  }
  EXPECT_THROW(Tensor().view(), Error);
  EXPECT_THROW(zeros({1}, {.dtype = DType::i32}).requires_grad(true), Error);
}

TEST(Tensor, WritingDropsWhatKernelsDerived) {
  const Tensor x = zeros({4});
  const Tensor view(x.storage(), 0, {2}, {1}, DType::f32);
  x.storage()->attachment = std::make_shared<int>(1);
  (void)x.data<float>();
  EXPECT_NE(x.storage()->attachment, nullptr) << "reading keeps it";
  view.mutate();
  EXPECT_EQ(x.storage()->attachment, nullptr);
  x.storage()->attachment = std::make_shared<int>(1);
  view.mutable_data<float>();
  EXPECT_EQ(x.storage()->attachment, nullptr);
}

// ---- the 16-bit floats -------------------------------------------------------------------------

/// A 16-bit float's value by the definition: sign, exponent, mantissa; NaN where the standard says so.
double by_definition(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1), mantissa = bits & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa ? std::nan("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

template <class T>
struct Half;
template <>
struct Half<f16> {
  static constexpr int exponent = 5, mantissa = 10;
};
template <>
struct Half<bf16> {
  static constexpr int exponent = 8, mantissa = 7;
};

template <class T>
T from_bits(std::uint32_t bits) {
  T v;
  v.bits = static_cast<std::uint16_t>(bits);
  return v;
}
template <class T>
double definition(std::uint32_t bits) {
  return by_definition(static_cast<std::uint16_t>(bits), Half<T>::exponent, Half<T>::mantissa);
}

template <class T>
class SixteenBits : public ::testing::Test {};
using SixteenBitTypes = ::testing::Types<f16, bf16>;
TYPED_TEST_SUITE(SixteenBits, SixteenBitTypes);

TYPED_TEST(SixteenBits, EveryValueWidensExactlyAndComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = from_bits<TypeParam>(bits);
    const double expected = definition<TypeParam>(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(wide)))) << bits;
    } else {
      ASSERT_EQ(wide, expected) << bits;
      ASSERT_EQ(std::signbit(wide), bits >> 15 != 0) << bits;
      ASSERT_EQ(TypeParam(wide).bits, bits);
    }
  }
}

TYPED_TEST(SixteenBits, RoundsToNearestEven) {
  // Between each pair of neighbours: the middle goes to the even one, a hair beside it to the nearer one.
  const std::uint32_t infinity = ((1u << Half<TypeParam>::exponent) - 1) << Half<TypeParam>::mantissa;
  for (std::uint32_t low = 0; low < infinity; ++low) {
    const double a = definition<TypeParam>(low);
    // Beyond the largest finite value, the next step of the same size is where infinity takes over.
    const double b = low + 1 < infinity ? definition<TypeParam>(low + 1) : a + (a - definition<TypeParam>(low - 1));
    const double middle = (a + b) / 2;
    const auto near = static_cast<float>(middle);
    if (static_cast<double>(near) != middle) continue;  // below f32's own resolution (the smallest bf16)
    const std::uint32_t even = low % 2 ? low + 1 : low;
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const float s = sign ? -1.0f : 1.0f;
      ASSERT_EQ(TypeParam(s * near).bits, even | sign) << "middle above " << low;
      ASSERT_EQ(TypeParam(s * std::nextafter(near, 0.0f)).bits, low | sign) << "below the middle above " << low;
      ASSERT_EQ(TypeParam(s * std::nextafter(near, INFINITY)).bits, (low + 1) | sign) << "above the middle above " << low;
    }
  }
  EXPECT_EQ(TypeParam(INFINITY).bits, infinity);
  EXPECT_EQ(TypeParam(-INFINITY).bits, infinity | 0x8000u);
  EXPECT_EQ(TypeParam(std::numeric_limits<float>::max()).bits, infinity);
  EXPECT_EQ(TypeParam(std::numeric_limits<float>::denorm_min()).bits, 0u);
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::nanf("")))));
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::bit_cast<float>(0x7f800001u))))) << "a NaN of low bits stays NaN";
}

TYPED_TEST(SixteenBits, RandomFloatsAgreeWithSearch) {
  // Independent reference: the nearest of all finite values, by bisection over the definition.
  test::Random r(17);
  constexpr std::uint32_t infinity = ((1u << Half<TypeParam>::exponent) - 1) << Half<TypeParam>::mantissa;
  for (int i = 0; i < 20'000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(r.bits()));
    const double magnitude = std::abs(static_cast<double>(x));
    if (std::isnan(x) || magnitude >= definition<TypeParam>(infinity - 1)) continue;
    std::uint32_t low = 0, high = infinity - 1;
    while (high - low > 1) {
      const std::uint32_t middle = (low + high) / 2;
      (definition<TypeParam>(middle) <= magnitude ? low : high) = middle;
    }
    const double down = magnitude - definition<TypeParam>(low), up = definition<TypeParam>(high) - magnitude;
    const std::uint32_t nearest = down < up || (down == up && low % 2 == 0) ? low : high;
    ASSERT_EQ(TypeParam(x).bits, nearest | (std::signbit(x) ? 0x8000u : 0u)) << x;
  }
}

TEST(DType, NamesAndSizes) {
  const struct {
    DType t;
    const char* name;
    std::int64_t size;
    bool floating;
  } table[] = {{DType::f32, "f32", 4, true}, {DType::f64, "f64", 8, true},  {DType::bf16, "bf16", 2, true},
               {DType::f16, "f16", 2, true}, {DType::i64, "i64", 8, false}, {DType::i32, "i32", 4, false},
               {DType::u8, "u8", 1, false}};
  for (const auto& row : table) {
    EXPECT_STREQ(name_of(row.t), row.name);
    EXPECT_EQ(size_of(row.t), row.size);
    EXPECT_EQ(is_floating(row.t), row.floating);
    visit(row.t, [&]<class T>() {
      EXPECT_EQ(static_cast<std::int64_t>(sizeof(T)), row.size);
      EXPECT_EQ(dtype_of<T>(), row.t);
    });
    EXPECT_EQ(error_of([&] { visit_floating(row.t, "op", []<class T>() {}); }).empty(), row.floating);
  }
  EXPECT_EQ(error_of([] { visit_floating(DType::u8, "op", []<class T>() {}); }), "op: needs a floating type, got u8");
}

}  // namespace
