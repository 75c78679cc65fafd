// SPDX-License-Identifier: Apache-2.0
// For ops whose fast rows know one memory order: conversion on the way in and out, outside the derivative graph.
#pragma once
#include "core/tensor.h"

namespace cuboid {

/// x's values in dense `layout`; x itself where it lies so already.
inline Tensor in_layout(const Tensor& x, Layout layout) {
  if (x.is(layout)) return x;
  const Tensor y = empty(x.shape(), {x.dtype(), x.device(), layout});
  copy(x, y);
  return y;
}

/// What the caller works in. A broadcast gradient has no order of its own; channels-last is the faster one.
inline Layout layout_of(const Tensor& x) {
  return x.rank() >= 3 && x.dim(1) > 1 && x.strides()[1] == 0 ? Layout::channels_last : x.view().layout();
}

}  // namespace cuboid
