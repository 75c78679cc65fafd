// SPDX-License-Identifier: Apache-2.0
// wgmma (compute capability 9.0a): d (64xn, f32) = or += a (64xk) b (kxn) for the 128 threads of a warpgroup, asynchronous.
// Included by core/ptx.h. k is 16 for bf16 and f16, 8 for TF32; n is one of 8, 16, 32, 64, 96, 128, 192, 256.
//
// Thread t holds row 16 (t / 32) + t % 32 / 4 in d[4 j], d[4 j + 1] (columns 8 j + 2 (t % 4) and the next), and eight rows
// below in d[4 j + 2], d[4 j + 3]. The registers belong to the hardware from the instruction to wgmma_wait.
#pragma once
#include "core/ptx.h"

#if !CUBOID_EMULATED && defined(__CUDACC__)
namespace cuboid::ptx {

/// How an operand lies in shared memory: pieces of 8 rows, each row 128, 64 or 32 bytes of k (or 16 bytes), its 16-byte
/// chunks exchanged by XOR with the row's number as TMA does.
enum class Swizzle : int { none = 0, b128 = 1, b64 = 2, b32 = 3 };

/// Descriptor of an operand at `p`. `stride_bytes`: between pieces of 8 rows along m or n (K-major), or of 8 k (MN-major).
/// `leading_bytes`: between the two halves of k (K-major, no swizzle), or between pieces of a swizzle width along m or n
/// (MN-major). The next k of a K-major operand within a swizzled row: + 32 bytes, that is + 2.
CUBOID_PTX std::uint64_t wgmma_desc(const void* p, Swizzle swizzle, int stride_bytes, int leading_bytes = 16) {
  return static_cast<std::uint64_t>((smem_u32(p) & 0x3ffff) >> 4) | static_cast<std::uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<std::uint64_t>(stride_bytes >> 4) << 32 | static_cast<std::uint64_t>(swizzle) << 62;
}
/// K-major rows of 128 bytes with 128-byte swizzle: 64 elements of 16 bits.
CUBOID_PTX std::uint64_t wgmma_desc_sw128(const void* p) { return wgmma_desc(p, Swizzle::b128, 1024); }

#if GPU_HAS_SM90A
/// Before the first wgmma of a sequence, and whenever its registers were touched.
CUBOID_PTX void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
CUBOID_PTX void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// All groups but the last `keep` are complete: their registers are the thread's again, their shared memory is read.
template <int keep>
CUBOID_PTX void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(keep) : "memory");
}

// Register lists: f32 operands %0 to %(n/2 - 1), their constraints, and one function per n.
#define CUBOID_F4(d, i) "+f"((d)[i]), "+f"((d)[(i) + 1]), "+f"((d)[(i) + 2]), "+f"((d)[(i) + 3])
#define CUBOID_F8(d, i) CUBOID_F4(d, i), CUBOID_F4(d, (i) + 4)
#define CUBOID_F16(d, i) CUBOID_F8(d, i), CUBOID_F8(d, (i) + 8)
#define CUBOID_F32(d, i) CUBOID_F16(d, i), CUBOID_F16(d, (i) + 16)
#define CUBOID_F64(d, i) CUBOID_F32(d, i), CUBOID_F32(d, (i) + 32)
#define CUBOID_P4 "%0, %1, %2, %3"
#define CUBOID_P8 CUBOID_P4 ", %4, %5, %6, %7"
#define CUBOID_P16 CUBOID_P8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define CUBOID_P32 CUBOID_P16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define CUBOID_P48 CUBOID_P32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define CUBOID_P64 CUBOID_P48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define CUBOID_P96                                                                                            \
  CUBOID_P64                                                                                                  \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84" \
  ", %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define CUBOID_P128                                                                                          \
  CUBOID_P96                                                                                                 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113" \
  ", %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define CUBOID_LIST4 CUBOID_F4(d, 0)
#define CUBOID_LIST8 CUBOID_F8(d, 0)
#define CUBOID_LIST16 CUBOID_F16(d, 0)
#define CUBOID_LIST32 CUBOID_F32(d, 0)
#define CUBOID_LIST48 CUBOID_F32(d, 0), CUBOID_F16(d, 32)
#define CUBOID_LIST64 CUBOID_F64(d, 0)
#define CUBOID_LIST96 CUBOID_F64(d, 0), CUBOID_F32(d, 64)
#define CUBOID_LIST128 CUBOID_F64(d, 0), CUBOID_F64(d, 64)
// Operands after the registers: a, b, accumulate, and whether a and b are MN-major ("transposed").
#define CUBOID_WGMMA_SS(n, list, p, a, b, s, ta, tb, type)                                                                \
  if constexpr (N == n)                                                                                                   \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #s ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n type " {" p "}, %" #a \
               ", %" #b ", p, 1, 1, %" #ta ", %" #tb ";\n}"                                                               \
               : list                                                                                                     \
               : "l"(da), "l"(db), "r"(static_cast<int>(accumulate)), "n"(trans_a), "n"(trans_b))
// a from registers.
#define CUBOID_WGMMA_RS(n, list, p, a0, a1, a2, a3, b, s, tb, type)                                                         \
  if constexpr (N == n)                                                                                                     \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #s ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n type " {" p "}, {%" #a0 \
               ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b ", p, 1, 1, %" #tb ";\n}"                                            \
               : list                                                                                                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(db), "r"(static_cast<int>(accumulate)), "n"(trans_b))
