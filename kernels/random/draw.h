// SPDX-License-Identifier: Apache-2.0
// What is drawn, as the implementations of every device see it.
#pragma once
#include "core/random.h"
#include "core/view.h"

namespace cuboid {

enum class Distribution : std::uint8_t { uniform, normal };

/// offset + scale * (standard uniform or normal).
struct Draw {
  RandomKey key;
  Distribution distribution;
  double offset, scale;

  CUBOID_HD double element(std::uint64_t i) const {
    return scaled(distribution == Distribution::uniform ? random_uniform(key, i) : random_normal(key, i));
  }
  /// Elements 4 i .. 4 i + 3.
  CUBOID_HD void block(std::uint64_t i, double (&v)[4]) const {
    const Words4 w = key.block(i);
    if (distribution == Distribution::uniform) {
      for (int k = 0; k < 4; ++k) v[k] = to_unit(w.word[k]);
    } else {
      const NormalPair a = to_normal(w.word[0], w.word[1]), b = to_normal(w.word[2], w.word[3]);
      v[0] = a.first, v[1] = a.second, v[2] = b.first, v[3] = b.second;
    }
    for (int k = 0; k < 4; ++k) v[k] = scaled(v[k]);
  }

 private:
  /// Fused by name, or it would depend on the compiler.
  CUBOID_HD double scaled(double v) const { return std::fma(scale, v, offset); }
};

}  // namespace cuboid
