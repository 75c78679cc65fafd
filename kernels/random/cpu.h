// SPDX-License-Identifier: Apache-2.0
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
};

namespace cpu {

void draw(const Out& y, Draw d);
/// For contiguous y: draws four words at a time.
void draw_blocks(const Out& y, Draw d);
void dropout(const View& x, const Out& y, double p, RandomKey key);
/// For contiguous and channels-last pairs: draws four words at a time.
void dropout_tiled(const View& x, const Out& y, double p, RandomKey key);

}  // namespace cpu
}  // namespace cuboid