// TF32 knows K-major operands only.
#define CUBOID_WGMMA_TF32(n, list, p, a, b, s)                                                                             \
  if constexpr (N == n)                                                                                                    \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #s ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k8.f32.tf32.tf32 {" p \
               "}, %" #a ", %" #b ", p, 1, 1;\n}"                                                                          \
               : list                                                                                                      \
               : "l"(da), "l"(db), "r"(static_cast<int>(accumulate)))
#define CUBOID_WGMMA_SS_EVERY(type)                                           \
  CUBOID_WGMMA_SS(8, CUBOID_LIST4, CUBOID_P4, 4, 5, 6, 7, 8, type);           \
  CUBOID_WGMMA_SS(16, CUBOID_LIST8, CUBOID_P8, 8, 9, 10, 11, 12, type);       \
  CUBOID_WGMMA_SS(32, CUBOID_LIST16, CUBOID_P16, 16, 17, 18, 19, 20, type);   \
  CUBOID_WGMMA_SS(64, CUBOID_LIST32, CUBOID_P32, 32, 33, 34, 35, 36, type);   \
  CUBOID_WGMMA_SS(96, CUBOID_LIST48, CUBOID_P48, 48, 49, 50, 51, 52, type);   \
  CUBOID_WGMMA_SS(128, CUBOID_LIST64, CUBOID_P64, 64, 65, 66, 67, 68, type);  \
  CUBOID_WGMMA_SS(192, CUBOID_LIST96, CUBOID_P96, 96, 97, 98, 99, 100, type); \
  CUBOID_WGMMA_SS(256, CUBOID_LIST128, CUBOID_P128, 128, 129, 130, 131, 132, type);
#define CUBOID_WGMMA_RS_EVERY(type)                                                     \
  CUBOID_WGMMA_RS(8, CUBOID_LIST4, CUBOID_P4, 4, 5, 6, 7, 8, 9, 10, type);              \
  CUBOID_WGMMA_RS(16, CUBOID_LIST8, CUBOID_P8, 8, 9, 10, 11, 12, 13, 14, type);         \
  CUBOID_WGMMA_RS(32, CUBOID_LIST16, CUBOID_P16, 16, 17, 18, 19, 20, 21, 22, type);     \
  CUBOID_WGMMA_RS(64, CUBOID_LIST32, CUBOID_P32, 32, 33, 34, 35, 36, 37, 38, type);     \
  CUBOID_WGMMA_RS(96, CUBOID_LIST48, CUBOID_P48, 48, 49, 50, 51, 52, 53, 54, type);     \
  CUBOID_WGMMA_RS(128, CUBOID_LIST64, CUBOID_P64, 64, 65, 66, 67, 68, 69, 70, type);    \
  CUBOID_WGMMA_RS(192, CUBOID_LIST96, CUBOID_P96, 96, 97, 98, 99, 100, 101, 102, type); \
  CUBOID_WGMMA_RS(256, CUBOID_LIST128, CUBOID_P128, 128, 129, 130, 131, 132, 133, 134, type);

/// Both operands in shared memory. `trans_a`, `trans_b`: 1 for MN-major. `accumulate` false: d = a b.
template <int N, int trans_a = 0, int trans_b = 0>
CUBOID_PTX void wgmma_m64k16_bf16(float (&d)[N / 2], std::uint64_t da, std::uint64_t db, bool accumulate = true) {
  CUBOID_WGMMA_SS_EVERY("k16.f32.bf16.bf16")
}
template <int N, int trans_a = 0, int trans_b = 0>
CUBOID_PTX void wgmma_m64k16_f16(float (&d)[N / 2], std::uint64_t da, std::uint64_t db, bool accumulate = true) {
  CUBOID_WGMMA_SS_EVERY("k16.f32.f16.f16")
}
/// a from registers, as for mma_m16n8k16: each warp its 16 rows.
template <int N, int trans_b = 0>
CUBOID_PTX void wgmma_m64k16_bf16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t db, bool accumulate = true) {
  CUBOID_WGMMA_RS_EVERY("k16.f32.bf16.bf16")
}
template <int N, int trans_b = 0>
CUBOID_PTX void wgmma_m64k16_f16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t db, bool accumulate = true) {
  CUBOID_WGMMA_RS_EVERY("k16.f32.f16.f16")
}
template <int N>
CUBOID_PTX void wgmma_m64k8_tf32(float (&d)[N / 2], std::uint64_t da, std::uint64_t db, bool accumulate = true) {
  CUBOID_WGMMA_TF32(8, CUBOID_LIST4, CUBOID_P4, 4, 5, 6);
  CUBOID_WGMMA_TF32(16, CUBOID_LIST8, CUBOID_P8, 8, 9, 10);
  CUBOID_WGMMA_TF32(32, CUBOID_LIST16, CUBOID_P16, 16, 17, 18);
  CUBOID_WGMMA_TF32(64, CUBOID_LIST32, CUBOID_P32, 32, 33, 34);
  CUBOID_WGMMA_TF32(96, CUBOID_LIST48, CUBOID_P48, 48, 49, 50);
  CUBOID_WGMMA_TF32(128, CUBOID_LIST64, CUBOID_P64, 64, 65, 66);
  CUBOID_WGMMA_TF32(192, CUBOID_LIST96, CUBOID_P96, 96, 97, 98);
  CUBOID_WGMMA_TF32(256, CUBOID_LIST128, CUBOID_P128, 128, 129, 130);
}
#endif

}  // namespace cuboid::ptx
#endif
