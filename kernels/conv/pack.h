// SPDX-License-Identifier: Apache-2.0
// What happens before and after the tiles: weights in the order the kernels read, sums of the parts when k was split.
#pragma once
#include <memory>

#include "core/tensor.h"
#include "kernels/conv/geometry.h"

namespace cuboid::cuda {

/// Weights (K, C/groups, taps) as [K][tap][pitch], zeros beyond C/groups; the weights themselves where they lie so already.
/// Kept with `home`, the storage of the weights, until they change; home may be null.
std::shared_ptr<const void> packed_weights(const View& w, int pitch, Storage* home);

/// to[i] = bias[i % channels] + the sum over `splits` parts, `count` elements each, in their order.
template <class T>
void add_parts(const Accum<T>* parts, int splits, std::int64_t count, const T* bias, int channels, T* to);
/// dw[k][c][tap] = the sum over parts[split][tap][c][k].
template <class T>
void add_weight_parts(const Accum<T>* parts, int splits, int taps, int inputs, int outputs, T* dw);

}  // namespace cuboid::cuda
