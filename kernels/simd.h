// SPDX-License-Identifier: Apache-2.0
// The widest float vector of the processor this is compiled for.
#pragma once
#include <cstdint>
#include <cstring>

namespace cuboid::simd {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif
typedef float Vec __attribute__((vector_size(lanes * sizeof(float))));

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
inline Vec splat(float x) { return x - Vec{}; }  // x - 0 is x, also for the compiler
/// Leaky ReLU; slope 0 is ReLU.
inline Vec activate(Vec a, Vec slope) { return a > 0 ? a : a * slope; }
/// g times the derivative of the activation at a.
inline Vec activate_backward(Vec g, Vec a, Vec slope) { return a > 0 ? g : g * slope; }

/// Columns a product of conv/panels.h works on at a time.
inline constexpr int panel_width = 32;
inline constexpr int panel_vecs = panel_width / lanes;

}  // namespace cuboid::simd
