// SPDX-License-Identifier: Apache-2.0
#include "data/formats/numbers.h"

#include "tests/data/formats.h"

using namespace cuboid;

namespace {

TEST(Numbers, ProductAndSumAreRoundedOneAfterTheOther) {
  constexpr int n = 2000;
  const Tensor x = test::random({n}, {.dtype = DType::f64});
  std::vector<double> scaled(n);
  const Scale scale{0.1, 0.3};
  decode(x.data<double>(), Number::f64, false, n, scaled.data(), DType::f64, "x", scale);
  int fused_differs = 0;
  for (int i = 0; i < n; ++i) {
    const double v = x.data<double>()[i];
    const volatile double product = v * scale.slope;
    ASSERT_EQ(scaled[static_cast<std::size_t>(i)], product + scale.inter) << v;
    fused_differs += std::fma(v, scale.slope, scale.inter) != product + scale.inter;
  }
  EXPECT_GT(fused_differs, 100) << "the values would tell";
}

TEST(Numbers, EveryTypeThereAndBack) {
  for (int k = 0; k <= static_cast<int>(Number::f64); ++k) {
    const auto stored = static_cast<Number>(k);
    for (const DType t : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8}) {
      const Tensor x = test::random({300}, {.dtype = t, .lo = 0, .hi = 120, .integers = true}), y = empty({300}, {.dtype = t});
      std::string bytes(static_cast<std::size_t>(300 * size_of(stored)), '\0');
      encode(x.view().data, t, 300, bytes.data(), stored);
      decode(bytes.data(), stored, false, 300, y.mutate().data, t, "x");
      EXPECT_TRUE(test::equal(y, x)) << name_of(stored) << " " << t;
      for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(size_of(stored)))
        std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                     bytes.begin() + static_cast<std::ptrdiff_t>(i) + size_of(stored));
      fill(y, 0);
      decode(bytes.data(), stored, true, 300, y.mutate().data, t, "x");
      EXPECT_TRUE(test::equal(y, x)) << name_of(stored) << " " << t << " swapped";
    }
  }
}

TEST(Numbers, BeyondTheEnds) {
  const auto stored = [](std::vector<double> values, auto number) {
    std::vector<double> back;
    const Tensor x = from_values(values, {static_cast<std::int64_t>(values.size())});
    encode_all(x, number, [&](const void* data, std::size_t bytes) {
      back.resize(values.size());
      decode(data, number, false, static_cast<std::int64_t>(bytes) / size_of(number), back.data(), DType::f64, "x");
    });
    return back;
  };
  const double inf = INFINITY;
  EXPECT_EQ(stored({-1, 255.4, 255.6, 0.5, 1.5, -0.4, NAN, inf}, Number::u8),
            (std::vector<double>{0, 255, 255, 1, 2, 0, 0, 255}));
  EXPECT_EQ(stored({-128.6, 127.6, -0.5, -inf}, Number::i8), (std::vector<double>{-128, 127, -1, -128}));
  EXPECT_EQ(stored({-1e30, 1e30}, Number::i64), (std::vector<double>{-0x1p63, 0x1p63}));
  EXPECT_EQ(stored({-3, 1e30}, Number::u64), (std::vector<double>{0, 0x1p64}));
  EXPECT_EQ(stored({-3, 4294967295.0, 5e9}, Number::u32), (std::vector<double>{0, 4294967295.0, 4294967295.0}));
  const Tensor wide = from_values<std::int64_t>({-70'000, 70'000, std::numeric_limits<std::int64_t>::max()}, {3});
  encode_all(wide, Number::i16, [](const void* data, std::size_t) {
    const auto* v = static_cast<const std::int16_t*>(data);
    EXPECT_EQ(v[0], -32'768);
    EXPECT_EQ(v[1], 32'767);
    EXPECT_EQ(v[2], 32'767);
  });
  const std::uint64_t large = ~std::uint64_t{0};
  std::int64_t whole;
  EXPECT_NE(test::error_of([&] { decode(&large, Number::u64, false, 1, &whole, DType::i64, "x"); }).find("does not fit 64 bits"),
            std::string::npos);
}

}  // namespace
