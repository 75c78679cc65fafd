// SPDX-License-Identifier: Apache-2.0
// Models of the instructions that move and multiply matrices: ldmatrix, stmatrix, mma, wgmma.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tests/emulator/where.h"

namespace cuboid::emulator {

/// `count` matrices of 8x8 16-bit elements between shared memory and one register per lane and matrix; lanes 8 i to
/// 8 i + 7 name the rows of matrix i.
void load_matrices(std::uint32_t* registers, const void* row, int count, bool transposed, Where at);
void store_matrices(void* row, const std::uint32_t* registers, int count, bool transposed, Where at);

enum class Element : std::uint8_t { bf16, f16, tf32 };
/// d += a b by the lanes of a warp, 16x8 from 16xk and kx8.
void multiply(float* d, const std::uint32_t* a, const std::uint32_t* b, Element element, Where at);

/// One operand of a wgmma: in shared memory, or (registers not null) 16 rows per warp in registers.
struct Operand {
  std::uint64_t descriptor = 0;
  bool mn_major = false;
  const std::uint32_t* registers = nullptr;
};
/// d (64 x n) = or += a b by a warpgroup. `d`, n / 2 numbers, is poisoned until the thread waits.
void wgmma(float* d, int n, Operand a, Operand b, bool accumulate, Element element, Where at);
void wgmma_fence(Where at);
void wgmma_commit();
void wgmma_wait(int keep, Where at);

/// An address with the XOR of a swizzle of TMA and wgmma: 0 none, 1 over 128 bytes, 2 over 64, 3 over 32.
constexpr std::uint32_t swizzled(std::uint32_t address, int mode) {
  constexpr std::uint32_t rows[] = {0, 7, 3, 1};
  return address ^ ((address >> 7 & rows[mode]) << 4);
}

}  // namespace cuboid::emulator
