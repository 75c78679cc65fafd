// SPDX-License-Identifier: Apache-2.0
#include "data/formats/numbers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace cuboid {
namespace {

static_assert(std::endian::native == std::endian::little);

/// Calls f.operator()<T>() with the C++ type of a stored number.
template <class F>
void visit_number(Number n, F&& f) {
  switch (n) {
    case Number::u8:
      return f.template operator()<std::uint8_t>();
    case Number::i8:
      return f.template operator()<std::int8_t>();
    case Number::u16:
      return f.template operator()<std::uint16_t>();
    case Number::i16:
      return f.template operator()<std::int16_t>();
    case Number::u32:
      return f.template operator()<std::uint32_t>();
    case Number::i32:
      return f.template operator()<std::int32_t>();
    case Number::u64:
      return f.template operator()<std::uint64_t>();
    case Number::i64:
      return f.template operator()<std::int64_t>();
    case Number::f16:
      return f.template operator()<f16>();
    case Number::f32:
      return f.template operator()<float>();
    case Number::f64:
      return f.template operator()<double>();
  }
  fail("not a number type: ", static_cast<int>(n));
}

template <class T>
T load(const unsigned char* p, bool swap) {
  std::array<unsigned char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), p, sizeof(T));
  if (swap) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<T>(bytes);
}

/// f16 as float, everything else as it is.
template <class T>
using Plain = std::conditional_t<std::is_same_v<T, f16> || std::is_same_v<T, bf16>, float, T>;

template <class To, class From>
To value_of(From v, const std::string& name) {
  if constexpr (std::is_same_v<From, std::uint64_t> && std::is_integral_v<To>)
    check<DataError>(v <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()), name, ": value ", v,
                     " does not fit 64 bits with sign");
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) return convert<To>(v);
  else return static_cast<To>(v);
}

/// This file is compiled without contraction into fused multiply-adds, which would round once.
double scaled(double v, const Scale& s) { return v * s.slope + s.inter; }

/// The nearest value of T; T's ends for what is beyond them, 0 for NaN.
template <class T>
T nearest(double v) {
  using Limits = std::numeric_limits<T>;
  if (!(v > static_cast<double>(Limits::min()))) return v == v ? Limits::min() : T{0};
  if (v >= static_cast<double>(Limits::max())) return Limits::max();
  return static_cast<T>(std::round(v));
}
template <class T>
T clamped(std::int64_t v) {
  if constexpr (std::is_same_v<T, std::uint64_t>) return v < 0 ? 0 : static_cast<std::uint64_t>(v);
  else {
    using Limits = std::numeric_limits<T>;
    return static_cast<T>(std::clamp<std::int64_t>(v, Limits::min(), Limits::max()));
  }
}

}  // namespace

DType natural_dtype(Number stored) {
  constexpr DType types[] = {DType::u8,  DType::i32, DType::i32, DType::i32, DType::i64, DType::i32,
                             DType::i64, DType::i64, DType::f16, DType::f32, DType::f64};
  return types[static_cast<int>(stored)];
}

Number stored_as(DType dtype) {
  constexpr Number types[] = {Number::f32, Number::f64, Number::f32, Number::f16, Number::i64, Number::i32, Number::u8};
  return types[static_cast<int>(dtype)];
}

void decode(const void* from, Number stored, bool swap, std::int64_t count, void* to, DType dtype, const std::string& name,
            const Scale& scale) {
  const auto* bytes = static_cast<const unsigned char*>(from);
  visit_number(stored, [&]<class From>() {
    visit(dtype, [&]<class To>() {
      To* out = static_cast<To*>(to);
      constexpr auto width = static_cast<std::int64_t>(sizeof(From));
      if (scale.identity()) {
        if constexpr (std::is_same_v<To, From>)
          if (!swap) {
            std::memcpy(out, bytes, static_cast<std::size_t>(count * width));
            return;
          }
        for (std::int64_t i = 0; i < count; ++i) {
          const auto v = load<From>(bytes + i * width, swap);
          if constexpr (std::is_same_v<To, From>) out[i] = v;  // the bits, also of a NaN
          else out[i] = value_of<To>(static_cast<Plain<From>>(v), name);
        }
      } else {
        for (std::int64_t i = 0; i < count; ++i)
          out[i] = convert<To>(scaled(static_cast<double>(static_cast<Plain<From>>(load<From>(bytes + i * width, swap))), scale));
      }
    });
  });
}

void encode(const void* from, DType dtype, std::int64_t count, void* to, Number stored, const Scale& scale) {
  visit(dtype, [&]<class From>() {
    visit_number(stored, [&]<class To>() {
      const From* in = static_cast<const From*>(from);
      auto* out = static_cast<unsigned char*>(to);
      if constexpr (std::is_same_v<To, From>)
        if (scale.identity()) {
          std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(To));
          return;
        }
      for (std::int64_t i = 0; i < count; ++i, out += sizeof(To)) {
        const auto v = static_cast<Plain<From>>(in[i]);
        To stored_value;
        if constexpr (std::is_integral_v<To>) {
          if (std::is_integral_v<From> && scale.identity()) stored_value = clamped<To>(static_cast<std::int64_t>(v));
          else stored_value = nearest<To>(scaled(static_cast<double>(v), scale));
        } else {
          stored_value = static_cast<To>(scale.identity() ? static_cast<double>(v) : scaled(static_cast<double>(v), scale));
        }
        std::memcpy(out, &stored_value, sizeof(To));
      }
    });
  });
}

void encode_all(const Tensor& tensor, Number stored, const std::function<void(const void*, std::size_t)>& piece,
                const Scale& scale) {
  Tensor dense = to(tensor, Device::cpu);
  if (!dense.is(Layout::contiguous)) {
    dense = empty(tensor.shape(), {.dtype = tensor.dtype()});
    copy(tensor, dense);
  }
  const auto* from = static_cast<const char*>(dense.view().data);
  constexpr std::int64_t at_once = 1 << 16;
  std::string bytes(static_cast<std::size_t>(std::min(at_once, dense.size()) * size_of(stored)), '\0');
  for (std::int64_t at = 0; at < dense.size(); at += at_once) {
    const std::int64_t n = std::min(at_once, dense.size() - at);
    encode(from + at * size_of(dense.dtype()), dense.dtype(), n, bytes.data(), stored, scale);
    piece(bytes.data(), static_cast<std::size_t>(n * size_of(stored)));
  }
}

}  // namespace cuboid
