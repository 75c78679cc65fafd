// SPDX-License-Identifier: Apache-2.0
// What g++ -fsanitize=thread calls in the kernels' translation units: our own runtime instead of libtsan. Calls from host code
// in the same units return at once.
#if CUBOID_EMULATOR_CHECK
#include "tests/emulator/machine.h"
#include "tests/emulator/shadow.h"

namespace {

using cuboid::emulator::current;
using cuboid::emulator::race::Access;
using cuboid::emulator::race::Site;

template <Access access>
[[gnu::always_inline]] inline void touch(const void* p, std::size_t bytes, const void* pc) {
  if (current) cuboid::emulator::race::check_access<access>(p, bytes, Site{pc, {}});
}
template <Access access, std::size_t bytes>
[[gnu::always_inline]] inline void touch_aligned(const void* p, const void* pc) {
  if (!current) return;
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0)
    cuboid::emulator::race::bad_access("misaligned", p, bytes, Site{pc, {}}, "not a multiple of its size");
  cuboid::emulator::race::check_access<access>(p, bytes, Site{pc, {}});
}

}  // namespace

#define CUBOID_TSAN(N)                                                                               \
  void __tsan_read##N(void* p) { touch_aligned<Access::read, N>(p, __builtin_return_address(0)); }   \
  void __tsan_write##N(void* p) { touch_aligned<Access::write, N>(p, __builtin_return_address(0)); } \
  void __tsan_unaligned_read##N(void* p) { touch<Access::read>(p, N, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##N(void* p) { touch<Access::write>(p, N, __builtin_return_address(0)); }

// std::atomic in host code of these units: shared_ptr, gtest.
#define CUBOID_TSAN_ATOMIC(bits, T)                                                                                 \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_and(volatile T* p, T v, int) { return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_or(volatile T* p, T v, int) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }   \
  T __tsan_atomic##bits##_fetch_xor(volatile T* p, T v, int) { return __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST); } \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* c, T v, int, int) {                           \
    return __atomic_compare_exchange_n(p, c, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* c, T v, int, int) {                             \
    return __atomic_compare_exchange_n(p, c, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                          \
  }

extern "C" {
CUBOID_TSAN(1)
CUBOID_TSAN(2)
CUBOID_TSAN(4)
CUBOID_TSAN(8)
CUBOID_TSAN(16)
void __tsan_read_range(void* p, std::size_t n) { touch<Access::read>(p, n, __builtin_return_address(0)); }
void __tsan_write_range(void* p, std::size_t n) { touch<Access::write>(p, n, __builtin_return_address(0)); }
CUBOID_TSAN_ATOMIC(8, std::uint8_t)
CUBOID_TSAN_ATOMIC(16, std::uint16_t)
CUBOID_TSAN_ATOMIC(32, std::uint32_t)
CUBOID_TSAN_ATOMIC(64, std::uint64_t)
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
#endif
