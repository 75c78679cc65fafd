// SPDX-License-Identifier: Apache-2.0
// After the PTX ISA, sections "Tensors" and "cp.async.bulk.tensor": tiled and im2col mode, zero fill, swizzles.
#include "tests/emulator/tma.h"

#include <cstring>

#include "tests/emulator/access.h"
#include "tests/emulator/async.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/matrix.h"

namespace cuboid::emulator {
namespace {

struct Transfer {
  gpu::TensorMap map;
  char* arena;           // the block's shared memory
  std::uint32_t shared;  // address in it
  int at[5], offsets[3];
};

/// Where pixel or row number `index` of the box begins in the tensor; false when it lies outside (dimension 0 aside).
bool tiled_row(const Transfer& t, std::uint64_t index, std::int64_t* bytes) {
  *bytes = 0;
  bool inside = true;
  for (int d = 1; d < t.map.rank; ++d) {
    const std::uint64_t count = (t.map.box[d] + t.map.steps[d] - 1) / t.map.steps[d];
    const std::int64_t position = t.at[d] + static_cast<std::int64_t>(index % count * t.map.steps[d]);
    index /= count;
    inside = inside && position >= 0 && position < static_cast<std::int64_t>(t.map.dims[d]);
    *bytes += position * static_cast<std::int64_t>(t.map.strides[d]);
  }
  return inside;
}

/// im2col: positions go through the bounding box W first, then H, D, N, in steps; each is then moved by the offsets.
bool im2col_row(const Transfer& t, std::uint64_t index, std::int64_t* bytes) {
  const int spatial = t.map.rank - 2;
  std::int64_t position[4];
  auto carry = static_cast<std::int64_t>(index);
  for (int d = 0; d < spatial; ++d) {
    const auto size = static_cast<std::int64_t>(t.map.dims[d + 1]), step = static_cast<std::int64_t>(t.map.steps[d + 1]);
    const std::int64_t low = t.map.lower[d], high = size + t.map.upper[d];  // positions in [low, high)
    const std::int64_t count = (high - low + step - 1) / step, from = (t.at[d + 1] - low) / step + carry;
    position[d] = low + from % count * step;
    carry = from / count;
  }
  position[spatial] = t.at[spatial + 1] + carry;
  *bytes = 0;
  bool inside = true;
  for (int d = 0; d <= spatial; ++d) {
    const std::int64_t p = position[d] + (d < spatial ? t.offsets[d] : 0);
    inside = inside && p >= 0 && p < static_cast<std::int64_t>(t.map.dims[d + 1]);
    *bytes += p * static_cast<std::int64_t>(t.map.strides[d + 1]);
  }
  return inside;
}

std::uint64_t rows_of(const gpu::TensorMap& map) {
  if (map.im2col) return map.box[1];
  std::uint64_t rows = 1;
  for (int d = 1; d < map.rank; ++d) rows *= (map.box[d] + map.steps[d] - 1) / map.steps[d];
  return rows;
}
std::uint32_t row_bytes(const gpu::TensorMap& map) { return map.box[0] * static_cast<std::uint32_t>(map.element_bytes); }

/// f(global pointer, offset in the row, bytes) for the part of each row that lies in the tensor, and the row's number.
template <class F>
void each_row(const Transfer& t, F&& f) {
  const std::uint64_t rows = rows_of(t.map);
  const auto element = static_cast<std::int64_t>(t.map.element_bytes);
  const std::int64_t begin = t.at[0], end = begin + t.map.box[0], size = static_cast<std::int64_t>(t.map.dims[0]);
  const std::int64_t from = std::max<std::int64_t>(begin, 0), to = std::min(end, size);
  for (std::uint64_t row = 0; row < rows; ++row) {
    std::int64_t bytes = 0;
    const bool inside = (t.map.im2col ? im2col_row(t, row, &bytes) : tiled_row(t, row, &bytes)) && from < to;
    f(row, inside ? reinterpret_cast<char*>(t.map.base) + bytes + from * element : nullptr,
      static_cast<std::uint32_t>(inside ? (from - begin) * element : 0),
      static_cast<std::uint32_t>(inside ? (to - from) * element : 0));
  }
}

/// The 16-byte chunks of a row in shared memory, each at its swizzled place.
template <class F>
void each_chunk(const Transfer& t, std::uint64_t row, F&& f) {
  const std::uint32_t bytes = row_bytes(t.map), start = t.shared + static_cast<std::uint32_t>(row) * bytes;
  for (std::uint32_t i = 0; i < bytes; i += 16) f(t.arena + swizzled(start + i, t.map.swizzle), i);
}

void apply_load(void* p) {
  const auto& t = *static_cast<const Transfer*>(p);
  each_row(t, [&](std::uint64_t row, const char* from, std::uint32_t offset, std::uint32_t bytes) {
    char line[256 * 8] = {};
    if (from) std::memcpy(line + offset, from, bytes);
    each_chunk(t, row, [&](char* to, std::uint32_t i) { std::memcpy(to, line + i, 16); });
  });
}

void apply_store(void* p) {
  const auto& t = *static_cast<const Transfer*>(p);
  each_row(t, [&](std::uint64_t row, char* to, std::uint32_t offset, std::uint32_t bytes) {
    char line[256 * 8];
    each_chunk(t, row, [&](const char* from, std::uint32_t i) { std::memcpy(line + i, from, 16); });
    if (to) std::memcpy(to, line + offset, bytes);
  });
}

Transfer transfer(const gpu::TensorMap* map, const void* shared, const std::array<int, 5>& coordinates, int rank, bool im2col,
                  Where at) {
  Transfer t{};
  __builtin_memcpy(&t.map, map, sizeof t.map);
  if (t.map.rank != rank || (t.map.im2col != 0) != im2col)
    stop("tensor-map", "the map at ", at, " is ", t.map.im2col ? "im2col" : "tiled", " of rank ", t.map.rank);
  t.arena = current->block->arena;
  t.shared = shared_address(shared);
  std::copy(coordinates.begin(), coordinates.end(), t.at);
  const std::uint32_t align = t.map.swizzle == 0 ? 128u : 2048u >> t.map.swizzle;
  if (t.shared % align != 0) stop("misaligned", "TMA of shared address ", t.shared, " at ", at, ", not a multiple of ", align);
  return t;
}

}  // namespace

void tma_load(void* to, const gpu::TensorMap* map, std::uint64_t* barrier, const std::array<int, 5>& coordinates, int rank,
              bool im2col, const std::array<int, 3>& offsets, Where at) {
  Transfer t = transfer(map, to, coordinates, rank, im2col, at);
  std::copy(offsets.begin(), offsets.end(), t.offsets);
  if (im2col) {
    const int limit = rank == 5 ? 31 : rank == 4 ? 255 : 65535;
    for (int d = 0; d < rank - 2; ++d)
      if (offsets[static_cast<std::size_t>(d)] > limit || (coordinates[static_cast<std::size_t>(d) + 1] - t.map.lower[d]) < 0)
        stop("tensor-map", "im2col coordinates at ", at, " before the bounding box, or an offset over ", limit);
  }
  const auto bytes = static_cast<std::uint32_t>(rows_of(t.map)) * row_bytes(t.map);
  each_row(t, [&](std::uint64_t, const char* from, std::uint32_t, std::uint32_t n) {
    if (from) note_read(from, n, at);
  });
  note_async_write(to, bytes, at);
  std::memset(to, 0xff, bytes);
  engine_copy(apply_load, &t, sizeof t, to, barrier, bytes, at);
}

void tma_store(const gpu::TensorMap* map, const void* from, const std::array<int, 5>& coordinates, int rank, Where at) {
  Transfer t = transfer(map, from, coordinates, rank, false, at);
  const auto bytes = static_cast<std::uint32_t>(rows_of(t.map)) * row_bytes(t.map);
  note_async_read(from, bytes, at);
  each_row(t, [&](std::uint64_t, char* to, std::uint32_t, std::uint32_t n) {
    if (to) note_write(to, n, at);
  });
  engine_copy(apply_store, &t, sizeof t, nullptr, nullptr, bytes, at);
}

namespace {
struct Bytes {
  void* to;
  const void* from;
  std::size_t bytes;
};
}  // namespace

void bulk_load(void* to, const void* from, std::uint32_t bytes, std::uint64_t* barrier, Where at) {
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | bytes) % 16 != 0)
    stop("misaligned", "bulk copy of ", bytes, " bytes from ", from, " at ", at);
  shared_address(to);
  note_read(from, bytes, at);
  note_async_write(to, bytes, at);
  std::memset(to, 0xff, bytes);
  const Bytes copy{to, from, bytes};
  const auto apply = [](void* p) {
    const auto* c = static_cast<const Bytes*>(p);
    std::memcpy(c->to, c->from, c->bytes);
  };
  engine_copy(apply, &copy, sizeof copy, to, barrier, bytes, at);
}

}  // namespace cuboid::emulator
