// SPDX-License-Identifier: Apache-2.0
// What the rows of the pooling tables compute. Indices are i32 positions within a sample's spatial volume, row-major,
// one per output element.
#pragma once
#include "kernels/pool/pool.h"

namespace cuboid {

using AvgPool = void(const View& x, const Out& y, const PoolSpec& spec);
using AvgPoolBackward = void(const View& g, const Out& dx, const PoolSpec& spec);
using MaxPool = void(const View& x, const Out& y, const Out& index, const PoolSpec& spec);
/// dx[index] += g
using MaxPoolScatter = void(const View& g, const View& index, const Out& dx, const PoolSpec& spec);
/// y = x[index]
using MaxPoolGather = void(const View& x, const View& index, const Out& y);

namespace cpu {
// Plain loops, any strides.
AvgPool avg_pool;
AvgPoolBackward avg_pool_backward;
MaxPool max_pool;
MaxPoolScatter max_pool_scatter;
MaxPoolGather max_pool_gather;

namespace rows {  // dense channels-last: the inner loop runs over channels, each result is gathered by one thread
AvgPool avg_pool;
AvgPoolBackward avg_pool_backward;
MaxPool max_pool;
MaxPoolScatter max_pool_scatter;
MaxPoolGather max_pool_gather;
}  // namespace rows

namespace wide {  // f32 and bf16 with AVX-512, channels in multiples of 16; other builds have rows that never fit
bool max_pool_fits(const View& x, const Out& y, const Out& index, const PoolSpec& spec);
bool max_pool_scatter_fits(const View& g, const View& index, const Out& dx, const PoolSpec& spec);
MaxPool max_pool;
MaxPoolScatter max_pool_scatter;
}  // namespace wide
}  // namespace cpu

}  // namespace cuboid
