// SPDX-License-Identifier: Apache-2.0
// A short row of integers without heap memory: shapes, strides, axes, windows.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "core/error.h"

namespace cuboid {

inline constexpr int max_rank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> values) : Shape(std::span(values.begin(), values.size())) {}
  explicit Shape(std::span<const std::int64_t> values) {
    check(values.size() <= max_rank, "shape: ", values.size(), " dimensions, at most ", max_rank, " are supported");
    std::copy(values.begin(), values.end(), v_.begin());
    rank_ = static_cast<int>(values.size());
  }
  static Shape filled(int rank, std::int64_t value) {
    Shape s;
    for (int i = 0; i < rank; ++i) s.push_back(value);
    return s;
  }

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  std::int64_t& operator[](int i) { return v_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }
  std::int64_t operator[](int i) const { return v_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }
  void push_back(std::int64_t value) {
    check(rank_ < max_rank, "shape: more than ", max_rank, " dimensions");
    v_[static_cast<std::size_t>(rank_++)] = value;
  }
  const std::int64_t* begin() const { return v_.data(); }
  const std::int64_t* end() const { return v_.data() + rank_; }
  std::int64_t* begin() { return v_.data(); }
  std::int64_t* end() { return v_.data() + rank_; }
  /// Number of elements; 1 for rank 0. Throws when it overflows or a dimension is negative.
  std::int64_t count() const {
    std::int64_t n = 1;
    for (auto d : *this) check(d >= 0 && !__builtin_mul_overflow(n, d, &n), "shape: ", *this, " is not a valid size");
    return n;
  }

  friend bool operator==(const Shape& a, const Shape& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
  friend std::ostream& operator<<(std::ostream& os, const Shape& s) {
    os << '[';
    for (int i = 0; i < s.rank(); ++i) os << (i ? "," : "") << s[i];
    return os << ']';
  }

 private:
  std::array<std::int64_t, max_rank> v_{};
  int rank_ = 0;
};

using Strides = Shape;

/// Where the fastest dimension lies. Layout is only strides: the order of dimensions is always N,C,[D,]H,W.
enum class Layout : std::uint8_t { contiguous, channels_last };

/// Dense strides of `shape`: row major, or with dimension 1 (channels) fastest.
inline Strides dense_strides(const Shape& shape, Layout layout = Layout::contiguous) {
  Strides s = shape;
  std::int64_t step = 1;
  const bool last = layout == Layout::channels_last && shape.rank() >= 3;
  if (last) {
    s[1] = 1;
    step = shape[1];
  }
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (last && i == 1) continue;
    s[i] = step;
    step *= shape[i];
  }
  return s;
}

}  // namespace cuboid
