// SPDX-License-Identifier: Apache-2.0
// core/ptx.h for the emulator: the same functions, each a call of its model.
#pragma once
#include <bit>
#include <cstdint>

#include "tests/emulator/access.h"
#include "tests/emulator/async.h"
#include "tests/emulator/emulator.h"
#include "tests/emulator/matrix.h"
#include "tests/emulator/tma.h"

namespace cuboid::ptx {

using emulator::Where;
using std::uint16_t, std::uint32_t, std::uint64_t;

inline uint32_t smem_u32(const void* p) { return emulator::shared_address(p); }

// ---- cp.async, ldmatrix, mma, named barriers ---------------------------------------------------

template <int N>
void cp_async(void* to, const void* from, int bytes = N, Where at = Where::current()) {
  static_assert(N == 4 || N == 8 || N == 16);
  emulator::cp_async(to, from, N, bytes, at);
}
inline void cp_async_commit() { emulator::cp_async_commit(); }
template <int keep>
void cp_async_wait() {
  emulator::cp_async_wait(keep);
}

inline void ldmatrix_x1(uint32_t (&r)[1], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 1, false, at);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 2, false, at);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 4, false, at);
}
inline void ldmatrix_x1_trans(uint32_t (&r)[1], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 1, true, at);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 2, true, at);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Where at = Where::current()) {
  emulator::load_matrices(r, row, 4, true, at);
}
inline void stmatrix_x2(void* row, const uint32_t (&r)[2], Where at = Where::current()) {
  emulator::store_matrices(row, r, 2, false, at);
}
inline void stmatrix_x4(void* row, const uint32_t (&r)[4], Where at = Where::current()) {
  emulator::store_matrices(row, r, 4, false, at);
}
inline void stmatrix_x4_trans(void* row, const uint32_t (&r)[4], Where at = Where::current()) {
  emulator::store_matrices(row, r, 4, true, at);
}

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where at = Where::current()) {
  emulator::multiply(d, a, b, emulator::Element::bf16, at);
}
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where at = Where::current()) {
  emulator::multiply(d, a, b, emulator::Element::f16, at);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where at = Where::current()) {
  emulator::multiply(d, a, b, emulator::Element::tf32, at);
}
inline uint32_t to_tf32(float x) { return (std::bit_cast<uint32_t>(x) + 0x1000u) & 0xffffe000u; }

inline void named_bar_sync(int id, int threads, Where at = Where::current()) { emulator::barrier_sync(id, threads, at); }
inline void named_bar_arrive(int id, int threads, Where at = Where::current()) { emulator::barrier_arrive(id, threads, at); }

// ---- mbarriers and TMA -------------------------------------------------------------------------

inline bool elect_one(Where at = Where::current()) { return emulator::elect_one(at); }
inline void fence_proxy_async() { emulator::proxy_fence(); }
template <int count>
void setmaxnreg_inc(Where at = Where::current()) {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulator::warpgroup_meet(emulator::registers, nullptr, nullptr, at);
}
template <int count>
void setmaxnreg_dec(Where at = Where::current()) {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulator::warpgroup_meet(emulator::registers, nullptr, nullptr, at);
}

inline void mbar_init(uint64_t* bar, uint32_t count, Where at = Where::current()) { emulator::mbarrier_init(bar, count, at); }
inline void mbar_fence_init() {}
inline void mbar_inval(uint64_t* bar, Where at = Where::current()) { emulator::mbarrier_invalidate(bar, at); }
inline void mbar_arrive(uint64_t* bar, Where at = Where::current()) { emulator::mbarrier_arrive(bar, 1, 0, at); }
inline void mbar_arrive_expect_tx(uint64_t* bar, uint32_t bytes, Where at = Where::current()) {
  emulator::mbarrier_arrive(bar, 1, bytes, at);
}
inline void mbar_expect_tx(uint64_t* bar, uint32_t bytes, Where at = Where::current()) {
  emulator::mbarrier_expect(bar, bytes, at);
}
inline void mbar_arrive_after_cp_async(uint64_t* bar, Where at = Where::current()) {
  emulator::mbarrier_arrive_after_copies(bar, at);
}
inline bool mbar_test(uint64_t* bar, uint32_t parity, Where at = Where::current()) {
  return emulator::mbarrier_test(bar, parity, at);
}
inline void mbar_wait(uint64_t* bar, uint32_t parity, Where at = Where::current()) { emulator::mbarrier_wait(bar, parity, at); }

