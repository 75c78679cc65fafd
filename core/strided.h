// SPDX-License-Identifier: Apache-2.0
// Elementwise loops over operands of one shape and any strides.
#pragma once
#include <array>
#include <cstdlib>

#include "core/parallel.h"
#include "core/view.h"

namespace cuboid {

/// Dimensions from the largest stride to the smallest; of equals the first stays first.
inline std::array<int, max_rank> by_stride(const Strides& strides) {
  std::array<int, max_rank> order{};
  for (int d = 0; d < strides.rank(); ++d) {
    int at = d;
    for (; at > 0 && std::abs(strides[order[static_cast<std::size_t>(at - 1)]]) < std::abs(strides[d]); --at)
      order[static_cast<std::size_t>(at)] = order[static_cast<std::size_t>(at - 1)];
    order[static_cast<std::size_t>(at)] = d;
  }
  return order;
}

/// Counts through `dims` in row-major order and knows the offset each of N stride rows gives.
template <std::size_t N>
class Odometer {
 public:
  using Offsets = std::array<std::int64_t, N>;

  /// Starts at the `position`-th index. Strides beyond dims are not looked at.
  Odometer(const Shape& dims, const std::array<Strides, N>& strides, std::int64_t position) : dims_(dims), strides_(strides) {
    for (int d = dims_.rank() - 1; d >= 0; --d) {
      index_[d] = position % dims_[d];
      position /= dims_[d];
      for (std::size_t k = 0; k < N; ++k) at_[k] += index_[d] * strides_[k][d];
    }
  }
  const Offsets& offsets() const { return at_; }
  /// After the last index comes the first.
  void next() {
    for (int d = dims_.rank() - 1; d >= 0; --d) {
      for (std::size_t k = 0; k < N; ++k) at_[k] += strides_[k][d];
      if (++index_[d] < dims_[d]) return;
      for (std::size_t k = 0; k < N; ++k) at_[k] -= index_[d] * strides_[k][d];
      index_[d] = 0;
    }
  }

 private:
  Shape dims_, index_ = Shape::filled(max_rank, 0);
  std::array<Strides, N> strides_;
  Offsets at_{};
};

/// N operands of one shape walked together. Dimensions are ordered by the strides of the first operand and merged where
/// all operands allow it, so that the rows are as long and as contiguous as can be.
template <std::size_t N>
class StridedLoop {
 public:
  using Offsets = std::array<std::int64_t, N>;

  explicit StridedLoop(const std::array<View, N>& operands) {
    const View& lead = operands[0];
    const auto order = by_stride(lead.strides);
    for (int k = 0; k < lead.rank(); ++k) {
      const int d = order[static_cast<std::size_t>(k)];
      if (lead.shape[d] == 1) continue;
      bool merge = !dims_.empty();
      for (std::size_t i = 0; i < N && merge; ++i) merge = strides_[i][-1] == operands[i].strides[d] * lead.shape[d];
      if (merge) dims_[-1] *= lead.shape[d];
      else dims_.push_back(lead.shape[d]);
      for (std::size_t i = 0; i < N; ++i) {
        if (!merge) strides_[i].push_back(0);
        strides_[i][-1] = operands[i].strides[d];
      }
    }
    if (dims_.empty()) {
      dims_ = {1};
      strides_.fill({1});
    }
  }

  const Shape& dims() const { return dims_; }
  const Strides& strides(int operand) const { return strides_[static_cast<std::size_t>(operand)]; }
  /// Elements from one to the next within a row, per operand.
  Offsets steps() const {
    Offsets s;
    for (std::size_t i = 0; i < N; ++i) s[i] = strides_[i][-1];
    return s;
  }

  /// f(offset of each operand's first element, length) for rows of at most `piece` elements, in parallel.
  template <class F>
  void each_row(F&& f, std::int64_t piece = 1 << 16) const {
    const std::int64_t inner = dims_[-1];
    if (inner == 0) return;
    const std::int64_t pieces = (inner + piece - 1) / piece;
    const Shape outer_dims(std::span(dims_.begin(), static_cast<std::size_t>(dims_.rank() - 1)));
    const std::int64_t outer = outer_dims.count();
    const std::int64_t grain = std::max<std::int64_t>(1, piece / std::min(inner, piece));
    parallel_ranges(outer * pieces, grain, [&](std::int64_t begin, std::int64_t end) {
      Odometer<N> outer_at(outer_dims, strides_, begin / pieces);
      std::int64_t start = begin % pieces * piece;
      for (std::int64_t i = begin; i < end; ++i) {
        Offsets at = outer_at.offsets();
        for (std::size_t k = 0; k < N; ++k) at[k] += start * strides_[k][-1];
        f(at, std::min(piece, inner - start));
        start += piece;
        if (start >= inner) {
          start = 0;
          outer_at.next();
        }
      }
    });
  }

 private:
  Shape dims_;
  std::array<Strides, N> strides_;
};

/// `v` repeated to `shape`, which its own shape must broadcast to (aligned at the last dimension): stride 0 where it
/// repeats.
inline View broadcast(View v, const Shape& shape) {
  Strides strides = Shape::filled(shape.rank(), 0);
  for (int i = 1; i <= v.rank(); ++i)
    if (v.shape[-i] == shape[-i]) strides[-i] = v.strides[-i];
  v.shape = shape;
  v.strides = strides;
  return v;
}

}  // namespace cuboid
