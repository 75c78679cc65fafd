// SPDX-License-Identifier: Apache-2.0
// The host's side of the CUDA device: memory, copies, the stream that work is queued on. No CUDA header in here, so that
// any file may include it; a build without CUDA answers `available() == false` and has nothing else.
#pragma once
#include <cstdint>

#include "core/device.h"
#include "core/view.h"

namespace cuboid::cuda {

#if CUBOID_CUDA
/// True when a device answers; asked once.
bool available();

/// A CUDA stream (cudaStream_t). Work is queued in order on the calling thread's current stream.
using Stream = void*;
Stream stream();
/// Waits for the current stream. Failures of kernels queued before surface here or at the next copy, as DeviceError.
void synchronize();

/// Device memory for the allocator; nullptr when the device has no more.
void* obtain(std::int64_t bytes);
void give_back(void* pointer, std::int64_t bytes);
#if CUBOID_EMULATED
/// From its turn on the current stream on, a block may be touched, or no longer.
void open_block(void* pointer, std::int64_t bytes);
void close_block(void* pointer, std::int64_t bytes);
#endif

/// Dense bytes. To the device: queued when the source is pinned, otherwise done on return. To the host: done on return.
void to_device(void* to, const void* from, std::int64_t bytes);
void to_host(void* to, const void* from, std::int64_t bytes);

/// The core's three kernels; any strides. `copy` converts between any two dtypes; `add_into` wants equal ones.
void fill(const Out& x, double value);
void copy(const View& from, const Out& to);
void add_into(const Out& target, const View& x);
#else
constexpr bool available() { return false; }
#endif

}  // namespace cuboid::cuda
