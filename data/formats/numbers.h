// SPDX-License-Identifier: Apache-2.0
// The number types that files hold and tensors may not: from the stored bytes to a tensor's elements and back.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "core/tensor.h"

namespace cuboid {

enum class Number : std::uint8_t { u8, i8, u16, i16, u32, i32, u64, i64, f16, f32, f64 };

constexpr std::int64_t size_of(Number n) {
  constexpr std::int64_t bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
  return bytes[static_cast<int>(n)];
}
constexpr const char* name_of(Number n) {
  constexpr const char* names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f16", "f32", "f64"};
  return names[static_cast<int>(n)];
}
constexpr bool is_floating(Number n) { return n >= Number::f16; }

/// The narrowest of our types that holds every value: u8 -> u8; i8, i16, u16, i32 -> i32; u32, i64, u64 -> i64; floats as they
/// are.
DType natural_dtype(Number stored);
/// The stored type with the same values; bf16 is stored as f32.
Number stored_as(DType dtype);

/// value = stored * slope + inter, in f64, product and sum rounded one after the other (as NumPy does).
struct Scale {
  double slope = 1, inter = 0;
  bool identity() const { return slope == 1 && inter == 0; }
};

/// `count` stored elements at `from`, of the other byte order where `swap`, to elements of `dtype` at `to`. `name` is the file,
/// for the one DataError there is: an unsigned 64-bit value that an integer tensor cannot hold.
void decode(const void* from, Number stored, bool swap, std::int64_t count, void* to, DType dtype, const std::string& name,
            const Scale& scale = {});

/// The way back, in this machine's byte order. Integers take the nearest whole number (halves away from zero, as MATLAB does),
/// values out of range the nearest end of it, NaN becomes 0.
void encode(const void* from, DType dtype, std::int64_t count, void* to, Number stored, const Scale& scale = {});

/// The same for a tensor anywhere and in any layout: its elements in row-major order, handed on in pieces.
void encode_all(const Tensor& tensor, Number stored, const std::function<void(const void*, std::size_t)>& piece,
                const Scale& scale = {});

}  // namespace cuboid
