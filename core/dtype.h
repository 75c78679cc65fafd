// SPDX-License-Identifier: Apache-2.0
// Element types, the two 16-bit floats, and the one place where a runtime type becomes a template argument.
#pragma once
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <type_traits>

#include "core/error.h"
#include "core/hd.h"

// nvcc compiles the plain conversions for both sides.
#if defined(__F16C__) && !defined(__CUDACC__)
#define CUBOID_F16C 1
#include <immintrin.h>
#endif

namespace cuboid {

enum class DType : std::uint8_t { f32, f64, bf16, f16, i64, i32, u8 };

/// bfloat16: the upper half of an f32, rounded to nearest even. NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  CUBOID_HD explicit bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>((nan ? (u | 0x400000u) : rounded) >> 16);
  }
  template <class T>
  requires std::is_arithmetic_v<T> CUBOID_HD explicit bf16(T value) : bf16(static_cast<float>(value)) {}
  CUBOID_HD operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};

/// IEEE 754 binary16, rounded to nearest even, subnormals kept.
struct f16 {
  std::uint16_t bits = 0;
  f16() = default;
  CUBOID_HD explicit f16(float value);
  template <class T>
  requires std::is_arithmetic_v<T> CUBOID_HD explicit f16(T value) : f16(static_cast<float>(value)) {}
  CUBOID_HD operator float() const;
};

#if defined(CUBOID_F16C)
inline f16::f16(float value)
    : bits(static_cast<std::uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT)))) {}
inline f16::operator float() const { return _cvtsh_ss(bits); }
#else
CUBOID_HD inline f16::f16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) {
    bits = static_cast<std::uint16_t>(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
  } else if (a >= 0x47800000u) {
    bits = static_cast<std::uint16_t>(sign | 0x7c00u);
  } else if (a >= 0x38800000u) {  // normal in half precision; a carry out of the mantissa moves the exponent
    const std::uint32_t r = a + 0xfffu + ((a >> 13) & 1u);
    bits = static_cast<std::uint16_t>(sign | ((r - 0x38000000u) >> 13));
  } else {  // adding 0.5f aligns the subnormal's mantissa with f32's last bits and rounds
    const float shifted = std::bit_cast<float>(a) + 0.5f;
    bits = static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
}
CUBOID_HD inline f16::operator float() const {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t e = (bits >> 10) & 31u, m = bits & 0x3ffu;
  if (e == 31) return std::bit_cast<float>(sign | 0x7f800000u | (m << 13));
  if (e) return std::bit_cast<float>(sign | ((e + 112u) << 23) | (m << 13));
  const float magnitude = static_cast<float>(m) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}
#endif

constexpr std::int64_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "f64", "bf16", "f16", "i64", "i32", "u8"};
  return names[static_cast<int>(t)];
}
constexpr bool is_floating(DType t) { return t <= DType::f16; }
inline std::ostream& operator<<(std::ostream& os, DType t) { return os << name_of(t); }

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  else if constexpr (std::is_same_v<T, f16>) return DType::f16;
  else if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  else if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  else {
    static_assert(std::is_same_v<T, std::uint8_t>, "no DType for this type");
    return DType::u8;
  }
}

/// The type sums are kept in: f64 for f64 and integers stay, everything narrower than f32 widens to f32.
template <class T>
using Accum = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

/// From one element type to another: floats round to nearest even; floats become integers by truncation, with values out
/// of range saturated and NaN made 0; integers wrap.
template <class To, class From>
CUBOID_HD To convert(From value) {
  const auto wide = static_cast<Accum<From>>(value);
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<Accum<From>>) {
    using Limits = std::numeric_limits<To>;
    if (!(wide > static_cast<Accum<From>>(Limits::min()))) return wide == wide ? Limits::min() : To{0};
    if (wide >= static_cast<Accum<From>>(Limits::max())) return Limits::max();
  }
  return static_cast<To>(wide);
}

/// Calls f.operator()<T>() with the C++ type of `t`: visit(t, [&]<class T>() { ... }).
template <class F>
decltype(auto) visit(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f16:
      return f.template operator()<f16>();
    case DType::i64:
      return f.template operator()<std::int64_t>();
    case DType::i32:
      return f.template operator()<std::int32_t>();
    case DType::u8:
      return f.template operator()<std::uint8_t>();
  }
  fail("visit: not a dtype: ", static_cast<int>(t));
}

/// As visit, for the floating types only; `op` names the caller in the error.
template <class F>
decltype(auto) visit_floating(DType t, const char* op, F&& f) {
  switch (t) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f16:
      return f.template operator()<f16>();
    default:
      fail(op, ": needs a floating type, got ", t);
  }
}

}  // namespace cuboid
