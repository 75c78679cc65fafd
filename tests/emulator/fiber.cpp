// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/fiber.h"

namespace cuboid::emulator {

void PortableFiber::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

#if CUBOID_FAST_FIBERS
// The floating-point control words are not saved: device code does not change them.
asm(R"(
.text
.type cuboid_emulator_switch,@function
cuboid_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuboid_emulator_switch,.-cuboid_emulator_switch
)");
extern "C" void cuboid_emulator_switch(void** save, void* load);

void FastFiber::prepare(char* stack, std::size_t bytes, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;  // no caller; and the stack pointer is 8 beyond a multiple of 16 at entry, as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  stack_pointer_ = top;
}
void FastFiber::switch_to(FastFiber& to) { cuboid_emulator_switch(&stack_pointer_, to.stack_pointer_); }
#endif

}  // namespace cuboid::emulator
