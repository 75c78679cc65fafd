// SPDX-License-Identifier: Apache-2.0
// ldmatrix, stmatrix and mma, after the figures of the PTX ISA, section "Warp Level Matrix Instructions".
#include "tests/emulator/matrix.h"

#include <cstring>

#include "core/dtype.h"
#include "tests/emulator/access.h"
#include "tests/emulator/element.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/sync.h"

namespace cuboid::emulator {
namespace {

struct Rows {
  char* row;
  std::uint32_t* registers;
};

template <int count, bool transposed, bool load>
void move(void* arguments[32], std::uint32_t) {
  auto** lanes = reinterpret_cast<Rows**>(arguments);
  for (int m = 0; m < count; ++m) {
    std::uint16_t matrix[8][8];
    const auto at = [&](int lane, int i) -> std::uint16_t& {  // element i of what the lane holds
      const int row = lane / 4, column = lane % 4 * 2 + i;
      return transposed ? matrix[column][row] : matrix[row][column];
    };
    if (load)
      for (int i = 0; i < 8; ++i) std::memcpy(matrix[i], lanes[m * 8 + i]->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      std::uint32_t& r = lanes[lane]->registers[m];
      if (load) r = at(lane, 0) | static_cast<std::uint32_t>(at(lane, 1)) << 16;
      else at(lane, 0) = static_cast<std::uint16_t>(r), at(lane, 1) = static_cast<std::uint16_t>(r >> 16);
    }
    if (!load)
      for (int i = 0; i < 8; ++i) std::memcpy(lanes[m * 8 + i]->row, matrix[i], 16);
  }
}

template <bool load>
void move_matrices(void* row, std::uint32_t* registers, int count, bool transposed, Where at) {
  if (static_cast<int>(current->lane) < count * 8) {
    if (shared_address(row) % 16 != 0) stop("misaligned", load ? "ldmatrix" : "stmatrix", " row ", row, " at ", at);
    if (load) note_read(row, 16, at);
    else note_write(row, 16, at);
  }
  Rows rows{static_cast<char*>(row), registers};
  constexpr WarpFunction functions[2][3] = {{move<1, false, load>, move<2, false, load>, move<4, false, load>},
                                            {move<1, true, load>, move<2, true, load>, move<4, true, load>}};
  warp_meet(~0u, matrix | count << 8, &rows, functions[transposed][count / 2], at);
}

// ---- mma ---------------------------------------------------------------------------------------

struct Fragments {
  float* d;
  const std::uint32_t *a, *b;
};

template <Element element>
void multiply_lanes(void* arguments[32], std::uint32_t) {
  auto** lanes = reinterpret_cast<Fragments**>(arguments);
  constexpr int k_size = element == Element::tf32 ? 8 : 16;
  float a[16][k_size], b[8][k_size];
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4;
    for (int i = 0; i < 4; ++i) unpack<element>(lanes[lane]->a[i], lane % 4, i / 2, a[row + i % 2 * 8]);
    for (int i = 0; i < 2; ++i) unpack<element>(lanes[lane]->b[i], lane % 4, i, b[row]);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const float* x = a[lane / 4 + i / 2 * 8];
      const float* y = b[lane % 4 * 2 + i % 2];
      float sum = lanes[lane]->d[i];
      for (int k = 0; k < k_size; ++k) sum += x[k] * y[k];
      lanes[lane]->d[i] = sum;
    }
}

}  // namespace

void load_matrices(std::uint32_t* registers, const void* row, int count, bool transposed, Where at) {
  move_matrices<true>(const_cast<void*>(row), registers, count, transposed, at);
}
void store_matrices(void* row, const std::uint32_t* registers, int count, bool transposed, Where at) {
  move_matrices<false>(row, const_cast<std::uint32_t*>(registers), count, transposed, at);
}

void multiply(float* d, const std::uint32_t* a, const std::uint32_t* b, Element element, Where at) {
  Fragments fragments{d, a, b};
  constexpr WarpFunction functions[] = {multiply_lanes<Element::bf16>, multiply_lanes<Element::f16>,
                                        multiply_lanes<Element::tf32>};
  warp_meet(~0u, matrix | (8 + static_cast<int>(element)) << 8, &fragments, functions[static_cast<int>(element)], at);
}

}  // namespace cuboid::emulator
