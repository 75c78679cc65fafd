// SPDX-License-Identifier: Apache-2.0
// Vectors of bf16 for processors with AVX-512 BF16: 16 numbers widened to f32, f32 rounded to nearest even, and products of
// pairs. A row of pairs holds two rows of a matrix, element by element: (a0, b0), (a1, b1), ... so that one instruction
// multiplies both and adds the two products to an f32. Subnormal numbers count as zero.
#pragma once
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define CUBOID_AVX512_BF16 1
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace cuboid::bf {

inline constexpr int lanes = 16;
using Vec = __m512;

inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec splat(float x) { return _mm512_set1_ps(x); }
/// 16 numbers of 16 bits, in the lower halves of 32. (GCC 12 warns about its own intrinsics for this and for shifts.)
typedef std::uint16_t Halves __attribute__((vector_size(32)));
typedef std::uint32_t Words __attribute__((vector_size(64)));
inline Words low_halves(Halves h) { return __builtin_convertvector(h, Words); }
/// 16 bf16 as f32.
inline Vec widened(Halves h) { return reinterpret_cast<Vec>(low_halves(h) << 16); }
inline Halves halves(const bf16* p) {
  Halves h;
  std::memcpy(&h, p, sizeof h);
  return h;
}
inline Vec load(const bf16* p) { return widened(halves(p)); }
/// 16 f32, rounded to 16 bf16.
inline Halves narrowed(Vec v) { return reinterpret_cast<Halves>(_mm512_cvtneps_pbh(v)); }
inline void store(bf16* p, Vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(narrowed(v))); }
/// 16 f32 that are bf16 already, subnormal ones too.
inline void store_exact(bf16* p, Vec v) {
  const Halves h = __builtin_convertvector(reinterpret_cast<Words>(v) >> 16, Halves);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(h));
}
inline void store_exact(float* p, Vec v) { store(p, v); }
/// 32 f32, rounded.
inline void store(bf16* p, Vec low, Vec high) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
}
/// What is left of v after rounding.
inline Vec rounded(Vec v) { return widened(narrowed(v)); }
/// Two rows of 16 as a row of pairs.
inline void store_pairs(bf16* p, Halves a, Halves b) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(low_halves(a) | low_halves(b) << 16));
}
inline void store_pairs(bf16* p, Vec a, Vec b) { store_pairs(p, narrowed(a), narrowed(b)); }
inline void store_pairs(bf16* p, const bf16* a, const bf16* b) { store_pairs(p, halves(a), halves(b)); }

/// The same pair in all 16 places.
inline __m512i splat_pair(const bf16* p) {
  std::int32_t both;
  std::memcpy(&both, p, sizeof both);
  return _mm512_set1_epi32(both);
}
inline __m512i load_pairs(const bf16* p) { return _mm512_loadu_si512(p); }
/// sum + a.first * b.first + a.second * b.second
inline Vec add_products(Vec sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

/// Leaky ReLU; slope 0 is ReLU.
inline Vec activate(Vec a, Vec slope) {
  return _mm512_mask_mul_ps(a, _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NGT_UQ), a, slope);
}
/// g times the derivative of the activation at a.
inline Vec activate_backward(Vec g, Vec a, Vec slope) {
  return _mm512_mask_mul_ps(g, _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NGT_UQ), g, slope);
}

}  // namespace cuboid::bf
#endif
