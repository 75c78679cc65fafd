// SPDX-License-Identifier: Apache-2.0
// Model of the tensor memory accelerator: what it knows of a tensor, and its copies.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "tests/emulator/where.h"

namespace cuboid::gpu {

/// Innermost dimension first, as in CUtensorMap.
struct alignas(128) TensorMap {
  unsigned char* base;
  std::uint64_t dims[5], strides[5];  // strides in bytes
  std::uint32_t box[5];               // im2col: box[0] channels, box[1] pixels
  std::uint32_t steps[5];
  std::int32_t lower[3], upper[3];  // im2col: corners of the bounding box, W first
  std::int32_t rank, element_bytes, swizzle, im2col;
};

}  // namespace cuboid::gpu

namespace cuboid::emulator {

/// A box of the tensor to shared memory; `barrier` learns of its bytes. `offsets` are im2col's, W first.
void tma_load(void* to, const gpu::TensorMap* map, std::uint64_t* barrier, const std::array<int, 5>& coordinates, int rank,
              bool im2col, const std::array<int, 3>& offsets, Where at);
/// A box of shared memory to the tensor, in the thread's bulk group.
void tma_store(const gpu::TensorMap* map, const void* from, const std::array<int, 5>& coordinates, int rank, Where at);
/// Contiguous bytes.
void bulk_load(void* to, const void* from, std::uint32_t bytes, std::uint64_t* barrier, Where at);

}  // namespace cuboid::emulator
