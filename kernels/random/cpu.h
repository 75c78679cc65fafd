// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/random/draw.h"

namespace cuboid::cpu {

void draw(const Out& y, Draw d);
/// For contiguous y: draws four words at a time.
void draw_blocks(const Out& y, Draw d);
void dropout(const View& x, const Out& y, double p, RandomKey key);
/// For contiguous and channels-last pairs: draws four words at a time.
void dropout_tiled(const View& x, const Out& y, double p, RandomKey key);

}  // namespace cuboid::cpu
