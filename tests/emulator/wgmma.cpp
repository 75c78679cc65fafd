// SPDX-License-Identifier: Apache-2.0
// wgmma, after the PTX ISA, section "Asynchronous Warpgroup Level Matrix Instructions": operands are read when the warpgroup
// has issued (the race model tells of later overwrites), results appear in the registers at the wait.
#include <algorithm>
#include <cstring>

#include "tests/emulator/access.h"
#include "tests/emulator/element.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/matrix.h"
#include "tests/emulator/sync.h"

namespace cuboid::emulator {
namespace {

// An operand of `rows` rows (of m or n) is made of 16-byte chunks. K-major: two per row. MN-major: eight rows of one k each.
struct Descriptor {
  std::uint32_t start, leading, stride;
  int swizzle;
  bool mn_major;
  explicit Descriptor(const Operand& o)
      : start(static_cast<std::uint32_t>(o.descriptor & 0x3fff) << 4),
        leading(static_cast<std::uint32_t>(o.descriptor >> 16 & 0x3fff) << 4),
        stride(static_cast<std::uint32_t>(o.descriptor >> 32 & 0x3fff) << 4),
        swizzle(static_cast<int>(o.descriptor >> 62)),
        mn_major(o.mn_major) {}

  /// Bytes of a swizzled row; 16 without swizzle.
  std::uint32_t width() const { return swizzle == 0 ? 16u : 256u >> swizzle; }
  std::uint32_t address(std::uint32_t chunk) const {
    std::uint32_t offset;
    if (!mn_major) {
      const std::uint32_t row = chunk / 2, half = chunk % 2;
      offset = row / 8 * stride + row % 8 * width() + half * (swizzle == 0 ? leading : 16u);
    } else {
      const std::uint32_t group = chunk / 16, k = chunk % 16, across = width() / 16;
      if (swizzle == 0) offset = group * stride + k / 8 * leading + k % 8 * 16;
      else offset = group / across * leading + group % across * 16 + k / 8 * stride + k % 8 * width();
    }
    return swizzled(start + offset, swizzle);
  }
};

struct Issue {
  std::vector<float>* values;
  int n;
  Operand a, b;
  bool accumulate;
};

/// Rows of k as f32, whatever the operand's layout.
template <Element element>
void gather(const Operand& operand, int rows, float (*to)[16]) {
  const Descriptor d(operand);
  for (int chunk = 0; chunk < rows * 2; ++chunk) {
    const char* from = static_cast<char*>(shared_pointer(d.address(static_cast<std::uint32_t>(chunk))));
    if constexpr (element == Element::tf32) {
      std::uint32_t bits[4];
      std::memcpy(bits, from, 16);
      for (int i = 0; i < 4; ++i) to[chunk / 2][chunk % 2 * 4 + i] = tf32_number(bits[i]);
    } else {
      std::uint16_t bits[8];
      std::memcpy(bits, from, 16);
      for (int i = 0; i < 8; ++i)
        (operand.mn_major ? to[chunk / 16 * 8 + i][chunk % 16] : to[chunk / 2][chunk % 2 * 8 + i]) = number<element>(bits[i]);
    }
  }
}

template <Element element>
void multiply_group(void* arguments[128]) {
  auto** threads = reinterpret_cast<Issue**>(arguments);
  const Issue& first = *threads[0];
  const int n = first.n;
  constexpr int k_size = element == Element::tf32 ? 8 : 16;
  for (int t = 1; t < 128; ++t) {
    const Issue& other = *threads[t];
    if (other.a.descriptor != first.a.descriptor || other.b.descriptor != first.b.descriptor ||
        other.accumulate != first.accumulate)
      stop("wgmma", "the threads of a warpgroup give different descriptors");
  }
  static float a[64][16], b[256][16], product[64][256];
  if (!first.a.registers) {
    gather<element>(first.a, 64, a);
  } else {
    for (int t = 0; t < 128; ++t)
      for (int i = 0; i < 4; ++i)
        unpack<element>(threads[t]->a.registers[i], t % 4, i / 2, a[t / 32 * 16 + t % 32 / 4 + i % 2 * 8]);
  }
  gather<element>(first.b, n, b);
  for (int row = 0; row < 64; ++row)
    for (int column = 0; column < n; ++column) {
      float sum = 0;
      for (int k = 0; k < k_size; ++k) sum += a[row][k] * b[column][k];
      product[row][column] = sum;
    }
  for (int t = 0; t < 128; ++t) {
    float* values = threads[t]->values->data();
    for (int i = 0; i < n / 2; ++i) {
      const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + t % 4 * 2 + i % 2;
      values[i] = product[row][column] + (first.accumulate ? values[i] : 0.f);
    }
  }
}

/// Each thread answers for its share of the operand's chunks.
void note_operand(const Operand& operand, int rows, std::uint32_t thread, Where at) {
  if (operand.registers) return;
  const Descriptor d(operand);
  for (std::uint32_t chunk = thread; chunk < static_cast<std::uint32_t>(rows) * 2; chunk += 128)
    note_async_read(shared_pointer(d.address(chunk)), 16, at);
}

Accumulator& accumulator_of(float* registers, int n, Where at) {
  auto& flying = current->accumulators;
  for (Accumulator& a : flying)
    if (a.registers == registers) return a;
  if (!current->wgmma_fenced) stop("wgmma", "no wgmma_fence between other uses of the registers and the wgmma at ", at);
  flying.push_back({registers, std::vector<float>(registers, registers + n / 2), 0, 0});
  return flying.back();
}

}  // namespace

void wgmma(float* d, int n, Operand a, Operand b, bool accumulate, Element element, Where at) {
  Thread& self = *current;
  Accumulator& sums = accumulator_of(d, n, at);
  note_operand(a, 64, self.linear % 128, at);
  note_operand(b, n, self.linear % 128, at);
  Issue issue{&sums.values, n, a, b, accumulate};
  constexpr WarpgroupFunction functions[] = {multiply_group<Element::bf16>, multiply_group<Element::f16>,
                                             multiply_group<Element::tf32>};
  warpgroup_meet(wgmma_operation | (n << 3 | static_cast<int>(element) << 1 | (a.registers != nullptr)) << 8, &issue,
                 functions[static_cast<int>(element)], at);
  sums.group = self.wgmma_group;
  sums.time = self.block->warpgroups[self.linear / 128].time;
  std::memset(d, 0xff, static_cast<std::size_t>(n) / 2 * sizeof(float));
}

void wgmma_fence(Where at) {
  warp_meet(~0u, wgmma_operation, nullptr, nullptr, at);
  current->wgmma_fenced = true;
}

void wgmma_commit() { ++current->wgmma_group; }

void wgmma_wait(int keep, Where at) {
  warp_meet(~0u, wgmma_operation | 1 << 30, nullptr, nullptr, at);
  auto& flying = current->accumulators;
  const auto done = static_cast<std::int64_t>(current->wgmma_group) - keep;
  const auto complete = [&](const Accumulator& a) { return a.group < done; };
  for (const Accumulator& a : flying) {
    if (!complete(a)) continue;
    // The whole warpgroup has read its operands.
    race::learn(current->linear / 128 * 128, 128, a.time);
    std::copy(a.values.begin(), a.values.end(), a.registers);
  }
  if (std::erase_if(flying, complete)) current->wgmma_fenced = false;
}

}  // namespace cuboid::emulator
