// SPDX-License-Identifier: Apache-2.0
// Barriers, warp operations and fences under their CUDA names.
#pragma once
#include <type_traits>

#include "tests/emulator/access.h"
#include "tests/emulator/where.h"

namespace cuboid::emulator {

/// `threads` of the block meet at barrier `id`; 0 means the whole block.
void barrier_sync(int id, int threads, Where at);
/// Counts for the barrier without waiting.
void barrier_arrive(int id, int threads, Where at);
struct Votes {
  int count, all, any;
};
Votes barrier_vote(bool vote, Where at);

using WarpFunction = void (*)(void* arguments[32], std::uint32_t mask);
/// All lanes of `mask` meet; the last one calls `function` (may be null) with the arguments of all.
void warp_meet(std::uint32_t mask, int kind, void* argument, WarpFunction function, Where at);
using WarpgroupFunction = void (*)(void* arguments[128]);
/// The same for the 128 threads of a warpgroup.
void warpgroup_meet(int kind, void* argument, WarpgroupFunction function, Where at);
std::uint32_t lane_id();
/// One lane of the full warp; which one depends on the seed.
bool elect_one(Where at);

/// Kinds of meetings: lanes that come with different ones diverge.
enum Meeting : int { sync = 1, shuffle, vote, reduction, match, matrix, wgmma_operation, election, registers };

/// One value from lane `source` of the warp; `bytes` is 1, 2, 4 or 8.
std::uint64_t shuffle_bits(std::uint32_t mask, std::uint64_t bits, int bytes, int source, Where at);
std::uint32_t ballot(std::uint32_t mask, bool vote, Where at);
std::uint32_t match_any(std::uint32_t mask, std::uint64_t bits, Where at);
/// Sums modulo 2^32, extrema signed or not, and bit operations, over the lanes of `mask`.
enum class Reduce { add, min_signed, max_signed, min_unsigned, max_unsigned, bit_and, bit_or, bit_xor };
std::uint32_t reduce(Reduce what, std::uint32_t mask, std::uint32_t value, Where at);

template <class T>
T shuffle_from(std::uint32_t mask, T value, int source, Where at) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = shuffle_bits(mask, bits, sizeof(T), source, at);
  __builtin_memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  return value;
}

}  // namespace cuboid::emulator

#define CUBOID_WHERE ::cuboid::emulator::Where at = ::cuboid::emulator::Where::current()

inline void __syncthreads(CUBOID_WHERE) { cuboid::emulator::barrier_sync(0, 0, at); }
inline int __syncthreads_count(int p, CUBOID_WHERE) { return cuboid::emulator::barrier_vote(p != 0, at).count; }
inline int __syncthreads_and(int p, CUBOID_WHERE) { return cuboid::emulator::barrier_vote(p != 0, at).all; }
inline int __syncthreads_or(int p, CUBOID_WHERE) { return cuboid::emulator::barrier_vote(p != 0, at).any; }
inline void __threadfence() { cuboid::emulator::thread_fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { cuboid::emulator::thread_fence(); }

inline void __syncwarp(unsigned mask = ~0u, CUBOID_WHERE) {
  cuboid::emulator::warp_meet(mask, cuboid::emulator::sync, nullptr, nullptr, at);
}

// A source lane beyond the segment of `width` lanes leaves the value as it is.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUBOID_WHERE) {
  const int lane = static_cast<int>(cuboid::emulator::lane_id());
  return cuboid::emulator::shuffle_from(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUBOID_WHERE) {
  const int lane = static_cast<int>(cuboid::emulator::lane_id()), source = lane - static_cast<int>(delta);
  return cuboid::emulator::shuffle_from(mask, value, source >= (lane & ~(width - 1)) ? source : lane, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUBOID_WHERE) {
  const int lane = static_cast<int>(cuboid::emulator::lane_id()), source = lane + static_cast<int>(delta);
  return cuboid::emulator::shuffle_from(mask, value, source <= (lane | (width - 1)) ? source : lane, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CUBOID_WHERE) {
  const int lane = static_cast<int>(cuboid::emulator::lane_id()), source = lane ^ lanes;
  return cuboid::emulator::shuffle_from(mask, value, source <= (lane | (width - 1)) ? source : lane, at);
}

inline unsigned __ballot_sync(unsigned mask, int p, CUBOID_WHERE) { return cuboid::emulator::ballot(mask, p != 0, at); }
inline int __any_sync(unsigned mask, int p, CUBOID_WHERE) { return cuboid::emulator::ballot(mask, p != 0, at) != 0; }
inline int __all_sync(unsigned mask, int p, CUBOID_WHERE) { return cuboid::emulator::ballot(mask, p != 0, at) == mask; }
template <class T>
unsigned __match_any_sync(unsigned mask, T value, CUBOID_WHERE) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return cuboid::emulator::match_any(mask, bits, at);
}

inline int __reduce_add_sync(unsigned mask, int v, CUBOID_WHERE) {
  return static_cast<int>(reduce(cuboid::emulator::Reduce::add, mask, static_cast<unsigned>(v), at));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::add, mask, v, at);
}
inline int __reduce_min_sync(unsigned mask, int v, CUBOID_WHERE) {
  return static_cast<int>(reduce(cuboid::emulator::Reduce::min_signed, mask, static_cast<unsigned>(v), at));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::min_unsigned, mask, v, at);
}
inline int __reduce_max_sync(unsigned mask, int v, CUBOID_WHERE) {
  return static_cast<int>(reduce(cuboid::emulator::Reduce::max_signed, mask, static_cast<unsigned>(v), at));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::max_unsigned, mask, v, at);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::bit_and, mask, v, at);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::bit_or, mask, v, at);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned v, CUBOID_WHERE) {
  return reduce(cuboid::emulator::Reduce::bit_xor, mask, v, at);
}
