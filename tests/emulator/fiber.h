// SPDX-License-Identifier: Apache-2.0
// Fibers: a stack of its own and the place where its code stopped. A device thread is one.
#pragma once
#include <cstddef>

#if defined(__x86_64__)
#define CUBOID_FAST_FIBERS 1
#else
#define CUBOID_FAST_FIBERS 0
#endif
#include <ucontext.h>

namespace cuboid::emulator {

/// For any processor with POSIX contexts. Each switch costs two system calls.
class PortableFiber {
 public:
  /// Prepares to run `entry` on the `bytes` from `stack`. `entry` never returns.
  void prepare(char* stack, std::size_t bytes, void (*entry)());
  /// Stops here and goes on where `to` stopped.
  void switch_to(PortableFiber& to) { swapcontext(&context_, &to.context_); }

 private:
  ucontext_t context_{};
};

#if CUBOID_FAST_FIBERS
/// x86-64, System V: what a called function must preserve, pushed onto the stack. About 20 times faster.
class FastFiber {
 public:
  void prepare(char* stack, std::size_t bytes, void (*entry)());
  void switch_to(FastFiber& to);

 private:
  void* stack_pointer_ = nullptr;
};
using Fiber = FastFiber;
#else
using Fiber = PortableFiber;
#endif

}  // namespace cuboid::emulator
