// SPDX-License-Identifier: Apache-2.0
// What one element becomes: one struct per op, shared by every implementation on every device. `M` supplies the
// transcendental functions (math.h: the C++ library's, a device's; fast_math.h: vectorisable), T is float, double or
// std::int64_t. 16-bit floats are widened to float, narrow integers to i64 before they come here.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace cuboid::pointwise {

/// What an op is given besides its tensors: an exponent, a slope, bounds.
struct Constants {
  double a = 0, b = 0;
};

/// What an op takes: integers as well, or floating types only.
struct Numbers {
  static constexpr bool integers = true;
};
struct Reals {
  static constexpr bool integers = false;
};

template <class T>
inline constexpr bool whole = std::is_integral_v<T>;
using Wrapping = std::uint64_t;  // integer arithmetic wraps, as in every array language

// ---- two operands ------------------------------------------------------------------------------

struct Add : Numbers {
  static constexpr const char* name = "add";
  template <class M, class T>
  CUBOID_HD static T of(T a, T b, Constants) {
    if constexpr (whole<T>) return static_cast<T>(static_cast<Wrapping>(a) + static_cast<Wrapping>(b));
    else return a + b;
  }
};
struct Subtract : Numbers {
  static constexpr const char* name = "sub";
  template <class M, class T>
  CUBOID_HD static T of(T a, T b, Constants) {
    if constexpr (whole<T>) return static_cast<T>(static_cast<Wrapping>(a) - static_cast<Wrapping>(b));
    else return a - b;
  }
};
struct Multiply : Numbers {
  static constexpr const char* name = "mul";
  template <class M, class T>
  CUBOID_HD static T of(T a, T b, Constants) {
    if constexpr (whole<T>) return static_cast<T>(static_cast<Wrapping>(a) * static_cast<Wrapping>(b));
    else return a * b;
  }
};
struct Divide : Numbers {
  static constexpr const char* name = "div";
  template <class M, class T>
  CUBOID_HD static T of(T a, T b, Constants) {
    if constexpr (whole<T>) {
      if (b == 0) return M::divided_by_zero();
      return b == -1 ? Subtract::of<M>(T{0}, a, {}) : a / b;
    } else {
      return a / b;
    }
  }
};

// Derivatives that one pass computes: g times a function of the second operand.

struct LeakyReluGrad : Reals {  // b: slope in a
  static constexpr const char* name = "leaky_relu_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T x, Constants c) {
    return x > 0 ? g : g * static_cast<T>(c.a);
  }
};
struct ClampGrad : Reals {
  static constexpr const char* name = "clamp_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T x, Constants c) {
    return x < static_cast<T>(c.a) || x > static_cast<T>(c.b) ? T{0} : g;
  }
};
struct SigmoidGrad : Reals {  // of the output
  static constexpr const char* name = "sigmoid_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T y, Constants) {
    return g * (y * (T{1} - y));
  }
};
struct TanhGrad : Reals {  // of the output
  static constexpr const char* name = "tanh_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T y, Constants) {
    return g * (T{1} - y * y);
  }
};

// ---- one operand -------------------------------------------------------------------------------

struct AddConstant : Numbers {
  static constexpr const char* name = "add";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Add::of<M>(x, static_cast<T>(c.a), c);
  }
};
struct MultiplyConstant : Numbers {
  static constexpr const char* name = "mul";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Multiply::of<M>(x, static_cast<T>(c.a), c);
  }
};
struct DivideByConstant : Numbers {
  static constexpr const char* name = "div";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Divide::of<M>(x, static_cast<T>(c.a), c);
  }
};
struct SubtractFromConstant : Numbers {
  static constexpr const char* name = "sub";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Subtract::of<M>(static_cast<T>(c.a), x, c);
  }
};
struct DivideConstant : Numbers {
  static constexpr const char* name = "div";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Divide::of<M>(static_cast<T>(c.a), x, c);
  }
};
struct Negate : Numbers {
  static constexpr const char* name = "neg";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    if constexpr (whole<T>) return Subtract::of<M>(T{0}, x, c);
    else return -x;
  }
};
struct Square : Numbers {
  static constexpr const char* name = "square";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return Multiply::of<M>(x, x, c);
  }
};
struct Abs : Numbers {
  static constexpr const char* name = "abs";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    if constexpr (whole<T>) return x < 0 ? Subtract::of<M>(T{0}, x, c) : x;
    else return std::abs(x);
  }
};
struct Sign : Numbers {
  static constexpr const char* name = "sign";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return x > 0 ? T{1} : x < 0 ? T{-1} : x;  // zeros and NaN stay what they are
  }
};
struct Clamp : Numbers {
  static constexpr const char* name = "clamp";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    const T lo = convert<T>(c.a), hi = convert<T>(c.b);
    return x < lo ? lo : x > hi ? hi : x;
  }
};
struct LeakyRelu : Reals {
  static constexpr const char* name = "leaky_relu";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return x > 0 ? x : x * static_cast<T>(c.a);
  }
};
struct Relu : Numbers {
  static constexpr const char* name = "relu";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return x < 0 ? T{0} : x;  // NaN stays NaN
  }
};
struct Sqrt : Reals {
  static constexpr const char* name = "sqrt";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return std::sqrt(x);
  }
};
struct Rsqrt : Reals {
  static constexpr const char* name = "rsqrt";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return T{1} / std::sqrt(x);
  }
};
struct Exp : Reals {
  static constexpr const char* name = "exp";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return M::exp(x);
  }
};
struct Log : Reals {
  static constexpr const char* name = "log";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return M::log(x);
  }
};
struct Pow : Reals {
  static constexpr const char* name = "pow";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return std::pow(x, static_cast<T>(c.a));
  }
};
struct Tanh : Reals {
  static constexpr const char* name = "tanh";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return M::tanh(x);
  }
};
struct Sigmoid : Reals {
  static constexpr const char* name = "sigmoid";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    const T e = M::exp(-std::abs(x));  // in (0, 1]: never overflows
    return (x < 0 ? e : T{1}) / (T{1} + e);
  }
};
struct Silu : Reals {
  static constexpr const char* name = "silu";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants c) {
    return x * Sigmoid::of<M>(x, c);
  }
};
struct Softplus : Reals {
  static constexpr const char* name = "softplus";
  template <class M, class T>
  CUBOID_HD static T of(T x, Constants) {
    return (x < 0 ? T{0} : x) + M::log1p(M::exp(-std::abs(x)));
  }
};

// Derivatives of the last two; g comes first.

struct SiluGrad : Reals {
  static constexpr const char* name = "silu_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T x, Constants c) {
    const T s = Sigmoid::of<M>(x, c);
    return g * (s + x * (s * (T{1} - s)));
  }
};
struct SoftplusGrad : Reals {
  static constexpr const char* name = "softplus_grad";
  template <class M, class T>
  CUBOID_HD static T of(T g, T x, Constants c) {
    return g * Sigmoid::of<M>(x, c);
  }
};

}  // namespace cuboid::pointwise
