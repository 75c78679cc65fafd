// SPDX-License-Identifier: Apache-2.0
// Each wrapper of core/ptx.h against formulas from the PTX ISA. The tests run emulated, where they judge the functional
// models, and on a device, where they judge the wrappers: passing on both is what makes a model trustworthy.
#pragma once
#include <gtest/gtest.h>

#include "core/ptx.h"
#include "tests/emulator/buffer.h"

namespace cuboid::test {

/// Skips where no device of this compute capability (10 major + minor) answers.
inline bool device_has(int capability) {
  if (gpu::device_count() == 0) return false;
  const gpu::Properties p = gpu::properties();
  return p.major * 10 + p.minor >= capability;
}
#define NEEDS(capability) \
  if (!device_has(capability)) GTEST_SKIP() << "no device of compute capability " << (capability) / 10. << " or more"

/// Two 16-bit numbers as a register holds them.
template <class T>
__device__ inline std::uint32_t pack(T low, T high) {
  return low.bits | static_cast<std::uint32_t>(high.bits) << 16;
}

}  // namespace cuboid::test
