// SPDX-License-Identifier: Apache-2.0
// Copies that go on while the thread does: cp.async, and the engine behind TMA with its mbarriers.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tests/emulator/where.h"

namespace cuboid::emulator {

/// Copies `from_bytes` and zeros up to `bytes`. The destination is poisoned until the thread waits for the group.
void cp_async(void* to, const void* from, int bytes, int from_bytes, Where at);
void cp_async_commit();
/// All groups but the last `keep` are complete.
void cp_async_wait(int keep);

void mbarrier_init(std::uint64_t* barrier, std::uint32_t count, Where at);
void mbarrier_invalidate(std::uint64_t* barrier, Where at);
/// `count` arrivals, and so many more bytes to wait for.
void mbarrier_arrive(std::uint64_t* barrier, std::uint32_t count, std::uint32_t expect_bytes, Where at);
/// More bytes to wait for, without arriving.
void mbarrier_expect(std::uint64_t* barrier, std::uint32_t bytes, Where at);
/// Until the phase with this parity is complete.
void mbarrier_wait(std::uint64_t* barrier, std::uint32_t parity, Where at);
bool mbarrier_test(std::uint64_t* barrier, std::uint32_t parity, Where at);
/// Arrives when the thread's cp.async copies so far are complete (cp.async.mbarrier.arrive.noinc).
void mbarrier_arrive_after_copies(std::uint64_t* barrier, Where at);

/// apply(arguments) moves the bytes at some later time; then `barrier` learns that they have arrived. Without a barrier
/// the copy belongs to the thread's bulk group.
void engine_copy(void (*apply)(void*), const void* arguments, std::size_t argument_bytes, void* to, std::uint64_t* barrier,
                 std::uint32_t bytes, Where at);
void bulk_commit();
/// All bulk groups but the last `keep` are complete.
void bulk_wait(int keep);

}  // namespace cuboid::emulator
