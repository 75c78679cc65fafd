// SPDX-License-Identifier: Apache-2.0
// The rows for Device::cuda in the pooling tables. Each result is gathered by one thread, gradients too.
#pragma once
#include "kernels/pool/rows.h"

namespace cuboid::cuda {

// Any floating dtype, any strides.
AvgPool avg_pool;
AvgPoolBackward avg_pool_backward;
MaxPool max_pool;
MaxPoolScatter max_pool_scatter;
MaxPoolGather max_pool_gather;

namespace packets {  // the channels of a voxel lie side by side, in whole packets of 16 bytes
AvgPool avg_pool;
AvgPoolBackward avg_pool_backward;
MaxPool max_pool;
MaxPoolScatter max_pool_scatter;
MaxPoolGather max_pool_gather;

bool avg_pool_fits(const View& x, const Out& y, const PoolSpec& spec);
bool avg_pool_backward_fits(const View& g, const Out& dx, const PoolSpec& spec);
bool max_pool_fits(const View& x, const Out& y, const Out& index, const PoolSpec& spec);
bool max_pool_scatter_fits(const View& g, const View& index, const Out& dx, const PoolSpec& spec);
bool max_pool_gather_fits(const View& x, const View& index, const Out& y);
}  // namespace packets

}  // namespace cuboid::cuda