inline void tma_prefetch(const gpu::TensorMap*) {}
inline void tma_load_1d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c0, Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c0}, 1, false, {}, at);
}
inline void tma_load_2d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c0, int c1, Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c0, c1}, 2, false, {}, at);
}
inline void tma_load_3d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c0, int c1, int c2, Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c0, c1, c2}, 3, false, {}, at);
}
inline void tma_load_4d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c0, int c1, int c2, int c3,
                        Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c0, c1, c2, c3}, 4, false, {}, at);
}
inline void tma_load_5d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c0, int c1, int c2, int c3, int c4,
                        Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c0, c1, c2, c3, c4}, 5, false, {}, at);
}
inline void tma_load_im2col_5d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c, int w, int h, int d, int n, uint16_t ow,
                               uint16_t oh, uint16_t od, Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c, w, h, d, n}, 5, true, {ow, oh, od}, at);
}
inline void tma_load_im2col_4d(void* to, const gpu::TensorMap* map, uint64_t* bar, int c, int w, int h, int n, uint16_t ow,
                               uint16_t oh, Where at = Where::current()) {
  emulator::tma_load(to, map, bar, {c, w, h, n}, 4, true, {ow, oh}, at);
}
inline void bulk_load(void* to, const void* from, uint32_t bytes, uint64_t* bar, Where at = Where::current()) {
  emulator::bulk_load(to, from, bytes, bar, at);
}
inline void tma_store_2d(const gpu::TensorMap* map, const void* from, int c0, int c1, Where at = Where::current()) {
  emulator::tma_store(map, from, {c0, c1}, 2, at);
}
inline void tma_store_5d(const gpu::TensorMap* map, const void* from, int c0, int c1, int c2, int c3, int c4,
                         Where at = Where::current()) {
  emulator::tma_store(map, from, {c0, c1, c2, c3, c4}, 5, at);
}
inline void bulk_commit() { emulator::bulk_commit(); }
template <int keep>
void bulk_wait_read() {
  emulator::bulk_wait(keep);
}
template <int keep>
void bulk_wait() {
  emulator::bulk_wait(keep);
}

// ---- wgmma -------------------------------------------------------------------------------------

enum class Swizzle : int { none = 0, b128 = 1, b64 = 2, b32 = 3 };
inline uint64_t wgmma_desc(const void* p, Swizzle swizzle, int stride_bytes, int leading_bytes = 16) {
  return static_cast<uint64_t>((smem_u32(p) & 0x3ffff) >> 4) | static_cast<uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}
inline uint64_t wgmma_desc_sw128(const void* p) { return wgmma_desc(p, Swizzle::b128, 1024); }
inline void wgmma_fence(Where at = Where::current()) { emulator::wgmma_fence(at); }
inline void wgmma_commit() { emulator::wgmma_commit(); }
template <int keep>
void wgmma_wait(Where at = Where::current()) {
  emulator::wgmma_wait(keep, at);
}

template <int N>
constexpr bool wgmma_size = N == 8 || N == 16 || N == 32 || N == 64 || N == 96 || N == 128 || N == 192 || N == 256;

template <int N, int trans_a = 0, int trans_b = 0>
void wgmma_m64k16_bf16(float (&d)[N / 2], uint64_t da, uint64_t db, bool accumulate = true, Where at = Where::current()) {
  static_assert(wgmma_size<N>);
  emulator::wgmma(d, N, {da, trans_a != 0, nullptr}, {db, trans_b != 0, nullptr}, accumulate, emulator::Element::bf16, at);
}
template <int N, int trans_a = 0, int trans_b = 0>
void wgmma_m64k16_f16(float (&d)[N / 2], uint64_t da, uint64_t db, bool accumulate = true, Where at = Where::current()) {
  static_assert(wgmma_size<N>);
  emulator::wgmma(d, N, {da, trans_a != 0, nullptr}, {db, trans_b != 0, nullptr}, accumulate, emulator::Element::f16, at);
}
template <int N, int trans_b = 0>
void wgmma_m64k16_bf16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t db, bool accumulate = true,
                       Where at = Where::current()) {
  static_assert(wgmma_size<N>);
  emulator::wgmma(d, N, {0, false, a}, {db, trans_b != 0, nullptr}, accumulate, emulator::Element::bf16, at);
}
template <int N, int trans_b = 0>
void wgmma_m64k16_f16(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t db, bool accumulate = true,
                      Where at = Where::current()) {
  static_assert(wgmma_size<N>);
  emulator::wgmma(d, N, {0, false, a}, {db, trans_b != 0, nullptr}, accumulate, emulator::Element::f16, at);
}
template <int N>
void wgmma_m64k8_tf32(float (&d)[N / 2], uint64_t da, uint64_t db, bool accumulate = true, Where at = Where::current()) {
  static_assert(wgmma_size<N>);
  emulator::wgmma(d, N, {da, false, nullptr}, {db, false, nullptr}, accumulate, emulator::Element::tf32, at);
}

}  // namespace cuboid::ptx
