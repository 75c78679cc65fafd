// SPDX-License-Identifier: Apache-2.0
// What the tests share: random tensors, the same values lying in memory in every way a kernel may meet, closeness with
// a message that says where and by how much, and the folder of reference data.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/tensor.h"

namespace cuboid::test {

// ---- random values -----------------------------------------------------------------------------

/// SplitMix64 (Steele et al. 2014): independent of the generator under test.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform(double lo = 0, double hi = 1) { return lo + (hi - lo) * static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// In [lo, hi].
  std::int64_t integer(std::int64_t lo, std::int64_t hi) {
    return lo + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(hi - lo + 1));
  }

 private:
  std::uint64_t state_;
};

struct RandomOptions {
  std::uint64_t seed = 1;
  DType dtype = DType::f64;
  double lo = -1, hi = 1;
  bool integers = false;  // whole numbers in [lo, hi], whatever the dtype: sums of them are exact
};
/// Where the tests compute: CUBOID_TEST_DEVICE=cuda runs them a second time, on the device.
inline Device test_device() {
  static const char* name = std::getenv("CUBOID_TEST_DEVICE");
  return name && std::string(name) == "cuda" ? Device::cuda : Device::cpu;
}
/// full(shape, 3, on_device({.dtype = DType::f64})): on the device of the tests.
inline TensorOptions on_device(TensorOptions o = {}) {
  o.device = test_device();
  return o;
}
template <class T>
Tensor values(const std::vector<T>& row_major, const Shape& shape) {
  return to(from_values(row_major, shape), test_device());
}

/// Contiguous, on the device of the tests. The same values (before rounding) for every dtype.
inline Tensor random(const Shape& shape, RandomOptions o = {}) {
  Random r(o.seed);
  const Tensor x = empty(shape, {.dtype = DType::f64});
  double* p = x.mutable_data<double>();
  for (std::int64_t i = 0; i < x.size(); ++i)
    p[i] = o.integers ? static_cast<double>(r.integer(static_cast<std::int64_t>(o.lo), static_cast<std::int64_t>(o.hi)))
                      : r.uniform(o.lo, o.hi);
  if (o.dtype == DType::f64) return to(x, test_device());
  const Tensor y = empty(shape, {.dtype = o.dtype, .device = test_device()});
  copy(x, y);
  return y;
}

// ---- layouts -----------------------------------------------------------------------------------

/// How the elements lie: `view` is every second element of a larger, reversed-order tensor that starts at an offset,
/// surrounded by NaN (or 77 for integers), so a kernel that reads a neighbour is found out.
enum class Lies : std::uint8_t { contiguous, channels_last, view };
inline constexpr Lies every_way[] = {Lies::contiguous, Lies::channels_last, Lies::view};
inline const char* name_of(Lies l) {
  constexpr const char* names[] = {"contiguous", "channels_last", "view"};
  return names[static_cast<int>(l)];
}

/// The same values, dtype and shape, lying as asked; outside the derivative graph.
inline Tensor laid(const Tensor& x, Lies how) {
  Tensor y;
  if (how == Lies::view) {
    Strides strides = x.shape();  // dimension 0 fastest, two elements apart, and one element of room at each end
    std::int64_t step = 2;
    for (int i = 0; i < x.rank(); ++i) {
      strides[i] = step;
      step *= x.dim(i) + 1;
    }
    const Tensor room = full({step + 3}, is_floating(x.dtype()) ? std::nan("") : 77, {.dtype = x.dtype(), .device = x.device()});
    y = Tensor(room.storage(), 3, x.shape(), strides, x.dtype());
  } else {
    y = empty(x.shape(), {x.dtype(), x.device(), how == Lies::channels_last ? Layout::channels_last : Layout::contiguous});
  }
  copy(x, y);
  return y;
}

// ---- comparing ---------------------------------------------------------------------------------

struct Tolerance {
  double rtol = 0, atol = 0;
};
/// What rounding the result of a short computation to `t` costs.
inline Tolerance tolerance(DType t) {
  switch (t) {
    case DType::f32:
      return {1.3e-6, 1e-5};
    case DType::f64:
      return {1e-12, 1e-13};
    case DType::bf16:
      return {1.6e-2, 1e-5};
    case DType::f16:
      return {1e-3, 1e-5};
    default:
      return {};
  }
}

/// |got - expected| <= atol + rtol |expected| everywhere; NaN equals NaN, infinities equal themselves.
/// EXPECT_TRUE(close(y, expected, {.rtol = 1e-6})) << "the case";
inline ::testing::AssertionResult close(const Tensor& got, const Tensor& expected, Tolerance t) {
  if (!got.defined() || !expected.defined()) return ::testing::AssertionFailure() << "undefined tensor";
  if (got.shape() != expected.shape())
    return ::testing::AssertionFailure() << "shape " << got.shape() << ", expected " << expected.shape();
  const auto a = got.to_vector(), b = expected.to_vector();
  std::size_t wrong = 0, worst = 0;
  double worst_excess = -1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if ((std::isnan(a[i]) && std::isnan(b[i])) || a[i] == b[i]) continue;
    const double excess = std::abs(a[i] - b[i]) / (t.atol + t.rtol * std::abs(b[i]));
    if (excess <= 1) continue;
    ++wrong;
    if (worst_excess < 0 || !(excess <= worst_excess)) {
      worst = i;
      worst_excess = excess;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  Shape index = expected.shape();
  auto rest = static_cast<std::int64_t>(worst);
  for (int d = index.rank() - 1; d >= 0; --d) {
    index[d] = rest % expected.dim(d);
    rest /= expected.dim(d);
  }
  return ::testing::AssertionFailure() << wrong << " of " << a.size() << " elements of " << got.dtype() << expected.shape()
                                       << " differ; worst at " << index << ": " << a[worst] << ", expected " << b[worst]
                                       << " (difference " << a[worst] - b[worst] << ", rtol " << t.rtol << ", atol " << t.atol
                                       << ")";
}
/// Equal numbers (NaN equals NaN).
inline ::testing::AssertionResult equal(const Tensor& got, const Tensor& expected) { return close(got, expected, {}); }

/// The text of the Error that f throws; empty when it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// ---- reference data ----------------------------------------------------------------------------

/// Folder of the project's reference data, or empty. A test that finds none calls GTEST_SKIP.
inline std::filesystem::path shared_data(const std::string& folder) {
#if defined(CUBOID_SHARED_DATA)
  const std::filesystem::path path = std::filesystem::path(CUBOID_SHARED_DATA) / folder;
  if (std::filesystem::exists(path)) return path;
#endif
  if (const char* elsewhere = std::getenv("CUBOID_SHARED_DATA"))
    if (const auto p = std::filesystem::path(elsewhere) / folder; std::filesystem::exists(p)) return p;
  return {};
}

}  // namespace cuboid::test
