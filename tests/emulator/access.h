// SPDX-License-Identifier: Apache-2.0
// What wrappers tell the check build of accesses that the compiler does not see. Nothing in the plain build.
#pragma once
#include <cstddef>

#include "tests/emulator/where.h"

namespace cuboid::emulator {

void note_read(const void* p, std::size_t bytes, Where at);
void note_write(const void* p, std::size_t bytes, Where at);
void note_atomic(const void* p, std::size_t bytes, Where at);
/// The destination of a cp.async: not to be touched before it has arrived.
void note_copy(const void* p, std::size_t bytes, Where at);
/// Through the async proxy: operands of wgmma and sources of TMA stores; destinations of TMA, as note_copy.
void note_async_read(const void* p, std::size_t bytes, Where at);
void note_async_write(const void* p, std::size_t bytes, Where at);
void thread_fence();
void proxy_fence();

}  // namespace cuboid::emulator
