// SPDX-License-Identifier: Apache-2.0
// Transcendental functions for `Functor::of<M>` on the CPU: branch-free f32 versions that the compiler vectorises (given
// -fno-trapping-math). Largest errors over f32, in units of the last place, as the tests find
// them: exp 1.0, log 0.74, tanh 1.2; of what is built on them, sigmoid 2.0, softplus 1.8.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/pointwise/math.h"

namespace cuboid::pointwise {

struct Fast : Throwing {
  static double exp(double x) { return std::exp(x); }
  static double log(double x) { return std::log(x); }
  static double log1p(double x) { return std::log1p(x); }
  static double tanh(double x) { return std::tanh(x); }

  /// x = n ln2 + r, |r| <= ln2/2; exp(r) by its Taylor polynomial (remainder 4e-9 relative), scaled in two steps so
  /// that overflow and subnormal results come out right.
  static float exp(float x) {
    constexpr float lowest = -104.f, highest = 89.f, round = 0x1.8p23f;
    x = x < lowest ? lowest : x > highest ? highest : x;
    const float shifted = fma(x, 1.44269504f, round);  // the integer part now sits in the low bits
    const float n = shifted - round;
    const std::int32_t k = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(round);
    float r = fma(n, -0x1.62e4p-1f, x);  // ln2 in two parts, the first with few enough bits for an exact product
    r = fma(n, -0x1.7f7d1cp-20f, r);
    float p = 1.f / 5040;
    p = fma(p, r, 1.f / 720);
    p = fma(p, r, 1.f / 120);
    p = fma(p, r, 1.f / 24);
    p = fma(p, r, 1.f / 6);
    p = fma(p, r, 0.5f);
    p = fma(p, r * r, r) + 1.f;
    const std::int32_t half = k >> 1;
    return p * power_of_two(half) * power_of_two(k - half);
  }

  /// x = m 2^e, m in [sqrt(1/2), sqrt(2)); log(m) by the polynomial of Cephes' logf (S. Moshier).
  static float log(float x) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    const bool small = x < std::numeric_limits<float>::min();  // zero, subnormal or negative
    const auto bits = std::bit_cast<std::uint32_t>(small ? x * 0x1p23f : x);
    const std::int32_t e = static_cast<std::int32_t>(bits - 0x3f3504f3u) >> 23;  // 0x3f3504f3: sqrt(1/2)
    const float f = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(e) << 23)) - 1.f;
    const float n = static_cast<float>(e - (small ? 23 : 0));
    const float z = f * f;
    float p = 7.0376836292e-2f;
    p = fma(p, f, -1.1514610310e-1f);
    p = fma(p, f, 1.1676998740e-1f);
    p = fma(p, f, -1.2420140846e-1f);
    p = fma(p, f, 1.4249322787e-1f);
    p = fma(p, f, -1.6668057665e-1f);
    p = fma(p, f, 2.0000714765e-1f);
    p = fma(p, f, -2.4999993993e-1f);
    p = fma(p, f, 3.3333331174e-1f);
    float y = fma(p * f, z, n * -2.12194440e-4f);  // ln2 = 0.693359375 - 2.1219444e-4
    y = fma(z, -0.5f, y);
    const float result = fma(n, 0.693359375f, f + y);
    return x > 0 ? (x < inf ? result : x) : x == 0 ? -inf : x != x ? x : std::numeric_limits<float>::quiet_NaN();
  }

  /// For x >= 0 (what softplus needs): log(u) + what rounding u = 1 + x lost.
  static float log1p(float x) {
    const float u = 1.f + x;
    return log(u) + (x - (u - 1.f)) / u;
  }

  /// Near 0 the odd polynomial of Cephes' tanhf, elsewhere 1 - 2 / (exp(2|x|) + 1).
  static float tanh(float x) {
    const float a = std::abs(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = fma(p, z, 2.06390887954e-2f);
    p = fma(p, z, -5.37397155531e-2f);
    p = fma(p, z, 1.33314422036e-1f);
    p = fma(p, z, -3.33332819422e-1f);
    const float near = fma(p * z, x, x);
    const float far = std::copysign(1.f - 2.f / (exp(2.f * a) + 1.f), x);
    return a < 0.625f ? near : far;
  }

 private:
  /// a * b + c, fused where the processor can.
  static float fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
  }
  static float power_of_two(std::int32_t k) { return std::bit_cast<float>(static_cast<std::uint32_t>(k + 127) << 23); }
};

}  // namespace cuboid::pointwise
