// SPDX-License-Identifier: Apache-2.0
// Every PTX instruction the kernels use, one function each; no other file has inline assembly. Each has a functional model
// in the emulator (tests/emulator/ptx.h) and a case in tests/emulator/ptx_conformance.cu, which runs on both.
// Below: compute capability 8.0. ptx_hopper.h: mbarriers and TMA; ptx_wgmma.h: matrix products of a warpgroup (9.0).
// 16-bit matrices are 8x8 pieces; lane l of a fragment holds row l / 4, columns 2 (l % 4) and the next.
#pragma once
#include "core/gpu.h"

#if CUBOID_EMULATED
#include "tests/emulator/ptx.h"
#else

#define CUBOID_PTX __device__ __forceinline__

namespace cuboid::gpu {
/// What TMA knows of a tensor in global memory (CUtensorMap); made by core/tensor_map.h, given to a kernel as
/// `const __grid_constant__ gpu::TensorMap map`.
struct alignas(128) TensorMap {
  unsigned long long opaque[16];
};
}  // namespace cuboid::gpu

#if defined(__CUDACC__)
namespace cuboid::ptx {

/// Address within the block's shared memory.
CUBOID_PTX std::uint32_t smem_u32(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

// ---- asynchronous copies from global to shared memory ------------------------------------------

/// `bytes` of them (0 to N) are copied, zeros up to N follow. N is 4, 8 or 16; both addresses are multiples of it.
template <int N>
CUBOID_PTX void cp_async(void* to, const void* from, int bytes = N) {
  static_assert(N == 4 || N == 8 || N == 16);
  if constexpr (N == 16)  // past L1: nobody reads it twice
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_u32(to)), "l"(from), "r"(bytes) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(smem_u32(to)), "l"(from), "n"(N), "r"(bytes) : "memory");
}
CUBOID_PTX void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// All groups but the last `keep` have arrived, for this thread; others need a barrier after it.
template <int keep>
CUBOID_PTX void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(keep) : "memory");
}

// ---- matrices from and to shared memory --------------------------------------------------------

/// Lanes 8 i to 8 i + 7 give the rows (16 bytes, aligned) of matrix i; r[i] is this lane's part of it.
CUBOID_PTX void ldmatrix_x1(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(smem_u32(row)) : "memory");
}
CUBOID_PTX void ldmatrix_x2(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(smem_u32(row))
               : "memory");
}
CUBOID_PTX void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_u32(row))
               : "memory");
}
/// Each 8x8 matrix transposed on the way.
CUBOID_PTX void ldmatrix_x1_trans(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(smem_u32(row)) : "memory");
}
CUBOID_PTX void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(smem_u32(row))
               : "memory");
}
CUBOID_PTX void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_u32(row))
               : "memory");
}

// ---- matrix products of a warp: d (16x8, f32) += a (16xk) b (kx8) --------------------------------

/// a: pieces (rows 0-7, k 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15); b: columns of k 0-7 and 8-15, that is ldmatrix of b's
/// transpose; d[0], d[1]: row l / 4, columns 2 (l % 4) and the next; d[2], d[3]: eight rows below.
CUBOID_PTX void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
CUBOID_PTX void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// TF32: f32 whose lower 13 bits are ignored. a: (l / 4, l % 4), then eight rows below, then both four columns to the right;
/// b: (l % 4, l / 4), then four rows below.
CUBOID_PTX void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Rounded to TF32, ties away from zero.
CUBOID_PTX std::uint32_t to_tf32(float x) {
  std::uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// ---- barriers of part of a block ---------------------------------------------------------------

/// `threads` (a multiple of 32) meet at barrier `id` (1 to 15).
CUBOID_PTX void named_bar_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
/// Counts without waiting.
CUBOID_PTX void named_bar_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

}  // namespace cuboid::ptx
#endif
#endif

#include "core/ptx_hopper.h"
#include "core/ptx_wgmma.h"
