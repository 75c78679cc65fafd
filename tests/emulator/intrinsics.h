// SPDX-License-Identifier: Apache-2.0
// CUDA's small functions that a C++ compiler does not know: loads and stores with cache hints, fast maths, bits, atomics.
// Approximate functions are exact here; the device's differ in the last bits.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/emulator/builtins.h"
#include "tests/emulator/sync.h"

using std::max;
using std::min;
template <class A, class B>
concept CuboidMixed = std::is_arithmetic_v<A> && std::is_arithmetic_v<B> && !std::is_same_v<A, B>;
template <class A, class B>
requires CuboidMixed<A, B>
constexpr auto max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) > static_cast<C>(b) ? static_cast<C>(a) : static_cast<C>(b);
}
template <class A, class B>
requires CuboidMixed<A, B>
constexpr auto min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(a) : static_cast<C>(b);
}

// ---- loads and stores --------------------------------------------------------------------------

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldca(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stwb(T* p, std::type_identity_t<T> v) {
  *p = v;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> v) {
  *p = v;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
  *p = v;
}

// ---- floats ------------------------------------------------------------------------------------

inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __tanf(float x) { return std::tan(x); }
inline void __sincosf(float x, float* s, float* c) { *s = std::sin(x), *c = std::cos(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.f / std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.f / x; }
inline float __saturatef(float x) { return x > 0 ? std::min(x, 1.f) : 0.f; }  // NaN becomes 0
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline double rsqrt(double x) { return 1. / std::sqrt(x); }

inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(std::ceil(x)); }

// Device-only functions of NVIDIA's 16-bit headers.
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
  return __float2bfloat16(std::fma(__bfloat162float(a), __bfloat162float(b), __bfloat162float(c)));
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
  return __nv_bfloat162(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}
inline __half __hfma(__half a, __half b, __half c) {
  return __float2half(std::fma(__half2float(a), __half2float(b), __half2float(c)));
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return __half2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }

// ---- bits --------------------------------------------------------------------------------------

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline int __ffsll(long long x) { return x ? std::countr_zero(static_cast<unsigned long long>(x)) + 1 : 0; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(std::int64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(Wide{a} * b >> 64);
}
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
  return r;
}
/// Four bytes of the eight in (low, high), each chosen by the lower three bits of a nibble.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned choice) {
  const std::uint64_t both = std::uint64_t{high} << 32 | low;
  unsigned r = 0;
  for (unsigned i = 0; i < 4; ++i) r |= static_cast<unsigned>(both >> (choice >> 4 * i & 7u) * 8 & 0xffu) << 8 * i;
  return r;
}

// ---- atomics: no other device thread runs in between; the check build is told ------------------

namespace cuboid::emulator {
template <class T, class F>
CUBOID_UNCHECKED T atomic(T* p, Where at, F&& f) {
  note_atomic(p, sizeof(T), at);
  const T before = *p;
  *p = f(before);
  return before;
}
}  // namespace cuboid::emulator

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return static_cast<T>(x + v); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return static_cast<T>(x - v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return x > v ? x : v; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return x < v ? x : v; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T) CUBOID_UNCHECKED { return v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return static_cast<T>(x | v); });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return static_cast<T>(x & v); });
}
template <class T>
T atomicXor(T* p, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](T x) CUBOID_UNCHECKED { return static_cast<T>(x ^ v); });
}
/// Counts up to `limit`, then starts again at 0.
inline unsigned atomicInc(unsigned* p, unsigned limit, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at, [=](unsigned x) CUBOID_UNCHECKED { return x >= limit ? 0u : x + 1; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v, CUBOID_WHERE) {
  return cuboid::emulator::atomic(p, at,
                                  [=](T x) CUBOID_UNCHECKED { return std::memcmp(&x, &expected, sizeof(T)) == 0 ? v : x; });
}
