// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in the tables of this room: the CPU's numbers.
#pragma once
#include "kernels/random/draw.h"

namespace cuboid::cuda {

/// Any strides.
void draw(const Out& y, Draw d);
/// For contiguous y: four words at a time.
void draw_blocks(const Out& y, Draw d);

/// Any strides.
void dropout(const View& x, const Out& y, double p, RandomKey key);
/// For contiguous x and y: four words at a time.
void dropout_blocks(const View& x, const Out& y, double p, RandomKey key);
/// For channels-last x and y: a block of words is drawn once, though its elements lie far apart.
void dropout_tiles(const View& x, const Out& y, double p, RandomKey key);

}  // namespace cuboid::cuda
