// SPDX-License-Identifier: Apache-2.0
#include "core/cuda.h"

#include "core/gpu.h"

namespace cuboid::cuda {

bool available() {
  static const bool answer = gpu::device_count() > 0;
  return answer;
}

Stream stream() { return nullptr; }
void synchronize() { gpu::stream_synchronize(static_cast<gpu::stream_t>(stream())); }

void* obtain(std::int64_t bytes) { return gpu::malloc_bytes(static_cast<std::size_t>(bytes)); }
void give_back(void* pointer, std::int64_t) { gpu::free_bytes(pointer); }
#if CUBOID_EMULATED
void open_block(void* p, std::int64_t bytes) {
  gpu::open_block(p, static_cast<std::size_t>(bytes), static_cast<gpu::stream_t>(stream()));
}
void close_block(void* p, std::int64_t bytes) {
  gpu::close_block(p, static_cast<std::size_t>(bytes), static_cast<gpu::stream_t>(stream()));
}
#endif

void to_device(void* to, const void* from, std::int64_t bytes) {
  gpu::copy_async(to, from, static_cast<std::size_t>(bytes), gpu::Kind::h2d, static_cast<gpu::stream_t>(stream()));
  synchronize();
}
void to_host(void* to, const void* from, std::int64_t bytes) {
  gpu::copy_async(to, from, static_cast<std::size_t>(bytes), gpu::Kind::d2h, static_cast<gpu::stream_t>(stream()));
  synchronize();
}

}  // namespace cuboid::cuda
