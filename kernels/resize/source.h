// SPDX-License-Identifier: Apache-2.0
// Where an output voxel reads along one axis, and who reads an input voxel: PyTorch's rules (aten/src/ATen/native/UpSample.h), in
// its precision.
#pragma once
#include "core/hd.h"
#include "kernels/resize/resize.h"

namespace cuboid {

/// Input `first` with weight 1 - share and `second` with weight share.
template <class A, class I = std::int64_t>
struct Source {
  I first, second;
  A share;

  /// What input i counts for.
  CUBOID_HD A weight(I i) const { return (first == i ? 1 - share : A(0)) + (second == i ? share : A(0)); }
};

/// A is the type the coordinates are computed in: f32, or f64 for f64 tensors. Nearest always computes in f32.
template <class A, class I = std::int64_t>
class SourceAxis {
 public:
  SourceAxis() = default;
  SourceAxis(std::int64_t in, std::int64_t out, const ResizeOptions& o)
      : in_(static_cast<I>(in)),
        out_(static_cast<I>(out)),
        rule_(in == out                   ? Rule::same
              : o.mode == Resize::nearest ? Rule::nearest
              : o.align_corners           ? Rule::corners
                                          : Rule::edges) {
    if (rule_ == Rule::nearest) scale_ = static_cast<A>(static_cast<float>(in) / static_cast<float>(out));
    if (rule_ == Rule::corners) scale_ = out > 1 ? static_cast<A>(in - 1) / static_cast<A>(out - 1) : A(0);
    if (rule_ == Rule::edges) scale_ = static_cast<A>(in) / static_cast<A>(out);
  }
  CUBOID_HD I in() const { return in_; }
  CUBOID_HD I out() const { return out_; }

  /// Where output `at` reads.
  CUBOID_HD Source<A, I> source(I at) const {
    if (rule_ == Rule::same) return {at, at, 0};
    if (rule_ == Rule::nearest) {
      const I i = inside(static_cast<I>(static_cast<float>(at) * static_cast<float>(scale_)));
      return {i, i, 0};
    }
    A position = rule_ == Rule::corners ? scale_ * static_cast<A>(at) : scale_ * (static_cast<A>(at) + A(0.5)) - A(0.5);
    if (position < 0) position = 0;
    const I first = inside(static_cast<I>(position));
    const A share = position - static_cast<A>(first);
    return {first, inside(first + 1), share > 1 ? A(1) : share};
  }
  /// The outputs that read input i: [begin, end). Sources grow with the output, so a guess is mended step by step.
  CUBOID_HD void readers(I i, I& begin, I& end) const {
    if (rule_ == Rule::same) {
      begin = i;
      end = i + 1;
      return;
    }
    const A outputs_each = scale_ > 0 ? 1 / scale_ : A(0);
    begin = guess(static_cast<A>(i - 1) * outputs_each);
    while (begin > 0 && source(begin - 1).second >= i) --begin;
    while (begin < out_ && source(begin).second < i) ++begin;
    end = guess(static_cast<A>(i + 1) * outputs_each);
    while (end > begin && source(end - 1).first > i) --end;
    while (end < out_ && source(end).first <= i) ++end;
  }

 private:
  enum class Rule : std::uint8_t { same, nearest, corners, edges };

  CUBOID_HD I inside(I i) const { return i < in_ ? i : in_ - 1; }
  CUBOID_HD I guess(A at) const { return at <= 0 ? I(0) : at >= static_cast<A>(out_) ? out_ : static_cast<I>(at); }

  I in_ = 1, out_ = 1;
  Rule rule_ = Rule::same;
  A scale_ = 0;
};

}  // namespace cuboid
