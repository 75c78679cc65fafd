// SPDX-License-Identifier: Apache-2.0
// Transcendental functions for `Functor::of<M>`: the library's own, exact to a unit in the last place or two on the host and on
// devices; and what becomes of x / 0 in whole numbers.
#pragma once
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "core/hd.h"

namespace cuboid::pointwise {

struct Library {
  template <class T>
  CUBOID_HD static T exp(T x) {
    return std::exp(x);
  }
  template <class T>
  CUBOID_HD static T log(T x) {
    return std::log(x);
  }
  template <class T>
  CUBOID_HD static T log1p(T x) {
    return std::log1p(x);
  }
  template <class T>
  CUBOID_HD static T tanh(T x) {
    return std::tanh(x);
  }
};

struct Throwing {
  static std::int64_t divided_by_zero() { fail("div: integer division by zero"); }
};

/// The host's.
struct Plain : Library, Throwing {};

/// A device's, which cannot throw.
struct OnDevice : Library {
  CUBOID_HD static std::int64_t divided_by_zero() { return 0; }
};

}  // namespace cuboid::pointwise
