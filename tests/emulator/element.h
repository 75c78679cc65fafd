// SPDX-License-Identifier: Apache-2.0
// The numbers that tensor cores multiply, as f32.
#pragma once
#include <bit>
#include <cstdint>

#include "core/dtype.h"
#include "tests/emulator/matrix.h"

namespace cuboid::emulator {

template <Element element>
float number(std::uint16_t bits) {
  if constexpr (element == Element::bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  f16 x;
  x.bits = bits;
  return x;
}
/// TF32 operands are f32 whose lower bits the hardware does not look at.
inline float tf32_number(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

/// What one register of a fragment adds to a row of k: column group `half` of the row, place `quad` (lane % 4) in it.
template <Element element>
void unpack(std::uint32_t bits, int quad, int half, float* row) {
  if constexpr (element == Element::tf32) {
    row[half * 4 + quad] = tf32_number(bits);
  } else {
    row[half * 8 + quad * 2] = number<element>(static_cast<std::uint16_t>(bits));
    row[half * 8 + quad * 2 + 1] = number<element>(static_cast<std::uint16_t>(bits >> 16));
  }
}

}  // namespace cuboid::emulator
