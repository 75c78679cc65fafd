// SPDX-License-Identifier: Apache-2.0
// Shared memory of the resident blocks: arrays with gaps between them, full of NaN until something is written.
#include <cstring>

#include "tests/emulator/machine.h"

namespace cuboid::emulator {
namespace {

constexpr std::uint32_t gap = 64;
constexpr char dynamic_key = 0, divided_key = 0;  // their addresses

void add_array(Block& block, const void* key, std::uint32_t offset, std::uint32_t bytes, const char* name) {
  block.arrays.push_back({key, offset, bytes, name});
  block.last_array = block.last_array % 250 + 1;
  std::memset(block.array_at.data() + offset, block.last_array, bytes);
  std::memset(block.arena + offset, 0xff, bytes);  // NaN in every float type
  race::fresh(block.arena + offset, bytes);
}

/// As for dynamic and static arrays alike.
const SharedArray* find(const Block& block, const void* key) {
  for (const SharedArray& a : block.arrays)
    if (a.key == key) return &a;
  return nullptr;
}

}  // namespace

void open_shared_memory(Block& block, std::size_t dynamic_bytes) {
  std::memset(block.array_at.data(), 0, std::min(arena_bytes, std::size_t{block.arena_used} + gap));
  block.arrays.clear();
  block.last_array = 0;
  block.divided = false;
  block.dynamic_bytes = static_cast<std::uint32_t>(dynamic_bytes);
  block.arena_used = (block.dynamic_bytes + 1023) / 1024 * 1024 + gap;
  if (dynamic_bytes) add_array(block, &dynamic_key, 0, block.dynamic_bytes, "dynamic shared memory");
}

void* static_shared(const void* key, std::size_t bytes, std::size_t align, const char* name) {
  Block& block = *current->block;
  if (const SharedArray* a = find(block, key)) return block.arena + a->offset;
  std::size_t total = bytes;
  for (const SharedArray& a : block.arrays)
    if (a.key != &dynamic_key && a.key != &divided_key) total += a.bytes;
  if (total > max_static_shared) stop("smem-limit", total, " bytes of static shared memory, the limit is ", max_static_shared);
  if (total + block.dynamic_bytes > max_shared)
    stop("smem-limit", total, " bytes of static and ", block.dynamic_bytes, " of dynamic shared memory, the limit is ",
         max_shared);
  const auto offset = static_cast<std::uint32_t>((block.arena_used + align - 1) / align * align);
  block.arena_used = offset + static_cast<std::uint32_t>(bytes) + gap;
  add_array(block, key, offset, static_cast<std::uint32_t>(bytes), name);
  return block.arena + offset;
}

void* dynamic_shared() {
  Block& block = *current->block;
  if (!block.dynamic_bytes) stop("smem-limit", "the kernel uses dynamic shared memory, the launch gave none");
  return block.arena;
}

void divide_shared(void* p, std::size_t bytes) {
  Block& block = *current->block;
  const auto offset = static_cast<std::uint32_t>(static_cast<char*>(p) - block.arena);
  if (offset + bytes > block.dynamic_bytes)
    stop("smem-limit", "SmemAlloc has handed out ", offset + bytes, " bytes, the launch gave ", block.dynamic_bytes);
  for (const SharedArray& a : block.arrays)
    if (a.key == &divided_key && a.offset == offset && a.bytes == bytes) return;  // another thread was here
  if (!block.divided) {  // from now on only what is handed out may be touched
    block.divided = true;
    std::memset(block.array_at.data(), 0, block.dynamic_bytes);
    std::erase_if(block.arrays, [](const SharedArray& a) { return a.key == &dynamic_key; });
  }
  add_array(block, &divided_key, offset, static_cast<std::uint32_t>(bytes), "dynamic shared memory");
}

std::uint32_t shared_address(const void* p) {
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - current->block->arena);
  if (offset >= arena_bytes) stop("smem-address", "the pointer is not into this block's shared memory");
  return static_cast<std::uint32_t>(offset);
}

void* shared_pointer(std::uint32_t address) {
  if (address >= arena_bytes) stop("smem-address", "no shared memory at address ", address);
  return current->block->arena + address;
}

const SharedArray* array_at(const Block& block, std::uint32_t offset) {
  for (const SharedArray& a : block.arrays)
    if (offset >= a.offset && offset - a.offset < a.bytes) return &a;
  return nullptr;
}

}  // namespace cuboid::emulator
