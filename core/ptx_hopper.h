// SPDX-License-Identifier: Apache-2.0
// PTX of compute capability 9.0: mbarriers, the tensor memory accelerator, registers per warp. Included by core/ptx.h.
#pragma once
#include "core/ptx.h"

#if !CUBOID_EMULATED && defined(__CUDACC__) && GPU_HAS_SM90
namespace cuboid::ptx {

/// One lane of the warp says true.
CUBOID_PTX bool elect_one() {
  std::uint32_t chosen;
  asm volatile(
      "{\n.reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, p;\n}"
      : "=r"(chosen));
  return chosen != 0;
}
/// What threads wrote to shared memory, before, is seen by TMA and wgmma after it (and a barrier).
CUBOID_PTX void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// The reverse of ldmatrix: lanes 8 i to 8 i + 7 give the rows that matrix i is written to.
CUBOID_PTX void stmatrix_x2(void* row, const std::uint32_t (&r)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(smem_u32(row)), "r"(r[0]), "r"(r[1]) : "memory");
}
CUBOID_PTX void stmatrix_x4(void* row, const std::uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(smem_u32(row)), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}
CUBOID_PTX void stmatrix_x4_trans(void* row, const std::uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(smem_u32(row)), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// ---- mbarriers: a phase ends when `count` arrivals and all expected bytes are there ---------------

CUBOID_PTX void mbar_init(std::uint64_t* bar, std::uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_u32(bar)), "r"(count) : "memory");
}
/// After the inits, before the barrier that tells the others.
CUBOID_PTX void mbar_fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
/// Before the memory serves something else.
CUBOID_PTX void mbar_inval(std::uint64_t* bar) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(smem_u32(bar)) : "memory");
}
CUBOID_PTX void mbar_arrive(std::uint64_t* bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_u32(bar)) : "memory");
}
/// Arrives, and announces `bytes` that TMA will bring in this phase.
CUBOID_PTX void mbar_arrive_expect_tx(std::uint64_t* bar, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_u32(bar)), "r"(bytes) : "memory");
}
CUBOID_PTX void mbar_expect_tx(std::uint64_t* bar, std::uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(smem_u32(bar)), "r"(bytes) : "memory");
}
/// An arrival of this thread once its cp.async copies so far are there; the count includes it.
CUBOID_PTX void mbar_arrive_after_cp_async(std::uint64_t* bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(smem_u32(bar)) : "memory");
}
/// Whether the phase of this parity (0 for the first) is over.
CUBOID_PTX bool mbar_test(std::uint64_t* bar, std::uint32_t parity) {
  std::uint32_t over;
  asm volatile(
      "{\n.reg .pred p;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n}"
      : "=r"(over)
      : "r"(smem_u32(bar)), "r"(parity)
      : "memory");
  return over != 0;
}
/// Until it is over.
CUBOID_PTX void mbar_wait(std::uint64_t* bar, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "again_%=:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra over_%=;\n"
      "bra again_%=;\n"
      "over_%=:\n}" ::"r"(smem_u32(bar)),
      "r"(parity)
      : "memory");
}

// ---- TMA: boxes of a tensor between global and shared memory --------------------------------------
// One thread issues. Coordinates are elements, the innermost first; what lies outside the tensor is read as zero and not
// written. Shared memory: 128-byte aligned, with swizzle to 8 rows (1024, 512, 256 bytes for 128B, 64B, 32B).

CUBOID_PTX void tma_prefetch(const gpu::TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
CUBOID_PTX void tma_load_1d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c0) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c0)
      : "memory");
}
CUBOID_PTX void tma_load_2d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   smem_u32(to)),
               "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1)
               : "memory");
}
CUBOID_PTX void tma_load_3d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c0, int c1, int c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
          smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}
CUBOID_PTX void tma_load_4d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
          smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
CUBOID_PTX void tma_load_5d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c0, int c1, int c2, int c3, int c4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(
          smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
      : "memory");
}
/// im2col: the map's number of pixels, from position (w, h, d, n) on in the order of the map's bounding box, each moved by
/// (ow, oh, od) >= 0; channels from c. Tensors are N, D, H, W, C, channels innermost; 4D: without D.
CUBOID_PTX void tma_load_im2col_5d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c, int w, int h, int d, int n,
                                   std::uint16_t ow, std::uint16_t oh, std::uint16_t od) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], "
      "[%2], {%8, %9, %10};" ::"r"(smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c), "r"(w), "r"(h), "r"(d), "r"(n), "h"(ow), "h"(oh), "h"(od)
      : "memory");
}
CUBOID_PTX void tma_load_im2col_4d(void* to, const gpu::TensorMap* map, std::uint64_t* bar, int c, int w, int h, int n,
                                   std::uint16_t ow, std::uint16_t oh) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], "
      "{%7, %8};" ::"r"(smem_u32(to)),
      "l"(map), "r"(smem_u32(bar)), "r"(c), "r"(w), "r"(h), "r"(n), "h"(ow), "h"(oh)
      : "memory");
}
/// Contiguous bytes, a multiple of 16, both addresses too.
CUBOID_PTX void bulk_load(void* to, const void* from, std::uint32_t bytes, std::uint64_t* bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(smem_u32(to)),
               "l"(from), "r"(bytes), "r"(smem_u32(bar))
               : "memory");
}

/// Stores belong to the thread's bulk group.
CUBOID_PTX void tma_store_2d(const gpu::TensorMap* map, const void* from, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(smem_u32(from)),
               "r"(c0), "r"(c1)
               : "memory");
}
CUBOID_PTX void tma_store_5d(const gpu::TensorMap* map, const void* from, int c0, int c1, int c2, int c3, int c4) {
  asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map),
               "r"(smem_u32(from)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
               : "memory");
}
CUBOID_PTX void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// All bulk groups but the last `keep` have read their shared memory; have written too.
template <int keep>
CUBOID_PTX void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(keep) : "memory");
}
template <int keep>
CUBOID_PTX void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(keep) : "memory");
}

#if GPU_HAS_SM90A
/// Registers per thread of this warpgroup from here on: 24 to 256, a multiple of 8. Producers give, consumers take.
template <int count>
CUBOID_PTX void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
CUBOID_PTX void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
#endif

}  // namespace cuboid::ptx
#endif
