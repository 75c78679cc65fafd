// SPDX-License-Identifier: Apache-2.0
// Where an output voxel reads along one axis: PyTorch's rules (aten/src/ATen/native/UpSample.h), in its precision.
#pragma once
#include <algorithm>
#include <cmath>

#include "kernels/resize/resize.h"

namespace cuboid {

/// Input `first` with weight 1 - share and `second` with weight share.
template <class A>
struct Source {
  std::int64_t first, second;
  A share;
};

/// A is the type the coordinates are computed in: f32, or f64 for f64 tensors. Nearest always computes in f32.
template <class A>
Source<A> source_of(std::int64_t at, std::int64_t in, std::int64_t out, const ResizeOptions& o) {
  if (in == out) return {at, at, 0};
  if (o.mode == Resize::nearest) {
    const float scale = static_cast<float>(in) / static_cast<float>(out);
    const std::int64_t i = std::min(in - 1, static_cast<std::int64_t>(std::floor(static_cast<float>(at) * scale)));
    return {i, i, 0};
  }
  A position = 0;
  if (o.align_corners) {
    position = out > 1 ? static_cast<A>(in - 1) / static_cast<A>(out - 1) * static_cast<A>(at) : A(0);
  } else {
    const A scale = static_cast<A>(in) / static_cast<A>(out);
    position = std::max(A(0), scale * (static_cast<A>(at) + A(0.5)) - A(0.5));
  }
  const std::int64_t first = std::min(in - 1, static_cast<std::int64_t>(position));
  return {first, std::min(in - 1, first + 1), std::clamp(position - static_cast<A>(first), A(0), A(1))};
}

}  // namespace cuboid
